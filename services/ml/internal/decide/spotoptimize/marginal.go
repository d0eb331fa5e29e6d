package spotoptimize

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// turn is a limit with a step to either side.
type turn struct {
	cost            *mlv1.LimitCost
	looser, tighter *limits // nil: no such step
}

// limitCosts answers the question again with each limit a step looser, then, while
// effort is left, a step tighter. whole is false if effort ran out.
func (q *problem) limitCosts(fresh bool, effort int) (costs []*mlv1.LimitCost, whole bool) {
	base, possible := q.costUnder(q.l, fresh)
	turns := q.turns(fresh)
	for _, tight := range []bool{false, true} {
		for _, t := range turns {
			l := t.looser
			if tight {
				l = t.tighter
			}
			if l == nil || tight && !possible {
				continue
			}
			if effort--; effort < 0 {
				return sorted(turns), false
			}
			cost, ok := q.costUnder(*l, fresh)
			t.note(base-cost, ok, tight, 0.001*max(base, q.w.CostPerHour()))
		}
	}
	return sorted(turns), true
}

// note what a step saves, USD per hour. A difference below least is the solver's, not
// the limit's.
func (t turn) note(saved float64, ok, tight bool, least float64) {
	switch {
	case !tight && ok && saved > least:
		t.cost.LooserSaves, t.cost.Binding = figure.Cents(saved*figure.HoursPerMonth), true
	case tight && -saved > least:
		t.cost.TighterCosts = figure.Cents(-saved * figure.HoursPerMonth)
	}
	t.cost.TighterInfeasible = tight && !ok
}

func sorted(turns []turn) []*mlv1.LimitCost {
	var all []*mlv1.LimitCost
	for _, t := range turns {
		all = append(all, t.cost)
	}
	slices.SortStableFunc(all, func(a, b *mlv1.LimitCost) int {
		return cmp.Or(cmp.Compare(b.GetLooserSaves(), a.GetLooserSaves()), cmp.Compare(b.GetTighterCosts(), a.GetTighterCosts()))
	})
	return all
}

// dial is a limit that is a number. Where a step leads nowhere the value stays.
type dial struct {
	name            string
	get             func(limits) float64
	set             func(*limits, float64)
	looser, tighter func(float64) float64
}

// fewest is the least number of parts that a whole has if none is larger than share.
func fewest(share float64) float64 { return math.Ceil(1/share - defaultGranularity) }

// One part fewer or more: of pools, of zones.
func onePartFewer(share float64) float64 { return min(1, 1/max(1, fewest(share)-1)) }
func onePartMore(share float64) float64  { return 1 / (fewest(share) + 1) }

// plus a step, up to all of it.
func plus(step float64) func(float64) float64 {
	return func(v float64) float64 { return min(max(v, 1), v+step) }
}

func minus(step, least float64) func(float64) float64 {
	return func(v float64) float64 { return max(min(v, least), v-step) }
}

func by(factor float64) func(float64) float64 {
	return func(v float64) float64 { return v * factor }
}

// cpuStep of a floor: a tenth of it, or the smallest node.
func cpuStep(v float64) float64 { return max(2, v/10) }

// dials in the order of the contract. A step is about what a person would try next:
// a tenth of a share, one pool or zone, one advisor bucket, one node, the next size.
var dials = []dial{
	{"max_spot_percentage", func(l limits) float64 { return l.maxSpot }, func(l *limits, v float64) { l.maxSpot = v }, plus(0.1), minus(0.1, 0)},
	{"max_pool_share", func(l limits) float64 { return l.poolGiven }, func(l *limits, v float64) { l.setPools(v, l.minPools) }, onePartFewer, onePartMore},
	{"max_price_ratio", func(l limits) float64 { return l.priceRatio }, func(l *limits, v float64) { l.priceRatio = v }, plus(0.1), minus(0.1, 0.1)},
	{
		"on_demand_floor_cpu", func(l limits) float64 { return l.floorCPU }, func(l *limits, v float64) { l.floorCPU = v },
		func(v float64) float64 { return max(0, v-cpuStep(v)) }, func(v float64) float64 { return v + cpuStep(v) },
	},
	{"max_risk_score", func(l limits) float64 { return l.maxRisk }, func(l *limits, v float64) { l.maxRisk = v }, plus(0.2), minus(0.2, 0)},
	{
		"max_nodes", func(l limits) float64 { return float64(l.maxNodes) }, func(l *limits, v float64) { l.maxNodes = int(v) },
		func(v float64) float64 { return v + min(1, v) }, minus(1, 1),
	},
	{"min_savings_ratio", func(l limits) float64 { return l.minSavings }, func(l *limits, v float64) { l.minSavings = v }, minus(0.05, 0), plus(0.05)},
	{"max_zone_share", func(l limits) float64 { return l.zoneShare }, func(l *limits, v float64) { l.zoneShare = v }, onePartFewer, onePartMore},
	{"max_spot_price_per_vcpu", func(l limits) float64 { return l.cpuPrice }, func(l *limits, v float64) { l.cpuPrice = v }, by(1.1), by(1 / 1.1)},
	{"max_price_per_node", func(l limits) float64 { return l.nodePrice }, func(l *limits, v float64) { l.nodePrice = v }, by(2), by(0.5)},
	{"on_demand_floor_share", func(l limits) float64 { return l.floorShare }, func(l *limits, v float64) { l.floorShare = v }, minus(0.1, 0), plus(0.1)},
	{
		"min_pools", func(l limits) float64 { return float64(l.minPools) }, func(l *limits, v float64) { l.setPools(l.poolGiven, int(v)) },
		minus(1, 0), func(v float64) float64 { return v + min(1, v) },
	},
}

// turns of every limit that can be loosened; what cannot be does not bind.
func (q *problem) turns(fresh bool) []turn {
	var all []turn
	for _, d := range dials {
		value := d.get(q.l)
		looser, tighter := d.looser(value), d.tighter(value)
		if looser == value || fresh && d.name == "min_savings_ratio" {
			continue
		}
		t := turn{cost: &mlv1.LimitCost{Limit: d.name, Value: number(value), Looser: number(looser)}}
		t.looser = q.l.with(d, looser)
		if tighter != value {
			t.tighter, t.cost.Tighter = q.l.with(d, tighter), number(tighter)
		}
		all = append(all, t)
	}
	return append(all, q.lists(fresh)...)
}

func (l limits) with(d dial, value float64) *limits {
	d.set(&l, value)
	return &l
}

// number without the dust of reckoning; prices of a vCPU have five digits that count.
func number(v float64) *structpb.Value { return structpb.NewNumberValue(math.Round(v*1e6) / 1e6) }

// lists that were given, each left out in turn, and each rule on pods.
func (q *problem) lists(fresh bool) []turn {
	var all []turn
	add := func(name string, value *structpb.Value, relax func(*limits, *world)) {
		l := q.l
		relax(&l, q.w)
		all = append(all, turn{cost: &mlv1.LimitCost{Limit: name, Value: value, Looser: structpb.NewNullValue()}, looser: &l})
	}
	for _, r := range relaxations {
		if given := listed(r.name, q.l); len(given) > 0 {
			add(r.name, texts(given), r.relax)
		}
	}
	for i := range q.l.onDemand {
		if !fresh { // capacity alone moves no pod
			add(fmt.Sprintf("on_demand_pods[%d]", i), ruleValue(q.l.onDemand[i]), func(l *limits, _ *world) {
				l.onDemand = slices.Delete(slices.Clone(l.onDemand), i, i+1)
			})
		}
	}
	return all
}

// listed values of the constraint, if it is a list.
func listed(name string, l limits) []string {
	return map[string][]string{
		"excluded_pools": l.excludedPools, "instance_types": l.types, "excluded_instance_types": l.excluded,
		"architectures": l.architectures, "zones": l.zones,
	}[name]
}

func texts(all []string) *structpb.Value {
	list := &structpb.ListValue{}
	for _, s := range all {
		list.Values = append(list.Values, structpb.NewStringValue(s))
	}
	return structpb.NewListValue(list)
}

// ruleValue is a rule as the request spells it.
func ruleValue(rule *mlv1.OnDemandPods) *structpb.Value {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(rule)
	value := &structpb.Value{}
	if err != nil || protojson.Unmarshal(text, value) != nil {
		return structpb.NewNullValue()
	}
	return value
}
