// Package predict serves PredictionService: how likely an instance is to be
// interrupted.
package predict

import (
	"context"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Server is PredictionService.
type Server struct {
	mlv1.UnimplementedPredictionServiceServer
}

// PredictSpotInterruption is not built yet: no model has been trained.
func (*Server) PredictSpotInterruption(context.Context, *mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
	return nil, fault.Unimplemented("spot interruption prediction")
}
