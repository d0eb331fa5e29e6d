package admin

import (
	"context"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// AnalyzeGaps is part of the contract and not built yet.
func (s *Server) AnalyzeGaps(context.Context, *adminv1.AnalyzeGapsRequest) (*adminv1.AnalyzeGapsResponse, error) {
	return nil, fault.Unimplemented("analyzing gaps")
}

// FillGaps is part of the contract and not built yet.
func (s *Server) FillGaps(context.Context, *adminv1.FillGapsRequest) (*adminv1.FillGapsResponse, error) {
	return nil, fault.Unimplemented("filling gaps")
}
