package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// trained joins the models in use with the predictor, of which each needs the other.
type trained struct {
	registry    *models.Registry
	predictions *predict.Server
}

func newTrained(log *slog.Logger, database *store.Store) *trained {
	replica, err := os.Hostname()
	if err != nil {
		replica = "unknown"
	}
	t := &trained{}
	cfg := models.RegistryConfig{Published: feature.Names(), Build: t.build, Replica: replica, Log: log}
	if database != nil { // a nil *Store would be no nil Rows
		cfg.Rows = database
	}
	t.registry = models.NewRegistry(cfg)
	return t
}

func (t *trained) build(f *forest.Forest) (models.Predictor, error) {
	model, err := hazard.New(f)
	if err != nil {
		return nil, err
	}
	return foreteller{t, model}, nil
}

// Live is the model that answers; nil: none.
func (t *trained) Live() (*hazard.Model, string) { return hazardOf(t.registry.Live()) }

// Shadow is the model beside it; nil: none.
func (t *trained) Shadow() (*hazard.Model, string) { return hazardOf(t.registry.Shadow()) }

func hazardOf(m *models.Model) (*hazard.Model, string) {
	if m == nil {
		return nil, ""
	}
	f, ok := m.Predictor.(foreteller)
	if !ok {
		return nil, ""
	}
	return f.model, m.Version
}

// lookWithin bounds the look at the fleet's record before a decision; without it the
// decision is made by the model and the Spot Advisor alone.
const lookWithin = 2 * time.Second

// risk of spot pools for one decision.
func (t *trained) risk() shop.PoolRisk {
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	return t.predictions.Pools(ctx)
}

// foreteller is a model with what the predictor knows of the market and the fleet.
type foreteller struct {
	of    *trained
	model *hazard.Model
}

// Predict is the probability that the instance is interrupted within the horizon.
func (f foreteller) Predict(ctx context.Context, q models.Query) float64 {
	return f.of.predictions.Foretell(ctx, f.model, &mlv1.PredictSpotInterruptionRequest{
		InstanceType: q.InstanceType, Region: q.Region, AvailabilityZone: q.Zone, UptimeMinutes: &q.UptimeMinutes, HorizonMinutes: q.HorizonMinutes,
	})
}

// watched counts how live and shadow model part in what was answered.
type watched struct {
	*predict.Server
	registry *models.Registry
}

// PredictSpotInterruption answers as the predictor does.
func (w watched) PredictSpotInterruption(ctx context.Context, req *mlv1.PredictSpotInterruptionRequest) (*mlv1.PredictSpotInterruptionResponse, error) {
	resp, err := w.Server.PredictSpotInterruption(ctx, req)
	if err == nil && resp.GetSource() == "model" {
		w.registry.Compare(resp.GetModelVersion(), resp.GetProbability(), resp.GetShadow().GetModelVersion(), resp.GetShadow().GetProbability())
	}
	return resp, err
}
