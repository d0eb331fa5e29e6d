package spotoptimize

import (
	"math"

	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// relaxations of one constraint each, in the order in which they are blamed: a
// pool without capacity first, for it passes by itself.
var relaxations = []struct {
	name  string
	given func(limits) bool
	relax func(*limits, *world)
}{
	{"excluded_pools", func(l limits) bool { return len(l.excludedPools) > 0 }, func(l *limits, _ *world) { l.excludedPools = nil }},
	{"instance_types", func(l limits) bool { return len(l.types) > 0 }, func(l *limits, _ *world) { l.types = nil }},
	{"excluded_instance_types", func(l limits) bool { return len(l.excluded) > 0 }, func(l *limits, _ *world) { l.excluded = nil }},
	{"architectures", func(l limits) bool { return len(l.architectures) > 0 }, func(l *limits, _ *world) { l.architectures = []string{"amd64", "arm64"} }},
	{"zones", func(l limits) bool { return len(l.zones) > 0 }, func(l *limits, w *world) { l.zones = w.Market.Zones(w.State.GetRegion()) }},
	{"max_nodes", func(l limits) bool { return l.maxNodes > 0 }, func(l *limits, _ *world) { l.maxNodes = 0 }},
	{"on_demand_floor_cpu", func(l limits) bool { return l.floorCPU > 0 }, func(l *limits, _ *world) { l.floorCPU = 0 }},
	{"max_spot_percentage", func(l limits) bool { return l.maxSpot < 1 }, func(l *limits, _ *world) { l.maxSpot = 1 }},
	{"on_demand_floor_share", func(l limits) bool { return l.floorShare > 0 }, func(l *limits, _ *world) { l.floorShare = 0 }},
	{"max_zone_share", func(l limits) bool { return l.zoneShare < 1 }, func(l *limits, _ *world) { l.zoneShare = 1 }},
	{"min_pools", func(l limits) bool { return l.minPools > 1 }, func(l *limits, _ *world) { l.setPools(l.poolGiven, 0) }},
	{"max_price_per_node", func(l limits) bool { return !math.IsInf(l.nodePrice, 1) }, func(l *limits, _ *world) { l.nodePrice = math.Inf(1) }},
	{"max_spot_price_per_vcpu", func(l limits) bool { return !math.IsInf(l.cpuPrice, 1) }, func(l *limits, _ *world) { l.cpuPrice = math.Inf(1) }},
	{"max_pool_share", func(l limits) bool { return l.poolGiven < 1 }, func(l *limits, _ *world) { l.setPools(1, l.minPools) }},
	{"max_price_ratio", func(l limits) bool { return l.priceRatio < 1 }, func(l *limits, _ *world) { l.priceRatio = 1 }},
	{"max_risk_score", func(l limits) bool { return l.maxRisk < 1 }, func(l *limits, _ *world) { l.maxRisk = 1 }},
}

// infeasible names the constraint without which the requirements could be met.
func (w *world) infeasible(want wants, l limits, stopped string) error {
	for _, r := range relaxations {
		if !r.given(l) {
			continue
		}
		looser := l
		r.relax(&looser, w)
		q := newProblem(w, looser, want, w.choices(want, looser))
		if len(q.columns) > 0 && q.fromNothing().ok() {
			return fault.Infeasible(r.name, "No choice of instances meets the requirements within %s", r.name)
		}
	}
	if stopped != "" {
		return fault.Infeasible(stopped, "No choice of instances meets the requirements within %s and the other constraints", stopped)
	}
	return fault.Infeasible("requirements", "No instance type offers %g vCPU and %g GiB in %s", want.cpu, want.memoryGiB, w.State.GetRegion())
}

// anyUse of what may be bought for any pod of the nodes. Nodes without pods
// need nothing bought.
func (q *problem) anyUse(nodes []int) bool {
	asked := map[int]bool{} // class
	for _, n := range nodes {
		if len(q.w.Nodes[n].Moves) == 0 {
			return true
		}
		for _, pod := range q.w.Nodes[n].Moves {
			if class := q.w.Book.Class(pod); !asked[class] {
				asked[class] = true
				if q.placeable(pod, nil, nil) {
					return true
				}
			}
		}
	}
	return false
}

// binding names the constraint without which some pod of the nodes could move,
// empty if there is none.
func (w *world) binding(want wants, l limits, nodes []int) string {
	for _, r := range relaxations {
		if !r.given(l) {
			continue
		}
		looser := l
		r.relax(&looser, w)
		if newProblem(w, looser, want, w.choices(want, looser)).anyUse(nodes) {
			return r.name
		}
	}
	return ""
}
