package admin

import (
	"context"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/optimize"
)

// healthWithin is how soon ml must answer to count as alive.
const healthWithin = 2 * time.Second

// ProxyDecision asks ml, for testing and debugging.
func (s *Server) ProxyDecision(ctx context.Context, req *adminv1.ProxyDecisionRequest) (*adminv1.ProxyDecisionResponse, error) {
	// Of a customer's caller the question is about a cluster of its own; the platform's staff may make one up.
	if own, err := auth.Customer(ctx); err != nil {
		return nil, err
	} else if own.Valid {
		if _, err := s.cluster(ctx, req.GetRequest().GetClusterId()); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.MLTimeout)
	defer cancel()
	decision, err := optimize.Ask(ctx, mlv1.NewDecisionServiceClient(s.ML), req.GetRequest())
	if err != nil {
		return nil, fromML(err)
	}
	return &adminv1.ProxyDecisionResponse{Decision: decision}, nil
}

// fromML hands ml's answer on, except for what is between the two servers: an
// address that does not answer, a key of central's that ml does not take.
func fromML(err error) error {
	if err == nil {
		return nil
	}
	switch known := fault.From(err); known.Reason {
	case faultv1.Reason_REASON_UNAVAILABLE, faultv1.Reason_REASON_UNAUTHENTICATED, faultv1.Reason_REASON_PERMISSION_DENIED:
		return fault.Unavailable("ml", err)
	case faultv1.Reason_REASON_DEADLINE_EXCEEDED:
		return fault.New(known.Reason, "ml took too long").Because(err)
	default:
		return known
	}
}

// GetMLHealth tells whether central reaches ml. An ml that does not answer is
// this call's finding, not its failure.
func (s *Server) GetMLHealth(ctx context.Context, _ *adminv1.GetMLHealthRequest) (*adminv1.GetMLHealthResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	start := time.Now()
	health, err := mlv1.NewModelServiceClient(s.ML).GetHealth(ctx, &mlv1.GetHealthRequest{})
	took := float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		s.Log.DebugContext(ctx, "ml does not answer", "error", err)
		return &adminv1.GetMLHealthResponse{Status: "unhealthy", LatencyMs: took}, nil
	}
	return &adminv1.GetMLHealthResponse{Status: health.GetStatus(), ModelsLoaded: health.GetModelsLoaded(), LatencyMs: took}, nil
}
