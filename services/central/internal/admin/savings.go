package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/savings"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
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

// GetSavingsHistory returns spending and savings over time.
func (s *Server) GetSavingsHistory(ctx context.Context, req *adminv1.GetSavingsHistoryRequest) (*adminv1.GetSavingsHistoryResponse, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	start, err := instant("start", req.GetStart())
	if err != nil {
		return nil, err
	}
	end, err := instant("end", req.GetEnd())
	if err != nil {
		return nil, err
	}
	when, err := savings.NewRange(start, end, req.GetStep())
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	return s.Book.History(ctx, cluster, customer, when)
}

// ListDecisionSavings sets each optimization's promise beside what came of it.
func (s *Server) ListDecisionSavings(ctx context.Context, req *adminv1.ListDecisionSavingsRequest) (*adminv1.ListDecisionSavingsResponse, error) {
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
	resp, err := s.Book.Decisions(ctx, cluster, customer, page)
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetNextPage(ctx, resp.GetNextPageToken())
}
