// Package rightsize sizes the requests of containers by what they used, and the nodes
// that run them. It is a pure function of the question and the market.
package rightsize

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// decisionType of this engine.
const decisionType = "rightsize"

// Decide answers a request from a market snapshot. The same request, snapshot and
// time give the same answer.
func Decide(req *mlv1.DecisionRequest, prices *market.Snapshot, now time.Time) (*mlv1.DecisionResponse, error) {
	want, l, err := decode(req)
	if err != nil {
		return nil, err
	}
	if len(req.GetUsage()) == 0 {
		return nil, fault.Invalid("usage", "must hold what the containers used: sizes are not guessed")
	}
	containers, err := usage.Read(req.GetUsage())
	if err != nil {
		return nil, err
	}
	a := &answer{req: req, now: now, prices: prices, want: want, limits: l, money: moneyOf(req.GetCurrentState(), prices)}
	response := &mlv1.DecisionResponse{
		RequestId: req.GetRequestId(), Timestamp: timestamppb.New(now), DecisionType: decisionType,
	}
	for _, c := range containers {
		response.RequestChanges = append(response.RequestChanges, a.review(c))
	}
	if want.instances {
		if err := a.instances(containers, response); err != nil {
			return nil, err
		}
	}
	a.finish(containers, response)
	return response, nil
}

// answer is a response in the making.
type answer struct {
	req    *mlv1.DecisionRequest
	now    time.Time
	prices *market.Snapshot
	want   wants
	limits limits
	money  money
}
