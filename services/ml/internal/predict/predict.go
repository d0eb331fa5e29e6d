// Package predict serves PredictionService: how likely a spot instance is to be
// interrupted, from a trained model if one is live, else from the fleet's own record
// and the Spot Advisor.
package predict

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
)

// Models says which trained models there are.
type Models interface {
	// Live is the model that answers, and its version; nil: none.
	Live() (*hazard.Model, string)
	// Shadow is the model that is tried beside it; nil: none.
	Shadow() (*hazard.Model, string)
}

// NoModels is a registry without any.
type NoModels struct{}

// Live is none.
func (NoModels) Live() (*hazard.Model, string) { return nil, "" }

// Shadow is none.
func (NoModels) Shadow() (*hazard.Model, string) { return nil, "" }

// Config is what the service needs.
type Config struct {
	Market *market.Market
	// Models may be nil: none are trained.
	Models Models
	// Records may be nil: no database is configured.
	Records Records
	Log     *slog.Logger
}

// Server is PredictionService.
type Server struct {
	mlv1.UnimplementedPredictionServiceServer

	market *market.Market
	models Models
	fleet  *fleet
	count  metric.Int64Counter
}

// New service.
func New(cfg Config) (*Server, error) {
	count, err := otel.Meter("predict").Int64Counter("cloudoptim_predict_answers_total", metric.WithDescription("predictions given, by source"))
	if err != nil {
		return nil, err
	}
	s := &Server{market: cfg.Market, models: cfg.Models, fleet: &fleet{records: cfg.Records, log: cfg.Log}, count: count}
	if s.models == nil {
		s.models = NoModels{}
	}
	return s, nil
}

// PredictSpotInterruption answers every well-formed question. A type or region that
// is not known here is not an error: AWS adds new ones, a stale catalogue must not
// stop who handles an interruption, and the answer says in notes and confidence that
// it is a guess.
func (s *Server) PredictSpotInterruption(ctx context.Context, req *mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
	if err := check(req); err != nil {
		return nil, err
	}
	now := time.Now()
	v, ok := s.fleet.look(ctx, now)
	q := newQuestion(req, s.market.Snapshot(), v, now)
	if !ok {
		q.note("database_unavailable")
	}
	live, version := s.models.Live()
	shadow, shadowVersion := s.models.Shadow()
	answer := q.answer(trained{live, version}, trained{shadow, shadowVersion})
	s.count.Add(ctx, 1, metric.WithAttributes(attribute.String("source", answer.GetSource())))
	return answer, nil
}

// check what the contract's rules for single fields do not say.
func check(req *mlv1.PredictSpotInterruptionRequest) error {
	zone, region := req.GetAvailabilityZone(), req.GetRegion()
	if zone != "" && (!strings.HasPrefix(zone, region) || len(zone) == len(region)) {
		return fault.Invalid("availability_zone", "must be a zone of "+region+", such as "+region+"a")
	}
	seen := map[float64]bool{}
	for _, a := range req.GetActivity() {
		if seen[a.GetHours()] {
			return fault.Invalid("activity.hours", "must be different for each entry")
		}
		seen[a.GetHours()] = true
		if a.GetLaunchFailures() > a.GetLaunchAttempts() {
			return fault.Invalid("activity.launch_failures", "must be at most launch_attempts")
		}
	}
	return nil
}
