package binpack

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fragmented"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// embedded is loaded once: it takes longer than most decisions here.
var embedded = sync.OnceValues(market.New)

func testMarket(tb testing.TB) *market.Snapshot {
	tb.Helper()
	m, err := embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return m.Snapshot()
}

func request(state *fleetv1.ClusterState, constraints map[string]any) *mlv1.DecisionRequest {
	c, err := structpb.NewStruct(constraints)
	if err != nil {
		return nil // Decide refuses it, and the test fails
	}
	return &mlv1.DecisionRequest{RequestId: "req-1", ClusterId: state.GetClusterId(), CurrentState: state, Constraints: c}
}

func decide(tb testing.TB, state *fleetv1.ClusterState, constraints map[string]any) *mlv1.DecisionResponse {
	tb.Helper()
	a, err := Decide(request(state, constraints), testMarket(tb), testNow)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func BenchmarkDecide(b *testing.B) {
	for _, pods := range []int{1000, 2000, 36000} {
		state := fragmented.Cluster(fragmented.Options{Seed: 3, Pods: pods, Removed: 0.45, Shapes: []fragmented.Shape{fragmented.M5}})
		for name, constraints := range map[string]map[string]any{
			"planned":          {"placement": "planned", "min_score": 0.0},
			"planned 0.28":     {"placement": "planned", "min_score": 0.0, "max_evictions_per_pod": 0.28},
			"scheduler":        {"min_score": 0.0},
			"scheduler 0.28":   {"min_score": 0.0, "max_evictions_per_pod": 0.28},
			"scheduler remove": {"min_score": 0.0, "allow_purchases": false},
		} {
			b.Run(fmt.Sprintf("nodes=%d/pods=%d/%s", len(state.Nodes), len(state.Pods), name), func(b *testing.B) {
				var a *mlv1.DecisionResponse
				for b.Loop() {
					a = decide(b, state, constraints)
				}
				c := a.GetConsolidation()
				b.ReportMetric(c.GetCostBefore()/c.GetLowerBound(), "before/bound")
				b.ReportMetric(c.GetCostAfter()/c.GetLowerBound(), "after/bound")
				b.ReportMetric(c.GetEvictionsPerPod(), "evictions/pod")
			})
		}
	}
}
