package replay

import (
	"math"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Policy chooses pools for nodes that are missing, knowing only the past.
type Policy interface {
	// Name of it.
	Name() string
	// Choose up to n pools by index of View.Pools, one for each node, best first; fewer
	// leave the rest to on-demand nodes. Those that had no capacity in this tick are
	// closed. A policy may name a pool as often as it wants nodes of it.
	Choose(v *View, n int) []int
}

// View is what a policy may know at a tick.
type View struct {
	// Pools with the price of now.
	Pools []Seen
}

// Seen is a pool as it looks from outside.
type Seen struct {
	// Offer of the pool; its price is of the first tick.
	Offer market.Offer
	// Region of the zone.
	Region string
	// Price of now, USD per hour.
	Now float64
	// Held nodes of ours.
	Held int
	// Closed: it had no capacity in this tick.
	Closed bool
	// UpShare is the mean share of its best that it gave, the last day weighing most,
	// up to the last tick.
	UpShare float64
	// NodeHours and Losses of the instances that it gave, the last days weighing most.
	NodeHours, Losses float64
}

// massShare of the needed nodes, two at the least, lost at once is more than budgets
// and spare room are made for.
const massShare = 0.3

// memory of the past: what is older than these weighs less than half.
const (
	shareMemory = 24 * time.Hour
	lossMemory  = 72 * time.Hour
)

// Count is what became of a policy.
type Count struct {
	// USD paid.
	USD float64
	// ServedHours of nodes, up to what was needed.
	ServedHours float64
	// ShortHours of nodes that were needed and not ready.
	ShortHours float64
	// EnoughHours are those with as many nodes ready as needed, Hours all.
	EnoughHours, Hours float64
	// SpotHours and OnDemandHours of nodes that were paid for.
	SpotHours, OnDemandHours float64
	// Interruptions of spot nodes, ready or not.
	Interruptions int
	// MassLosses are moments at which massShare of the needed nodes or more went at once.
	MassLosses int
	// Launches of spot nodes, and how many had no capacity.
	Launches, Refused int
}

// fleet is a policy's nodes in the middle of a replay. Nodes are known by the tick at
// which they are ready.
type fleet struct {
	s        *Scenario
	boot     int // ticks
	spot     [][]int
	onDemand []int
	most     []int // instances that a pool ever gave up to now
	view     View
	count    Count
}

// Replay a policy. Every launch, spot or on demand, takes the boot time, is paid for
// meanwhile and serves nothing; launching on demand always works.
func Replay(s *Scenario, p Policy, boot time.Duration) Count {
	f := &fleet{s: s, boot: bootTicks(s, boot), spot: make([][]int, len(s.Pools)), most: make([]int, len(s.Pools))}
	for _, pool := range s.Pools {
		f.view.Pools = append(f.view.Pools, Seen{Offer: pool.Offer, Region: pool.Region})
	}
	for t := range s.Ticks() {
		f.lose(t)
		f.look(t)
		f.launch(p, t)
		f.pay(t)
		f.learn(t)
	}
	return f.count
}

func bootTicks(s *Scenario, boot time.Duration) int {
	return max(1, int(math.Ceil(boot.Seconds()/s.Seconds)))
}

// lose what the pool no longer gives, the newest first.
func (f *fleet) lose(t int) {
	lost := 0
	for i, p := range f.s.Pools {
		if over := len(f.spot[i]) - p.Up[t]; over > 0 {
			f.spot[i] = f.spot[i][:len(f.spot[i])-over]
			lost += over
		}
	}
	f.count.Interruptions += lost
	if lost > 1 && float64(lost) >= massShare*float64(f.s.Need) {
		f.count.MassLosses++
	}
}

func (f *fleet) look(t int) {
	for i := range f.view.Pools {
		seen := &f.view.Pools[i]
		seen.Now, seen.Held, seen.Closed = f.s.Pools[i].Price[t], len(f.spot[i]), false
	}
}

// launch what is missing as spot, as far as the policy finds any, and the rest on
// demand; drop on-demand nodes that are no longer needed.
func (f *fleet) launch(p Policy, t int) {
	for {
		missing := f.s.Need - f.alive()
		if missing <= 0 {
			break
		}
		picks := p.Choose(&f.view, missing)
		refused := false
		for _, i := range picks[:min(len(picks), missing)] {
			if f.view.Pools[i].Closed {
				continue
			}
			f.count.Launches++
			if len(f.spot[i]) >= f.s.Pools[i].Up[t] {
				f.count.Refused++
				f.view.Pools[i].Closed, refused = true, true
				continue
			}
			f.spot[i] = append(f.spot[i], t+f.boot)
			f.view.Pools[i].Held++
		}
		if !refused { // nothing that the policy does not know yet
			break
		}
	}
	for f.alive()+len(f.onDemand) < f.s.Need {
		f.onDemand = append(f.onDemand, t+f.boot)
	}
	f.onDemand = f.onDemand[:min(len(f.onDemand), f.s.Need-readyOf(t, f.spot...))]
}

// alive spot nodes, ready or booting.
func (f *fleet) alive() int {
	n := 0
	for _, nodes := range f.spot {
		n += len(nodes)
	}
	return n
}

// readyOf nodes at a tick.
func readyOf(t int, all ...[]int) int {
	n := 0
	for _, nodes := range all {
		for _, at := range nodes {
			if at <= t {
				n++
			}
		}
	}
	return n
}

// pay for the time until the next tick, and note what was served. The first boot is
// paid for, but nobody could have served meanwhile.
func (f *fleet) pay(t int) {
	h := f.s.hours()
	for i, nodes := range f.spot {
		f.count.USD += float64(len(nodes)) * f.s.Pools[i].Price[t] * h
		f.count.SpotHours += float64(len(nodes)) * h
	}
	f.count.USD += float64(len(f.onDemand)) * f.onDemandPrice() * h
	f.count.OnDemandHours += float64(len(f.onDemand)) * h
	if t < f.boot {
		return
	}
	ready := min(readyOf(t, f.spot...)+readyOf(t, f.onDemand), f.s.Need)
	f.count.Hours += h
	f.count.ServedHours += float64(ready) * h
	f.count.ShortHours += float64(f.s.Need-ready) * h
	if ready == f.s.Need {
		f.count.EnoughHours += h
	}
}

// onDemandPrice is the cheapest of the pools' regions.
func (f *fleet) onDemandPrice() float64 { return f.s.onDemandPrice() }

func (s *Scenario) onDemandPrice() float64 {
	least := math.Inf(1)
	for _, p := range s.Pools {
		least = min(least, p.Offer.OnDemand)
	}
	return least
}

// learn what the tick showed, for the next ones.
func (f *fleet) learn(t int) {
	share := math.Exp2(-f.s.Seconds / shareMemory.Seconds())
	loss := math.Exp2(-f.s.Seconds / lossMemory.Seconds())
	for i, p := range f.s.Pools {
		seen := &f.view.Pools[i]
		f.most[i] = max(f.most[i], p.Up[t])
		now := float64(p.Up[t]) / float64(max(1, f.most[i]))
		seen.UpShare = share*seen.UpShare + (1-share)*now
		lost := 0
		if t > 0 {
			lost = max(0, p.Up[t-1]-p.Up[t])
		}
		seen.NodeHours = loss*seen.NodeHours + float64(p.Up[t])*f.s.hours()
		seen.Losses = loss*seen.Losses + float64(lost)
	}
}
