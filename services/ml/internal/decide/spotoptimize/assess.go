package spotoptimize

import (
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

func (a answer) metadata(w *world, before, after float64, nodes int) *structpb.Struct {
	spot, onDemand, origin := a.prices.AsOf(w.State.GetRegion())
	m := a.req.GetMetadata().AsMap()
	if m == nil {
		m = map[string]any{}
	}
	for key, value := range map[string]any{
		"engine": "spot_optimize/1", "market_as_of": spot.UTC().Format(time.RFC3339), "market_origin": origin,
		"stale_sources":        w.StaleSources(),
		"on_demand_as_of":      onDemand.UTC().Format(time.RFC3339),
		"cost_before_per_hour": before, "cost_after_per_hour": after,
		"nodes_before": float64(len(w.Nodes)), "nodes_after": float64(nodes), "restart_cost_usd": RestartCost,
	} {
		m[key] = value
	}
	return figure.Struct(m)
}
