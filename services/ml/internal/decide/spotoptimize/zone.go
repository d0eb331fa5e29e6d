package spotoptimize

import (
	"maps"
	"math"
	"slices"
)

// spread is how the cluster's vCPU lies over zones, kept and new nodes of both kinds.
type spread struct {
	cpu   map[string]float64 // by zone
	nodes map[string]int
	total float64
	// expect is the vCPU that there will be, by an estimate: a share is of the whole,
	// and the whole is not known while it is bought.
	expect float64
	// one node in a zone is allowed, where there are few
	one bool
}

func newSpread() *spread {
	return &spread{cpu: map[string]float64{}, nodes: map[string]int{}}
}

func (s *spread) add(zone string, vcpu float64) {
	s.cpu[zone] += vcpu
	s.nodes[zone]++
	s.total += vcpu
}

// share of a zone.
func (s *spread) share(zone string) float64 {
	if s.total == 0 {
		return 0
	}
	return s.cpu[zone] / s.total
}

// few says whether there are too few nodes for any zone to have so little; then one
// node in a zone is allowed.
func (led *ledger) few(zone string, more int) bool {
	return led.at.nodes[zone]+more <= 1 && float64(led.kept+led.new+more) < fewest(led.l.zoneShare)
}

// zoneOpen says whether one more node of the column keeps its zone's share.
func (led *ledger) zoneOpen(c *column) bool {
	if led.l.zoneShare >= 1 || led.at.one && led.few(c.Zone, 1) {
		return true
	}
	vcpu := float64(c.Type.VCPU)
	whole := max(led.at.expect, led.at.total+vcpu)
	return led.at.cpu[c.Zone]+vcpu <= led.l.zoneShare*whole+defaultGranularity
}

// zoneBroken says whether a zone has more than its share after the plan, and more
// than it has today.
func (w *world) zoneBroken(led *ledger) bool {
	if led.l.zoneShare >= 1 {
		return false
	}
	today := newSpread()
	for _, n := range w.Nodes {
		today.add(n.Metric.GetAvailabilityZone(), n.VCPU)
	}
	for _, zone := range slices.Sorted(maps.Keys(led.at.cpu)) {
		if !led.few(zone, 0) && led.at.share(zone) > max(led.l.zoneShare, today.share(zone))+defaultGranularity {
			return true
		}
	}
	return false
}

// floor is the vCPU that must be on demand when the cluster has so many more than now.
func (led *ledger) floor(more float64) float64 {
	return max(led.l.floorCPU, led.l.floorShare*(led.at.total+more))
}

// floorLimit is the constraint behind the floor.
func (led *ledger) floorLimit() string {
	if led.l.floorShare*led.at.total > led.l.floorCPU {
		return "on_demand_floor_share"
	}
	return "on_demand_floor_cpu"
}

// tooFewPools says whether a plan that buys spot nodes leaves them in fewer pools
// than asked for.
func (led *ledger) tooFewPools() bool {
	if led.l.minPools < 2 || led.newSpot == 0 {
		return false
	}
	pools := maps.Clone(led.keptPools)
	maps.Copy(pools, led.pools)
	return len(pools) < led.l.minPools
}

// guess is what is not known before a plan is made, and put right when it turns
// out wrong.
type guess struct {
	spots   int     // spot nodes that there will be
	nodes   int     // nodes that there will be
	largest float64 // share of the largest node allowed
	room    float64 // vCPU bought for each vCPU needed
	one     bool    // whether there are so few nodes that one in a zone is allowed
}

// newGuess about a plan in place of so many nodes.
func newGuess(gone int, one bool) guess {
	return guess{spots: math.MaxInt32, nodes: max(1, gone/2), largest: 1, room: firstRoom, one: one}
}

// tell the ledger what is guessed, for so much vCPU that is needed.
func (g guess) tell(led *ledger, need float64) {
	led.at.expect, led.at.one = led.at.total+g.room*need, g.one
}

// firstRoom is more than packing ever needs: shares of a whole that was guessed too
// small would keep zones shut for nothing.
const firstRoom = 1.6

// mend the guess for the limit that a plan broke; false if another guess will not help.
func (g *guess) mend(limit string, bought int) bool {
	switch limit {
	case "max_pool_share", "min_pools":
		if limit == "min_pools" {
			g.largest *= 0.7
		}
		g.spots = max(1, min(bought, g.spots-1))
	case "max_zone_share":
		g.room *= 0.87
	default:
		return false
	}
	return true
}

// Reasons of NodeVerdict and Candidate for these limits.
const (
	candidateZoneShare = "zone_share"

	reasonZoneShare = "zone_share"
	reasonMinPools  = "min_pools"
)

// deficit of on-demand vCPU, before the floor is met, for what the pods need in all.
func (p *packer) deficit() float64 {
	led := p.ledger
	return max(led.l.floorCPU, led.l.floorShare*max(led.at.total, p.whole)) - led.onDemand
}

// shut says which limit keeps every column from being bought once more.
func (led *ledger) shut(columns []*column) string {
	for _, c := range columns {
		if !led.zoneOpen(c) {
			return "max_zone_share"
		}
	}
	return led.l.poolLimit()
}

// vcpu that is wanted in all, by an estimate: memory counted in proportion.
func (w wants) vcpu() float64 {
	return max(w.cpu, w.memoryGiB/gibPerCPU) * float64(max(1, w.nodes))
}
