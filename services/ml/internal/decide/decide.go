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
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/binpack"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/rightsize"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/schedule"
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
	decision, err := s.run(ctx, "spot_optimize", req.GetRequest(), spotoptimize.Decide)
	return &mlv1.SpotOptimizeResponse{Decision: decision}, err
}

// BinPack consolidates nodes.
func (s *Server) BinPack(ctx context.Context, req *mlv1.BinPackRequest) (*mlv1.BinPackResponse, error) {
	decision, err := s.run(ctx, "bin_pack", req.GetRequest(), binpack.Decide)
	return &mlv1.BinPackResponse{Decision: decision}, err
}

// engine is a pure function of the question and the market.
type engine func(*mlv1.DecisionRequest, *market.Snapshot, time.Time) (*mlv1.DecisionResponse, error)

// run an engine.
func (s *Server) run(ctx context.Context, name string, req *mlv1.DecisionRequest, decide engine) (*mlv1.DecisionResponse, error) {
	if err := expect(req, name); err != nil {
		return nil, err
	}
	start := time.Now()
	decision, err := decide(req, s.market.Snapshot(), start)
	took := time.Since(start)
	s.took.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("engine", name), attribute.Bool("ok", err == nil)))
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "decided", "engine", name, "cluster_id", req.GetClusterId(),
		"nodes", len(req.GetCurrentState().GetNodes()), "pods", len(req.GetCurrentState().GetPods()),
		"launch", len(decision.GetRecommendations()), "savings", decision.GetEstimatedSavings(), "took", took)
	return decision, nil
}

// Rightsize sizes instances and requests.
func (s *Server) Rightsize(ctx context.Context, req *mlv1.RightsizeRequest) (*mlv1.RightsizeResponse, error) {
	decision, err := s.run(ctx, "rightsize", req.GetRequest(), rightsize.Decide)
	return &mlv1.RightsizeResponse{Decision: decision}, err
}

// Schedule plans office hours.
func (s *Server) Schedule(ctx context.Context, req *mlv1.ScheduleRequest) (*mlv1.ScheduleResponse, error) {
	decision, err := s.run(ctx, "schedule", req.GetRequest(), schedule.Decide)
	return &mlv1.ScheduleResponse{Decision: decision}, err
}

// expect the decision type of the path, or none.
func expect(req *mlv1.DecisionRequest, decisionType string) error {
	if got := req.GetDecisionType(); got != "" && got != decisionType {
		return fault.Invalid("decision_type", "must be "+decisionType+" or empty")
	}
	return nil
}
