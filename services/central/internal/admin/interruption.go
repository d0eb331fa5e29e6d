package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
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
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), "")
	if err != nil {
		return nil, err
	}
	found, token, err := s.Store.SpotEvents(ctx, cluster, customer, req.GetEventType(), req.GetInstanceId(), page)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListSpotEventsResponse{SpotEvents: found, NextPageToken: token}, rpc.SetNextPage(ctx, token)
}
