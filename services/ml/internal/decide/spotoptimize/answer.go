package spotoptimize

import (
	"cmp"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// answer is a response in the making.
type answer struct {
	req    *mlv1.DecisionRequest
	now    time.Time
	prices *market.Snapshot
}

// decisionType of this engine.
const decisionType = "spot_optimize"

// compose the response for a plan; fresh capacity is compared with its own
// on-demand price, a replacement with what the cluster costs today.
func (a answer) compose(q *problem, all []*column, p plan, fresh bool) *mlv1.DecisionResponse {
	before, after := q.w.costPerHour(), q.w.costAfter(p)
	savings := q.savings(p, fresh)
	led := q.w.ledgerFor(p.gone, q.l)
	return &mlv1.DecisionResponse{
		RequestId: a.req.GetRequestId(), Timestamp: timestamppb.New(a.now), DecisionType: decisionType,
		Recommendations: recommendations(p, savings), ConfidenceScore: a.confidence(q.w), EstimatedSavings: savings,
		RiskAssessment: q.w.risk(p), ExecutionPlan: q.w.steps(p, q.l),
		Metadata:   a.metadata(q.w, before, after, led.kept+len(p.buy)),
		Candidates: q.candidates(all, p), NodeVerdicts: q.w.verdicts(p),
	}
}

// cents rounds USD for people; prices themselves are never rounded.
func cents(usd float64) float64 { return math.Round(usd*100) / 100 }

// recommendations group equal nodes, those that cost most first. Each gets the
// share of the savings that its cost on demand has in the whole.
func recommendations(p plan, savings float64) []*mlv1.Recommendation {
	var all []*mlv1.Recommendation
	index := map[string]*mlv1.Recommendation{}
	whole := 0.0
	for _, c := range p.buy {
		whole += c.OnDemand
		key := c.pool() + c.nodeType()
		r := index[key]
		if r == nil {
			r = &mlv1.Recommendation{
				InstanceType: c.Type.Name, RiskScore: c.score, HourlyPrice: c.price, AvailabilityZone: c.Zone,
				NodeType: c.nodeType(), OnDemandHourlyPrice: c.OnDemand, Architecture: c.Type.Architecture,
			}
			index[key] = r
			all = append(all, r)
		}
		r.NodeCount++
	}
	for _, r := range all {
		r.MonthlySavings = cents(savings * r.GetOnDemandHourlyPrice() * float64(r.GetNodeCount()) / whole)
	}
	slices.SortStableFunc(all, func(a, b *mlv1.Recommendation) int {
		return cmp.Or(
			cmp.Compare(b.GetHourlyPrice()*float64(b.GetNodeCount()), a.GetHourlyPrice()*float64(a.GetNodeCount())),
			cmp.Compare(a.GetInstanceType(), b.GetInstanceType()), cmp.Compare(a.GetAvailabilityZone(), b.GetAvailabilityZone()),
			cmp.Compare(a.GetNodeType(), b.GetNodeType()))
	})
	return all
}

// verdicts on every node, in the order of their names.
func (w *world) verdicts(p plan) []*mlv1.NodeVerdict {
	var all []*mlv1.NodeVerdict
	for i, n := range w.nodes {
		v := &mlv1.NodeVerdict{NodeName: n.metric.GetNodeName(), Verdict: "keep", Reason: n.reason, Detail: n.detail}
		if slices.Contains(p.gone, i) {
			v.Verdict, v.Reason, v.Detail, v.PodsMoved = "replace", reasonReplaced, "", int32(len(n.moves))
		}
		all = append(all, v)
	}
	return all
}
