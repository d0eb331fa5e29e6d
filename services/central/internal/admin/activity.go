package admin

import (
	"context"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListActivity lists what the stream has told, newest first.
func (s *Server) ListActivity(ctx context.Context, req *adminv1.ListActivityRequest) (*adminv1.ListActivityResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	only := store.Only{Customer: customer, Cluster: cluster, Types: req.GetTypes(), Severity: req.GetMinSeverity()}
	if req.GetOptimizationId() != "" {
		id, err := uuid.Parse(req.GetOptimizationId())
		if err != nil {
			return nil, fault.Invalid("optimization_id", "must be valid UUID")
		}
		if err := s.Store.OptimizationOwned(ctx, id, customer); err != nil {
			return nil, err
		}
		only.Optimization = some(id)
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), "")
	if err != nil {
		return nil, err
	}
	found, token, err := s.Store.ListActivity(ctx, only, page)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListActivityResponse{Activity: found, NextPageToken: token}, rpc.SetNextPage(ctx, token)
}
