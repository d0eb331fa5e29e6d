package binpack

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Reasons of Alternative and limits of Consolidation.limited_by, as the contract names
// them.
const (
	reasonDearer        = "dearer"
	reasonMinSavings    = "min_savings"
	reasonUnschedulable = "unschedulable_pod"
	limitScore          = "min_score"
	limitDisrupted      = "max_nodes_disrupted"
	limitNewNodes       = "max_nodes"
	limitPurchases      = "allow_purchases"
)

// decisionType of this engine.
const decisionType = "bin_pack"

// answer with the draft; nil for none.
func (q *problem) answer(req *mlv1.DecisionRequest, d *draft) *mlv1.DecisionResponse {
	var p change.Plan
	if d != nil {
		p = d.Plan
	}
	after := p.CostAfter(q.w)
	savings := figure.Cents(max(0, q.before-after) * figure.HoursPerMonth)
	q.explain(d)
	resp := &mlv1.DecisionResponse{
		RequestId: req.GetRequestId(), Timestamp: timestamppb.New(q.w.At), DecisionType: decisionType,
		Recommendations: p.Recommendations(savings), ConfidenceScore: q.w.Confidence(), EstimatedSavings: savings,
		RiskAssessment: p.Risk(q.w), ExecutionPlan: p.Steps(q.w, 1), NodeVerdicts: p.Verdicts(q.w),
		Metadata: q.metadata(req, after, p), Consolidation: q.consolidation(d, after), Alternatives: q.alternatives(d),
	}
	if d != nil {
		resp.PodMoves, resp.NewNodes = p.Moves(q.w, q.landed(d), !q.l.planned), p.NewNodes(q.w)
	}
	return resp
}

// landed is the cluster afterwards: pods where the packer put them, if somebody holds
// them to it, else where the scheduler is foretold to.
func (q *problem) landed(d *draft) *fit.Cluster {
	if q.l.planned {
		return d.cluster
	}
	return d.Rehearse(q.w, q.seated(), change.Plain).Cluster
}

func (q *problem) consolidation(d *draft, after float64) *mlv1.Consolidation {
	c := &mlv1.Consolidation{CostBefore: q.before, CostAfter: after, LowerBound: q.bound, LowerBoundWithinEvictions: q.floor()}
	if d != nil {
		c.Evictions, c.Rehearsals = int32(d.evictions), int32(d.rehearsals)
		c.EvictionsPerPod = figure.Digits(float64(d.evictions) / float64(max(1, q.moving)))
		c.SavingsShare = figure.Digits((q.before - after) / q.before)
		c.DisruptionShare = figure.Digits(d.weight / q.weight)
		c.Score = figure.Digits(q.score(after, d.weight))
	}
	c.LimitedBy = slices.Sorted(maps.Keys(q.limitedBy))
	return c
}

const mostAlternatives = 20

// note limits that stood in the way of a plan that is cheaper by estimate; explain
// notes those on disruption.
func (q *problem) note(taken *draft) {
	for _, d := range q.weighed {
		reason := q.refusal(d)
		if (reason == limitScore || reason == limitNewNodes) && (taken == nil || d.judged < taken.judged) {
			q.limitedBy[reason] = true
		}
	}
	cost := q.before
	if taken != nil {
		cost = taken.cost
	}
	more := q.unlimited()
	if len(more.gone) == 0 || more.cost > cost-settlingSavings*q.l.minSavings*q.before {
		return
	}
	if !q.l.purchases {
		q.limitedBy[limitPurchases] = true
	}
}

// unlimited is what estimates propose without limits on disruption.
func (q *problem) unlimited() proposal {
	free := *q
	free.most, free.nodes, free.l.minScore = len(q.w.State.GetPods()), len(q.w.Nodes), 0
	if !q.l.purchases {
		free.duals, free.l.purchases = duals(shop.Takeable(shop.Columns(q.w, shop.Limits{PriceRatio: 1, MaxRisk: 1, NoSpot: true})), nodeCost), true
	}
	market, _ := free.dearest(free.whole().lacking.plus(free.l.spare, 1))
	return free.bestPrefix(free.byGain(market))
}

func (q *problem) alternatives(taken *draft) []*mlv1.Alternative {
	var all []*mlv1.Alternative
	seen := map[string]bool{}
	for _, w := range q.weighed {
		if taken != nil && w.cost == taken.cost && w.evictions == taken.evictions {
			continue
		}
		a := &mlv1.Alternative{
			NodesRemoved: int32(len(w.Gone)), NodesBought: int32(len(w.Buy)), Evictions: int32(w.evictions),
			CostAfter: w.cost, Reason: cmp.Or(q.refusal(w), reasonDearer),
		}
		if key := a.String(); !seen[key] {
			seen[key] = true
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(a, b *mlv1.Alternative) int {
		return cmp.Or(cmp.Compare(a.GetEvictions(), b.GetEvictions()), cmp.Compare(a.GetCostAfter(), b.GetCostAfter()))
	})
	return all[:min(len(all), mostAlternatives)]
}

// explain the nodes that could have gone and stay.
func (q *problem) explain(d *draft) {
	t, taken := q.nothing(), map[int]bool{}
	if d != nil {
		t = q.tallyOf(d.Gone)
		for _, n := range d.Gone {
			taken[n] = true
		}
	}
	for _, n := range q.movable {
		if taken[n.node] {
			continue
		}
		node := q.w.Nodes[n.node]
		node.Reason, node.Detail = q.whyKept(n, t, d != nil)
	}
}

// whyKept is why a node stays that might have gone.
func (q *problem) whyKept(n *candidate, t tally, anyGoes bool) (reason, detail string) {
	if pod, ok := q.blocked[n.node]; ok {
		return scene.ReasonUnschedulable, pod + " would find no place"
	}
	more := t.with(n)
	elsewhere := q.cost(more) - q.cost(t) + n.price
	switch {
	case elsewhere < n.price && more.evictions > q.most:
		q.limitedBy[q.mostName] = true
		return scene.ReasonEvictions, fmt.Sprintf("%s: %d of %d evictions are used and its %d pods are more", q.mostName, t.evictions, q.most, n.evictions)
	case elsewhere < n.price && more.nodes > q.nodes:
		q.limitedBy[limitDisrupted] = true
		return scene.ReasonNodeBudget, fmt.Sprintf("%d nodes go already", t.nodes)
	case !anyGoes:
		return scene.ReasonNoSaving, "no plan saves enough for what it disturbs"
	case !q.l.purchases:
		return scene.ReasonNoSaving, fmt.Sprintf("the other nodes have no room for its %d pods", n.evictions)
	}
	return scene.ReasonNoSaving, fmt.Sprintf("it costs %.3f USD/h, and room elsewhere for its %d pods and what it still takes %.3f",
		n.price, n.evictions, elsewhere)
}

func (q *problem) metadata(req *mlv1.DecisionRequest, after float64, p change.Plan) *structpb.Struct {
	spot, onDemand, origin := q.w.Market.AsOf(q.w.State.GetRegion())
	m := req.GetMetadata().AsMap()
	if m == nil {
		m = map[string]any{}
	}
	placement := "scheduler"
	if q.l.planned {
		placement = "planned"
	}
	for key, value := range map[string]any{
		"engine": "bin_pack/1", "market_as_of": spot.UTC().Format(time.RFC3339), "market_origin": origin,
		"stale_sources":   q.w.StaleSources(),
		"on_demand_as_of": onDemand.UTC().Format(time.RFC3339), "placement": placement,
		"cost_before_per_hour": q.before, "cost_after_per_hour": after, "lower_bound_per_hour": q.bound,
		"nodes_before": float64(len(q.w.Nodes)), "nodes_after": float64(len(q.w.Nodes) - len(p.Gone) + len(p.Buy)),
		"pods": float64(q.moving), "eviction_cost_usd": q.l.evictionCost,
	} {
		m[key] = value
	}
	return figure.Struct(m)
}

// unmet requirement of the answer; empty if all are met.
func (q *problem) unmet(d *draft) string {
	if d == nil {
		d = &draft{cluster: q.seat()}
	}
	lacking := q.missing(d)
	switch {
	case lacking.cpu > granularity:
		return "spare_cpu"
	case lacking.memory > granularity:
		return "spare_memory"
	}
	return ""
}
