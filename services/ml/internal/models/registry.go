package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

const (
	// SpotInterruption is the one kind of model there is.
	SpotInterruption = "spot_interruption"

	// pollEvery is how soon a replica follows what central wrote.
	pollEvery = 2 * time.Second
	// pollWithin bounds one look, a model's bytes included.
	pollWithin = time.Minute
	// staleModels is how long the database may be away before the models in use are
	// doubted.
	staleModels = time.Minute
)

// Query asks about one spot instance.
type Query struct {
	InstanceType, Region, Zone string
	// UptimeMinutes it has run, HorizonMinutes ahead.
	UptimeMinutes, HorizonMinutes float64
}

// Predictor foretells by one model. Many goroutines ask it at once.
type Predictor interface {
	// Predict is the probability that the instance is interrupted within the horizon.
	Predict(ctx context.Context, q Query) float64
}

// Model is a version that was loaded and checked.
type Model struct {
	Version, Kind string
	Forest        *forest.Forest
	Predictor     Predictor
}

// Rows are what the database holds of models, and of what became of instances.
type Rows interface {
	ModelsInUse(ctx context.Context) ([]store.ModelInUse, error)
	ModelContent(ctx context.Context, version string) ([]byte, error)
	SpotInstances(ctx context.Context, most int) ([]store.SpotInstance, error)
	Fates(ctx context.Context, ids []string, since, until time.Time) (interrupted, gone []string, err error)
}

// RegistryConfig is what a Registry needs.
type RegistryConfig struct {
	// Rows may be nil: no database is configured, and no model is ever live.
	Rows Rows
	// Published are the features that the predictor can measure, by name.
	Published []string
	// Build makes a predictor of a forest whose features are published, or says why it
	// cannot.
	Build func(*forest.Forest) (Predictor, error)
	// Replica names this process in figures.
	Replica string
	// Horizon of the predictions that are compared with what happened; 0: an hour.
	Horizon time.Duration
	Log     *slog.Logger
}

// Registry knows which model is live and which is its shadow. It follows the
// database; a model is loaded aside and put in place by one pointer, so that no
// prediction waits or sees half of a change.
type Registry struct {
	RegistryConfig

	current atomic.Pointer[pair]
	queue   chan observation
	pending []batch // of the scoring goroutine alone
	// refused are versions in use that cannot be loaded, and why; of the following
	// goroutine alone.
	refused map[string]error

	mu sync.Mutex
	// seen is when the database last said what shall be in use; trouble is what keeps
	// it from being so, in words for anyone.
	seen    time.Time
	trouble string
}

// pair is what is in use, and what was counted since.
type pair struct {
	live, shadow *Model
	tally        tally
}

// NewRegistry makes a registry without models; Run fills it.
func NewRegistry(cfg RegistryConfig) *Registry {
	if cfg.Horizon <= 0 {
		cfg.Horizon = time.Hour
	}
	r := &Registry{RegistryConfig: cfg, queue: make(chan observation, mostWaiting), refused: map[string]error{}, seen: time.Now()}
	r.current.Store(&pair{tally: newTally()})
	return r
}

// Live is the model that decides; nil: none does.
func (r *Registry) Live() *Model { return r.current.Load().live }

// Shadow is the model beside it; nil: none.
func (r *Registry) Shadow() *Model { return r.current.Load().shadow }

// Run follows the database until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	if r.Rows == nil {
		<-ctx.Done()
		return nil
	}
	var parts sync.WaitGroup
	defer r.exportFigures()()
	parts.Go(func() { r.watchShadow(ctx) })
	parts.Go(func() { r.score(ctx) })
	defer parts.Wait()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		r.follow(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// follow puts in use what the database says. With the database away, or a model
// that cannot be loaded, what was in use stays.
func (r *Registry) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	rows, err := r.Rows.ModelsInUse(ctx)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.note("the models in use cannot be read from the database: those before stay", false)
			r.Log.WarnContext(ctx, "models in use are not known", "error", err)
		}
		return
	}
	before := r.current.Load()
	live, liveErr := r.pick(ctx, rows, "live", before)
	shadow, shadowErr := r.pick(ctx, rows, "shadow", before)
	r.forget(rows)
	if live == before.live && shadow == before.shadow {
		r.note(words(liveErr, shadowErr), true)
		return
	}
	r.current.Store(&pair{live: live, shadow: shadow, tally: newTally()})
	r.note(words(liveErr, shadowErr), true)
	r.Log.InfoContext(ctx, "models in use changed", "live", version(live), "shadow", version(shadow),
		"live_before", version(before.live), "shadow_before", version(before.shadow))
}

// pick the model for a role: one that is loaded already, a new one, or, where the
// new one cannot be loaded, the one that has the role.
func (r *Registry) pick(ctx context.Context, rows []store.ModelInUse, role string, before *pair) (*Model, error) {
	had := before.live
	if role == "shadow" {
		had = before.shadow
	}
	for _, row := range rows {
		if row.State != role || row.Kind != SpotInterruption {
			continue
		}
		for _, loaded := range []*Model{before.live, before.shadow} {
			if loaded != nil && loaded.Version == row.Version {
				return loaded, nil
			}
		}
		model, err := r.load(ctx, row)
		if err != nil {
			return had, fmt.Errorf("the %s model %s cannot be used: %w", role, row.Version, err)
		}
		return model, nil
	}
	return nil, nil
}

// note what health shall say.
func (r *Registry) note(trouble string, seen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = trouble
	if seen {
		r.seen = time.Now()
	}
}

// health says how long ago the database was followed, and what keeps models from
// being in use; nil without a database.
func (r *Registry) health() *mlv1.SourceHealth {
	if r.Rows == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	age := time.Since(r.seen)
	return &mlv1.SourceHealth{Name: "models", Origin: "postgresql", AgeSeconds: age.Seconds(), Error: r.trouble, Stale: age > staleModels}
}

func words(errs ...error) string {
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}

func version(m *Model) string {
	if m == nil {
		return "none"
	}
	return m.Version
}
