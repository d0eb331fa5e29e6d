package models

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Figures of the live model, then of its shadow.
func (r *Registry) Figures() []*mlv1.ModelMetrics {
	now := r.current.Load()
	t := &now.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*mlv1.ModelMetrics
	if now.live != nil {
		all = append(all, r.figures(now.live, "live", t, t.live))
	}
	if now.shadow != nil {
		m := r.figures(now.shadow, "shadow", t, t.shadow)
		m.Skipped = t.skipped
		m.MeanAbsoluteDifference = share(t.difference, t.shadow.predictions)
		for i, at := range thresholds {
			m.Disagreements = append(m.Disagreements, &mlv1.Disagreement{Threshold: at, Share: share(float64(t.parted[i]), t.shadow.predictions)})
		}
		all = append(all, m)
	}
	return all
}

func (r *Registry) figures(m *Model, name string, t *tally, of role) *mlv1.ModelMetrics {
	return &mlv1.ModelMetrics{
		ModelVersion: m.Version, Kind: m.Kind, Role: name, Replica: r.Replica, Since: timestamppb.New(t.since),
		Predictions: of.predictions, MeanProbability: share(of.probability, of.predictions),
		Outcomes: of.outcomes, Interruptions: of.interruptions, Brier: share(of.brier, of.outcomes), LogLoss: share(of.logLoss, of.outcomes),
	}
}

func share(sum float64, count int64) float64 {
	if count == 0 {
		return 0
	}
	return sum / float64(count)
}

// exportFigures shows them to Prometheus, by role and version. They begin anew with
// each change of models, so they are gauges. The returned function ends it.
func (r *Registry) exportFigures() (stop func()) {
	meter := otel.Meter("cloudoptim/ml/models")
	gauges := map[string]metric.Float64ObservableGauge{}
	var instruments []metric.Observable
	for _, f := range exported {
		g, err := meter.Float64ObservableGauge(f.name, metric.WithDescription(f.about))
		if err != nil {
			otel.Handle(err)
			return func() {}
		}
		gauges[f.name] = g
		instruments = append(instruments, g)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, m := range r.Figures() {
			which := metric.WithAttributes(attribute.String("role", m.GetRole()), attribute.String("model_version", m.GetModelVersion()))
			for _, f := range exported {
				o.ObserveFloat64(gauges[f.name], f.value(m), which)
			}
		}
		return nil
	}, instruments...)
	if err != nil {
		otel.Handle(err)
		return func() {}
	}
	return func() { _ = registration.Unregister() } // of what is not there, nothing is left
}

var exported = []struct {
	name, about string
	value       func(*mlv1.ModelMetrics) float64
}{
	{"cloudoptim_models_predictions", "Predictions made since the models in use changed.", func(m *mlv1.ModelMetrics) float64 { return float64(m.GetPredictions()) }},
	{"cloudoptim_models_skipped", "Predictions that the shadow left out.", func(m *mlv1.ModelMetrics) float64 { return float64(m.GetSkipped()) }},
	{"cloudoptim_models_probability_mean", "Mean probability foretold.", (*mlv1.ModelMetrics).GetMeanProbability},
	{"cloudoptim_models_difference_mean", "Mean of |shadow − live|.", (*mlv1.ModelMetrics).GetMeanAbsoluteDifference},
	{"cloudoptim_models_outcomes", "Instances whose foretold fate is known.", func(m *mlv1.ModelMetrics) float64 { return float64(m.GetOutcomes()) }},
	{"cloudoptim_models_interruptions", "Of these, interrupted.", func(m *mlv1.ModelMetrics) float64 { return float64(m.GetInterruptions()) }},
	{"cloudoptim_models_brier_score", "Mean squared error of the probability on the outcomes.", (*mlv1.ModelMetrics).GetBrier},
	{"cloudoptim_models_log_loss", "Mean −ln of the probability of what happened.", (*mlv1.ModelMetrics).GetLogLoss},
}
