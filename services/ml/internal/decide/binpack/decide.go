// Package binpack consolidates a cluster: which nodes go, what is bought for the
// pods that the others cannot take, and why every other node stays. It is a pure
// function of the question and the market.
package binpack

import (
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Decide answers a request from a market snapshot. The same request, snapshot and
// time give the same answer.
func Decide(req *mlv1.DecisionRequest, prices *market.Snapshot, now time.Time) (*mlv1.DecisionResponse, error) {
	l, err := decode(req)
	if err != nil {
		return nil, err
	}
	state := req.GetCurrentState()
	if len(state.GetNodes()) == 0 {
		return nil, fault.Invalid("current_state.nodes", "must have the cluster's nodes")
	}
	if !prices.Known(state.GetRegion()) {
		return nil, fault.Infeasible("region", "No prices are known for region %q", state.GetRegion())
	}
	if err := question.CheckExist(state.GetRegion(), l.types, l.zones, prices); err != nil {
		return nil, err
	}
	w := scene.New(state, prices, now, scene.Rules{Settle: l.coolDown, Protected: l.protected})
	var all []*shop.Column
	if l.purchases {
		all = shop.Columns(w, l.shop())
		if len(shop.Takeable(all)) == 0 {
			return nil, nothingOnOffer(w, l)
		}
	}
	q := newProblem(w, l, all)
	d := q.choose()
	if constraint := q.unmet(d); constraint != "" {
		return nil, fault.Infeasible(constraint, "The cluster lacks the room that %s asks for, and no plan within the constraints brings it", constraint)
	}
	return q.answer(req, d), nil
}

// relaxations of one constraint each, in the order in which they are blamed: a
// pool without capacity first, for it passes by itself.
var relaxations = []struct {
	name  string
	given func(limits) bool
	relax func(*limits, *scene.World)
}{
	{"excluded_pools", func(l limits) bool { return len(l.excludedPools) > 0 }, func(l *limits, _ *scene.World) { l.excludedPools = nil }},
	{"capacity_types", func(l limits) bool { return len(l.capacity) > 0 }, func(l *limits, _ *scene.World) { l.capacity = nil }},
	{"max_risk_score", func(l limits) bool { return l.maxRisk < 1 }, func(l *limits, _ *scene.World) { l.maxRisk = 1 }},
	{"instance_types", func(l limits) bool { return len(l.types) > 0 }, func(l *limits, _ *scene.World) { l.types = nil }},
	{"excluded_instance_types", func(l limits) bool { return len(l.excluded) > 0 }, func(l *limits, _ *scene.World) { l.excluded = nil }},
	{"architectures", func(l limits) bool { return len(l.architectures) > 0 }, func(l *limits, _ *scene.World) { l.architectures = []string{"amd64", "arm64"} }},
	{"zones", func(l limits) bool { return len(l.zones) > 0 }, func(l *limits, w *scene.World) { l.zones = w.Market.Zones(w.State.GetRegion()) }},
}

// nothingOnOffer names the constraint without which something could be bought.
func nothingOnOffer(w *scene.World, l limits) error {
	for _, r := range relaxations {
		if !r.given(l) {
			continue
		}
		looser := l
		r.relax(&looser, w)
		if len(shop.Takeable(shop.Columns(w, looser.shop()))) > 0 {
			return fault.Infeasible(r.name, "Nothing may be bought within %s; say allow_purchases: false if nothing should be", r.name)
		}
	}
	return fault.Infeasible("constraints", "The constraints together leave nothing that may be bought; say allow_purchases: false if nothing should be")
}
