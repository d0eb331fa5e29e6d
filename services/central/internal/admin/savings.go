package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// GetSavings sums up what is being saved now.
func (s *Server) GetSavings(ctx context.Context, req *adminv1.GetSavingsRequest) (*adminv1.GetSavingsResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	return s.Book.Savings(ctx, cluster, customer)
}
