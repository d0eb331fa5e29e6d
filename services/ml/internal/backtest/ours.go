package backtest

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/rightsize"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

const mib = 1 << 20

// ours is the engine: whole, with its steps, thresholds and evidence, or its target alone.
type ours struct {
	prices *market.Snapshot
	failed error
}

// settings of the engine: its three policies, then quantile and margin swept around the
// balanced one.
func (o *ours) curves(whole bool) []curve {
	make := func(label string, requirements map[string]any) setting {
		return setting{label: label, do: o.method(whole, requirements)}
	}
	policies := curve{name: "ours.policy"}
	for _, p := range []string{"balanced", "cost", "safe"} {
		policies.points = append(policies.points, make(p, map[string]any{"policy": p}))
	}
	quantile, margin := curve{name: "ours.quantile"}, curve{name: "ours.margin"}
	for _, q := range []float64{0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1} {
		quantile.points = append(quantile.points, make(label("q", q), map[string]any{"cpu_quantile": q, "memory_quantile": q}))
	}
	for _, m := range []float64{0, 0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 1.5, 2, 3} {
		margin.points = append(margin.points, make(label("+", m), map[string]any{"cpu_margin": m, "memory_margin": m}))
	}
	return []curve{policies, quantile, margin}
}

func label(what string, v float64) string { return fmt.Sprintf("%s%g", what, v) }

func (o *ours) method(whole bool, requirements map[string]any) method {
	fields, err := structpb.NewStruct(requirements)
	if err != nil {
		o.failed = err
	}
	return func(s *series, history []hour, current float64) float64 {
		return o.ask(s, history, current, fields, whole)
	}
}

// ask the engine about one container.
func (o *ours) ask(s *series, history []hour, current float64, requirements *structpb.Struct, whole bool) float64 {
	c := &mlv1.ContainerUsage{Namespace: "n", Kind: "Deployment", Name: s.name, Container: "c", Replicas: 1, Requests: &fleetv1.Resources{}}
	for _, h := range history {
		one := &mlv1.UsageHour{Start: h.start}
		if s.memory {
			one.Memory = h.hist
		} else {
			one.Cpu = h.hist
		}
		c.Hours = append(c.Hours, one)
	}
	if s.memory {
		c.Requests.MemoryBytes = int64(current * mib)
	} else {
		c.Requests.CpuMillicores = int64(current)
	}
	req := &mlv1.DecisionRequest{
		RequestId: "backtest", CurrentState: &fleetv1.ClusterState{Region: "us-east-1"},
		Requirements: requirements, Usage: []*mlv1.ContainerUsage{c},
	}
	answer, err := rightsize.Decide(req, o.prices, time.Unix(3600*(history[len(history)-1].at+1), 0))
	if err != nil {
		o.failed = fmt.Errorf("asking rightsize about %s: %w", s.name, err)
		return current
	}
	change, unit := answer.GetRequestChanges()[0].GetCpu(), 1.0
	if s.memory {
		change, unit = answer.GetRequestChanges()[0].GetMemory(), mib
	}
	if whole {
		return float64(change.GetTo()) / unit
	}
	return float64(change.GetTarget()) / unit
}
