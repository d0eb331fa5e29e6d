// Package models serves ModelService: which model is live, and whether what decides
// can be relied on.
package models

import (
	"context"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Database is looked at for its health.
type Database interface {
	Check(ctx context.Context) error
}

// Config is what the service needs.
type Config struct {
	Market *market.Market
	// Database may be nil: none is configured.
	Database Database
	// Registry knows the models in use; nil: one that never has any.
	Registry *Registry
}

// Server is ModelService.
type Server struct {
	mlv1.UnimplementedModelServiceServer

	market   *market.Market
	database Database
	registry *Registry
	checks   chan struct{}
}

// New service.
func New(cfg Config) *Server {
	if cfg.Registry == nil {
		cfg.Registry = NewRegistry(RegistryConfig{})
	}
	return &Server{market: cfg.Market, database: cfg.Database, registry: cfg.Registry, checks: make(chan struct{}, maxChecks)}
}

const (
	healthy   = "healthy"
	degraded  = "degraded"
	unhealthy = "unhealthy"

	// checkWithin bounds the look at the database, so that a health check is quick.
	checkWithin = 2 * time.Second
)

// staleAfter is how old a source may be before it is doubted: spot prices move
// daily, interruption buckets within months, the others seldom.
var staleAfter = map[string]time.Duration{
	market.SpotPrices:     2 * 24 * time.Hour,
	market.SpotAdvisor:    30 * 24 * time.Hour,
	market.OnDemandPrices: 90 * 24 * time.Hour,
	market.InstanceTypes:  180 * 24 * time.Hour,
}

// GetHealth is the documented health check. Stale or failing sources degrade;
// without any prices no decision can be made.
func (s *Server) GetHealth(ctx context.Context, _ *mlv1.GetHealthRequest) (*mlv1.GetHealthResponse, error) {
	snapshot := s.market.Snapshot()
	answer := &mlv1.GetHealthResponse{Status: healthy, ModelsLoaded: s.registry.Live() != nil}
	for _, source := range snapshot.Sources() {
		age := time.Since(source.AsOf)
		answer.Sources = append(answer.Sources, &mlv1.SourceHealth{
			Name: source.Name, Origin: source.Origin, AgeSeconds: age.Seconds(), Error: source.Err, Stale: age > staleAfter[source.Name],
		})
	}
	if s.database != nil {
		answer.Sources = append(answer.Sources, s.checkDatabase(ctx))
	}
	if source := s.registry.health(); source != nil {
		answer.Sources = append(answer.Sources, source)
	}
	for _, source := range answer.GetSources() {
		if source.GetStale() || source.GetError() != "" {
			answer.Status = degraded
		}
	}
	if snapshot.Empty() {
		answer.Status = unhealthy
	}
	return answer, nil
}

// checkDatabase says no more than that it does not answer: health is open to
// anyone, and the cause names hosts and roles.
func (s *Server) checkDatabase(ctx context.Context) *mlv1.SourceHealth {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	source := &mlv1.SourceHealth{Name: "database", Origin: "postgresql"}
	if err := s.database.Check(ctx); err != nil {
		source.Error, source.Stale = "the database does not answer", true
	}
	return source
}
