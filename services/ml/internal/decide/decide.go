// Package decide serves DecisionService: each engine is a pure function in a
// room of its own below.
package decide

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/spotoptimize"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Config is what the service needs.
type Config struct {
	Market *market.Market
	Log    *slog.Logger
}

// Server is DecisionService.
type Server struct {
	mlv1.UnimplementedDecisionServiceServer

	market *market.Market
	log    *slog.Logger
	took   metric.Float64Histogram
}

// New service.
func New(cfg Config) (*Server, error) {
	took, err := otel.Meter("decide").Float64Histogram("cloudoptim_decide_duration_seconds",
		metric.WithDescription("time an engine took"), metric.WithExplicitBucketBoundaries(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100))
	if err != nil {
		return nil, err
	}
	return &Server{market: cfg.Market, log: cfg.Log, took: took}, nil
}

// SpotOptimize picks instances that hold the cluster's pods for less.
func (s *Server) SpotOptimize(ctx context.Context, req *mlv1.SpotOptimizeRequest) (*mlv1.SpotOptimizeResponse, error) {
	if err := expect(req.GetRequest(), "spot_optimize"); err != nil {
		return nil, err
	}
	start := time.Now()
	decision, err := spotoptimize.Decide(req.GetRequest(), s.market.Snapshot(), start)
	took := time.Since(start)
	s.took.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("engine", "spot_optimize"), attribute.Bool("ok", err == nil)))
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "decided", "engine", "spot_optimize", "cluster_id", req.GetRequest().GetClusterId(),
		"nodes", len(req.GetRequest().GetCurrentState().GetNodes()), "pods", len(req.GetRequest().GetCurrentState().GetPods()),
		"launch", len(decision.GetRecommendations()), "savings", decision.GetEstimatedSavings(), "took", took)
	return &mlv1.SpotOptimizeResponse{Decision: decision}, nil
}

// BinPack is not built yet.
func (*Server) BinPack(context.Context, *mlv1.BinPackRequest) (*mlv1.BinPackResponse, error) {
	return nil, fault.Unimplemented("bin_pack")
}

// Rightsize is not built yet.
func (*Server) Rightsize(context.Context, *mlv1.RightsizeRequest) (*mlv1.RightsizeResponse, error) {
	return nil, fault.Unimplemented("rightsize")
}

// Schedule is not built yet.
func (*Server) Schedule(context.Context, *mlv1.ScheduleRequest) (*mlv1.ScheduleResponse, error) {
	return nil, fault.Unimplemented("schedule")
}

// expect the decision type of the path, or none.
func expect(req *mlv1.DecisionRequest, decisionType string) error {
	if got := req.GetDecisionType(); got != "" && got != decisionType {
		return fault.Invalid("decision_type", "must be "+decisionType+" or empty")
	}
	return nil
}
