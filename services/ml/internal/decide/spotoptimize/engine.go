// Package spotoptimize picks the instances that hold a cluster's pods for less,
// and says why for every node and pool. It is a pure function of the question
// and the market.
package spotoptimize

import (
	"slices"
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
	return DecideWith(req, prices, shop.Advisor{}, now)
}

// DecideWith scores the risk of pools by a model instead of the Spot Advisor's prior.
func DecideWith(req *mlv1.DecisionRequest, prices *market.Snapshot, risk shop.PoolRisk, now time.Time) (*mlv1.DecisionResponse, error) {
	want, l, err := decode(req)
	if err != nil {
		return nil, err
	}
	l.risk = watching(risk, l.history)
	state := req.GetCurrentState()
	if !prices.Known(state.GetRegion()) {
		return nil, fault.Infeasible("region", "No prices are known for region %q", state.GetRegion())
	}
	alone := want.urgent || len(state.GetNodes()) == 0
	if alone && want.cpu == 0 && want.memoryGiB == 0 && want.nodes == 0 {
		return nil, fault.Invalid("requirements.cpu_required", "must be given when the state has no nodes or capacity is urgent")
	}
	if err := question.CheckExist(state.GetRegion(), l.types, l.zones, prices); err != nil {
		return nil, err
	}
	a := answer{req: req, now: now, prices: prices}
	if alone {
		return a.capacity(want, l)
	}
	return a.replacement(want, l)
}

// capacity for requirements alone. Nodes of the state tell zones and
// architectures, and stay as they are.
func (a answer) capacity(want wants, l limits) (*mlv1.DecisionResponse, error) {
	w := newWorld(a.req.GetCurrentState(), a.prices, a.now)
	if want.urgent {
		l.hasty()
	}
	all := w.choices(want, l)
	q := newProblem(w, l, want, all)
	if len(q.columns) == 0 {
		return nil, w.infeasible(want, l, "")
	}
	o := q.fromNothing()
	if !o.ok() {
		return nil, w.infeasible(want, l, o.limit)
	}
	for _, n := range w.Nodes {
		if n.Reason == "" {
			n.Reason, n.Detail = scene.ReasonNoSaving, "only capacity was asked for"
		}
	}
	return q.withBeside(a.compose(q, all, o.plan, true), o.plan, true), nil
}

// replacement of a cluster's nodes by cheaper ones.
func (a answer) replacement(want wants, l limits) (*mlv1.DecisionResponse, error) {
	w := newWorld(a.req.GetCurrentState(), a.prices, a.now)
	all := w.choices(want, l)
	q := newProblem(w, l, want, all)
	q.keepOnDemand()
	movable := w.Replaceable()
	if len(movable) > 0 && !q.anyUse(movable) {
		if constraint := w.binding(want, l, movable); constraint != "" {
			return nil, fault.Infeasible(constraint, "No instance that %s allows can take any pod that could move", constraint)
		}
	}
	q.excludeImmovable()
	o, ok := q.choose()
	if ok {
		o.plan = q.reconsider(q.extend(o.plan))
	}
	if broken := w.broken(plan{}, l); !ok && broken != "" && len(movable) > 0 {
		return nil, fault.Infeasible(broken, "The cluster breaks %s today and no change that saves money mends it", broken)
	}
	if !ok {
		o = outcome{}
	}
	q.explain(o.plan)
	resp := q.withBeside(a.compose(q, all, o.plan, false), o.plan, false)
	resp.PodMoves, resp.NewNodes = q.landing(o.plan)
	return resp, nil
}

// explain the nodes that could have gone and stay.
func (q *problem) explain(p plan) {
	led := q.w.ledgerFor(p.Gone, q.l)
	for _, c := range p.Buy {
		led.add(c)
	}
	spotFull := q.spotFull(p)
	for i, n := range q.w.Nodes {
		if n.Reason != "" || slices.Contains(p.Gone, i) {
			continue
		}
		switch {
		case led.floor(0) > 0 && led.onDemand-n.VCPU < led.floor(0):
			n.Reason, n.Detail = scene.ReasonFloor, led.floorLimit()
		case spotFull:
			n.Reason, n.Detail = scene.ReasonSpotShare, "max_spot_percentage"
		case q.stopped == "max_zone_share":
			n.Reason, n.Detail = reasonZoneShare, q.stopped
		case q.stopped == "min_pools":
			n.Reason, n.Detail = reasonMinPools, q.stopped
		default:
			n.Reason, n.Detail = scene.ReasonNoSaving, "no change of it saves enough"
		}
	}
}

// spotFull says whether one more spot node, in place of one that stays, would break
// the share.
func (q *problem) spotFull(p plan) bool {
	led := q.w.ledgerFor(p.Gone, q.l)
	for _, c := range p.Buy {
		led.add(c)
	}
	return q.l.maxSpot < 1 && float64(led.spot+1) > q.l.maxSpot*float64(led.kept+led.new)+defaultGranularity
}
