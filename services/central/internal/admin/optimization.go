package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// TriggerOptimization starts one.
func (s *Server) TriggerOptimization(ctx context.Context, req *adminv1.TriggerOptimizationRequest) (*adminv1.TriggerOptimizationResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	started, err := s.Optimizer.Trigger(ctx, customer, auth.From(ctx).Actor(), req)
	if err != nil {
		return nil, err
	}
	return &adminv1.TriggerOptimizationResponse{Optimization: started}, nil
}

// ListOptimizations lists those asked for, a page at a time.
func (s *Server) ListOptimizations(ctx context.Context, req *adminv1.ListOptimizationsRequest) (*adminv1.ListOptimizationsResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	filter := store.OptimizationFilter{
		Customer: customer, Cluster: cluster, Status: req.GetStatus(), Type: req.GetOptimizationType(), Approval: req.GetApproval(),
		DryRuns: req.GetIncludeDryRuns(), Order: req.GetOrderBy(),
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), filter.By())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListOptimizationsResponse{}
	resp.Optimizations, resp.NextPageToken, err = s.Store.Optimizations(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetNextPage(ctx, resp.GetNextPageToken())
}

// GetOptimizationDecision returns ml's whole answer; not found before it has answered.
func (s *Server) GetOptimizationDecision(ctx context.Context, req *adminv1.GetOptimizationDecisionRequest) (*adminv1.GetOptimizationDecisionResponse, error) {
	id, err := parse("optimization_id", req.GetOptimizationId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.Optimization(ctx, id, customer); err != nil { // somebody else's is not found either
		return nil, err
	}
	decision, err := s.Store.Decision(ctx, id)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetOptimizationDecisionResponse{Decision: decision}, nil
}

// GetPlanMap returns how full the nodes were when a plan was made, and were to be after it.
func (s *Server) GetPlanMap(ctx context.Context, req *adminv1.GetPlanMapRequest) (*adminv1.GetPlanMapResponse, error) {
	id, err := parse("optimization_id", req.GetOptimizationId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	drawn, err := s.Optimizer.Map(ctx, id, customer)
	return &adminv1.GetPlanMapResponse{Map: drawn}, err
}

// GetOptimization returns one with its steps.
func (s *Server) GetOptimization(ctx context.Context, req *adminv1.GetOptimizationRequest) (*adminv1.GetOptimizationResponse, error) {
	id, err := parse("optimization_id", req.GetOptimizationId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Optimization(ctx, id, customer)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetOptimizationResponse{Optimization: found}, nil
}
