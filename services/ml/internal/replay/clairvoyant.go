package replay

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Clairvoyant is the least that anybody could pay who knows every tick in advance and
// has all nodes ready at every tick after the first boot, USD. It is the cheapest flow of
// the needed nodes through time: a node stays in a pool while the pool has room, or
// another one, spot or on demand, takes its place, launched and paid for a boot
// time before, in a pool that has room meanwhile. That two nodes boot in the last
// place of a pool at once is not ruled out, so the truth may be a little dearer.
func Clairvoyant(s *Scenario, boot time.Duration) (float64, error) {
	b := bootTicks(s, boot)
	if s.Ticks() <= b {
		return 0, fmt.Errorf("%s is shorter than a boot", s.Name)
	}
	pools := append(slices.Clone(s.Pools), s.always())
	// At each tick a hub, at which nodes may change pools, and an entry and an exit of
	// each pool; the source is the first hub.
	width := 1 + 2*len(pools)
	ticks := s.Ticks() - b
	n := newNetwork(ticks*width + 1)
	sink := ticks * width
	for i, p := range pools {
		paid, room := runs(s, p, b)
		for k := range ticks {
			hub, in := k*width, k*width+1+2*i
			out, t := in+1, k+b
			if p.Up[t] == 0 {
				continue
			}
			n.link(in, out, p.Up[t], cost(s, p.Price[t]))
			if room[t] > 0 {
				n.link(hub, in, room[t], paid[t])
			}
			if k == ticks-1 {
				n.link(out, sink, s.Need, 0)
				continue
			}
			n.link(out, hub+width, s.Need, 0)
			if p.Up[t+1] > 0 {
				n.link(out, in+width, min(p.Up[t], p.Up[t+1]), 0)
			}
		}
	}
	least, err := n.cheapest(s.Need)
	if err != nil {
		return 0, fmt.Errorf("finding the cheapest course of %s: %w", s.Name, err)
	}
	return float64(least) / micro, nil
}

// micro dollars are counted, so that sums are exact.
const micro = 1e6

func cost(s *Scenario, price float64) int64 { return int64(math.Round(price * s.hours() * micro)) }

// always is the pool of on-demand nodes.
func (s *Scenario) always() Pool {
	return Pool{Up: slices.Repeat([]int{s.Need}, s.Ticks()), Price: slices.Repeat([]float64{s.onDemandPrice()}, s.Ticks())}
}

// runs of a pool by tick: what the boot before it cost, and for how many nodes there
// was room all that time.
func runs(s *Scenario, p Pool, boot int) (paid []int64, room []int) {
	paid, room = make([]int64, len(p.Up)), make([]int, len(p.Up))
	for t := boot; t < len(p.Up); t++ {
		room[t] = slices.Min(p.Up[t-boot : t+1])
		for _, price := range p.Price[t-boot : t] {
			paid[t] += cost(s, price)
		}
	}
	return paid, room
}
