package optimize

import (
	"context"

	"google.golang.org/protobuf/proto"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Ask the engine that the request names.
func Ask(ctx context.Context, ml mlv1.DecisionServiceClient, req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
	switch req.GetDecisionType() {
	case "spot_optimize":
		resp, err := ml.SpotOptimize(ctx, &mlv1.SpotOptimizeRequest{Request: req})
		return resp.GetDecision(), err
	case "bin_pack":
		resp, err := ml.BinPack(ctx, &mlv1.BinPackRequest{Request: req})
		return resp.GetDecision(), err
	case rightsize:
		resp, err := ml.Rightsize(ctx, &mlv1.RightsizeRequest{Request: req})
		return resp.GetDecision(), err
	case "schedule":
		resp, err := ml.Schedule(ctx, &mlv1.ScheduleRequest{Request: req})
		return resp.GetDecision(), err
	default:
		return nil, fault.Invalid("decision_type", "must be given")
	}
}

// terms are the messages that say what an engine's requirements and constraints may hold.
func terms(optimization string) (requirements, constraints proto.Message) {
	switch optimization {
	case "bin_pack":
		return &mlv1.BinPackRequirements{}, &mlv1.BinPackConstraints{}
	case rightsize:
		return &mlv1.RightsizeRequirements{}, &mlv1.RightsizeConstraints{}
	}
	return &mlv1.SpotOptimizeRequirements{}, &mlv1.SpotOptimizeConstraints{}
}
