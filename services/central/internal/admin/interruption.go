package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// ListSpotEvents lists what AWS said of the caller's instances, newest first.
func (s *Server) ListSpotEvents(ctx context.Context, req *adminv1.ListSpotEventsRequest) (*adminv1.ListSpotEventsResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = defaultPage
	}
	found, err := s.Store.SpotEvents(ctx, cluster, customer, limit)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListSpotEventsResponse{SpotEvents: found}, nil
}
