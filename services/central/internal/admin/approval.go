package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/optimize"
)

// deciding is the caller's word on an optimization.
func (s *Server) deciding(ctx context.Context, id, reason, etag string) (optimize.Deciding, error) {
	parsed, err := parse("optimization_id", id)
	if err != nil {
		return optimize.Deciding{}, err
	}
	customer, err := auth.Customer(ctx)
	return optimize.Deciding{ID: parsed, Customer: customer, Actor: auth.From(ctx).Actor(), Reason: reason, Etag: etag}, err
}

// ApproveOptimization lets a plan run that awaits approval.
func (s *Server) ApproveOptimization(ctx context.Context, req *adminv1.ApproveOptimizationRequest) (*adminv1.ApproveOptimizationResponse, error) {
	d, err := s.deciding(ctx, req.GetOptimizationId(), req.GetReason(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	now, err := s.Optimizer.Approve(ctx, d)
	if err != nil {
		return nil, err
	}
	return &adminv1.ApproveOptimizationResponse{Optimization: now}, nil
}

// RejectOptimization ends a plan that awaits approval.
func (s *Server) RejectOptimization(ctx context.Context, req *adminv1.RejectOptimizationRequest) (*adminv1.RejectOptimizationResponse, error) {
	d, err := s.deciding(ctx, req.GetOptimizationId(), req.GetReason(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	now, err := s.Optimizer.Reject(ctx, d)
	if err != nil {
		return nil, err
	}
	return &adminv1.RejectOptimizationResponse{Optimization: now}, nil
}

// SnoozeOptimization puts a plan off.
func (s *Server) SnoozeOptimization(ctx context.Context, req *adminv1.SnoozeOptimizationRequest) (*adminv1.SnoozeOptimizationResponse, error) {
	d, err := s.deciding(ctx, req.GetOptimizationId(), req.GetReason(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	now, err := s.Optimizer.Snooze(ctx, d, req.GetUntil().AsTime())
	if err != nil {
		return nil, err
	}
	return &adminv1.SnoozeOptimizationResponse{Optimization: now}, nil
}

// CancelOptimization asks a running one to end.
func (s *Server) CancelOptimization(ctx context.Context, req *adminv1.CancelOptimizationRequest) (*adminv1.CancelOptimizationResponse, error) {
	d, err := s.deciding(ctx, req.GetOptimizationId(), req.GetReason(), "")
	if err != nil {
		return nil, err
	}
	now, err := s.Optimizer.Cancel(ctx, d)
	if err != nil {
		return nil, err
	}
	return &adminv1.CancelOptimizationResponse{Optimization: now}, nil
}

// GetClusterEstimate says what each engine would save in a cluster.
func (s *Server) GetClusterEstimate(ctx context.Context, req *adminv1.GetClusterEstimateRequest) (*adminv1.GetClusterEstimateResponse, error) {
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	return s.Optimizer.Estimate(ctx, cluster.UUID, customer)
}
