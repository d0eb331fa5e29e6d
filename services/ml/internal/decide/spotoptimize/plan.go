package spotoptimize

import (
	"maps"
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// ledger counts what the limits speak of, for a plan that grows.
type ledger struct {
	l         limits
	kept      int // nodes that stay
	spot      int // spot nodes, kept and new
	keptSpot  int
	new       int
	newSpot   int
	onDemand  float64 // vCPU on demand, kept and new
	pools     map[string]int
	poolCPU   map[string]float64 // vCPU of new spot nodes
	keptPools map[string]int
	zones     map[string]int // new nodes
	at        *spread
}

// ledgerFor the nodes that stay when some go.
func (w *world) ledgerFor(gone []int, l limits) *ledger {
	led := &ledger{l: l, pools: map[string]int{}, poolCPU: map[string]float64{}, keptPools: map[string]int{}, zones: map[string]int{}, at: newSpread()}
	for i, n := range w.Nodes {
		if slices.Contains(gone, i) {
			continue
		}
		led.kept++
		led.at.add(n.Metric.GetAvailabilityZone(), n.VCPU)
		if n.Spot {
			led.spot++
			led.keptSpot++
			led.keptPools[n.Metric.GetInstanceType()+"/"+n.Metric.GetAvailabilityZone()]++
		} else {
			led.onDemand += n.VCPU
		}
	}
	return led
}

func (led *ledger) add(c *column) {
	led.new++
	led.zones[c.Zone]++
	led.at.add(c.Zone, float64(c.Type.VCPU))
	if c.AsSpot {
		led.spot++
		led.newSpot++
		led.pools[c.Pool()]++
		led.poolCPU[c.Pool()] += float64(c.Type.VCPU)
		return
	}
	led.onDemand += float64(c.Type.VCPU)
}

// spotAllowed says whether one more spot node keeps the share.
func (led *ledger) spotAllowed() bool {
	return float64(led.spot+1) <= led.l.maxSpot*float64(led.kept+led.new+1)+defaultGranularity
}

// poolCap is how many nodes one pool may have among n spot nodes. One is always
// allowed: of one or two nodes no share below a half can be kept.
func (l limits) poolCap(n int) int {
	return max(1, int(math.Floor(l.poolShare*float64(n)+defaultGranularity)))
}

// poolRoom is how many more nodes of the pool may be bought if n spot nodes are
// bought in all. The spot nodes that stay are counted as well: otherwise one
// optimization after the other would fill the same pool.
func (led *ledger) poolRoom(pool string, n int) int {
	fresh := led.l.poolCap(n) - led.pools[pool]
	whole := led.l.poolCap(n+led.keptSpot) - led.pools[pool] - led.keptPools[pool]
	return max(0, min(fresh, whole))
}

// spotOpen says whether one more spot node of the column may be bought: the floor
// comes first, then the share of spot and that of the pool.
func (led *ledger) spotOpen(c *column, spots int) bool {
	floor := led.floor(float64(c.Type.VCPU))
	return led.onDemand+defaultGranularity >= floor && led.spotAllowed() && led.poolRoom(c.Pool(), spots) > 0
}

// cost of one more node of the column, USD per hour: its price, its root volume,
// interruptions to be expected, and something for crowding into one zone.
func (led *ledger) cost(c *column, pods float64) float64 {
	cost := c.Price + nodeCost + interruptionCost(c, pods)
	if led.new > 0 {
		cost += concentration / 2 * c.Price * float64(led.zones[c.Zone]) / float64(led.new)
	}
	return cost
}

// broken names the first limit that the plan breaks, empty if none.
func (w *world) broken(p plan, l limits) string {
	led := w.ledgerFor(p.Gone, l)
	for _, c := range p.Buy {
		led.add(c)
	}
	if l.maxNodes > 0 && led.new > l.maxNodes {
		return "max_nodes"
	}
	if float64(led.spot) > l.maxSpot*float64(led.kept+led.new)+defaultGranularity {
		return "max_spot_percentage"
	}
	if led.onDemand+defaultGranularity < led.floor(0) {
		return led.floorLimit()
	}
	if w.zoneBroken(led) {
		return "max_zone_share"
	}
	for _, pool := range slices.Sorted(maps.Keys(led.pools)) {
		if led.pools[pool] > l.poolCap(led.newSpot) || led.pools[pool]+led.keptPools[pool] > l.poolCap(led.spot) {
			return l.poolLimit()
		}
	}
	if led.tooFewPools() {
		return "min_pools"
	}
	return ""
}

// worth is what the plan is judged by, USD per hour: the bill, expected
// interruptions, and a little for having all eggs in few baskets.
func (w *world) worth(p plan) float64 { return w.judge(p).sum() }

// judged is what a plan is judged by, in its parts, USD per hour.
type judged struct{ bill, restarts, crowding float64 }

func (j judged) sum() float64 { return j.bill + j.restarts + j.crowding }

func (w *world) judge(p plan) judged {
	j := judged{bill: p.CostAfter(w.World) + nodeCost*float64(len(p.Buy)-len(p.Gone))}
	if len(p.Buy) == 0 {
		return j
	}
	podsEach := float64(p.Moved(w.World)) / float64(len(p.Buy))
	price, vcpu := 0.0, 0.0
	zones := map[string]float64{}
	for _, c := range p.Buy {
		pods := podsEach
		if len(p.Gone) == 0 {
			pods = typicalPods(c)
		}
		j.restarts += interruptionCost(c, pods)
		price, vcpu = price+c.Price, vcpu+float64(c.Type.VCPU)
	}
	squares := 0.0
	for _, c := range p.Buy {
		share := float64(c.Type.VCPU) / vcpu
		squares += share * share
		zones[c.Zone] += share
	}
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		squares += zones[zone] * zones[zone]
	}
	j.crowding = concentration * price * squares / 2
	return j
}

// interruptionCost per hour of a node with so many pods.
func interruptionCost(c *column, pods float64) float64 {
	return c.Probability * pods * c.Restart / figure.HoursPerMonth
}
