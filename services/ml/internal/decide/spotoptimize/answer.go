package spotoptimize

import (
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
	before, after := q.w.CostPerHour(), p.CostAfter(q.w.World)
	savings := q.savings(p, fresh)
	led := q.w.ledgerFor(p.Gone, q.l)
	return &mlv1.DecisionResponse{
		RequestId: a.req.GetRequestId(), Timestamp: timestamppb.New(a.now), DecisionType: decisionType,
		Recommendations: p.Recommendations(savings), ConfidenceScore: q.w.Confidence(), EstimatedSavings: savings,
		RiskAssessment: p.Risk(q.w.World), ExecutionPlan: p.Steps(q.w.World, q.l.priceRatio),
		Metadata:   a.metadata(q.w, before, after, led.kept+len(p.Buy)),
		Candidates: q.candidates(all, p), NodeVerdicts: p.Verdicts(q.w.World),
	}
}
