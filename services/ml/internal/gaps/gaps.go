// Package gaps serves DataService: it keeps the training data whole.
package gaps

import (
	"context"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Server is DataService.
type Server struct {
	mlv1.UnimplementedDataServiceServer
}

// FillGaps is not built yet.
func (*Server) FillGaps(context.Context, *mlv1.FillGapsRequest) (*mlv1.FillGapsResponse, error) {
	return nil, fault.Unimplemented("filling gaps")
}
