package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/risk"
)

// usualDays is how far reliability looks back when nobody says how far.
const usualDays = 30

// ListSpotPools lists the pools that the clusters use, with risk and record.
func (s *Server) ListSpotPools(ctx context.Context, req *adminv1.ListSpotPoolsRequest) (*adminv1.ListSpotPoolsResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	pools, err := s.Store.SpotPools(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListSpotPoolsResponse{Pools: pools}, nil
}

// GetReliability sets predicted interruptions beside what happened.
func (s *Server) GetReliability(ctx context.Context, req *adminv1.GetReliabilityRequest) (*adminv1.GetReliabilityResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	days := int(req.GetDays())
	if days == 0 {
		days = usualDays
	}
	judged, err := s.Store.JudgedBins(ctx, cluster, customer, days)
	if err != nil {
		return nil, err
	}
	return risk.Reliability(judged), nil
}
