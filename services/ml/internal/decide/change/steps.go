package change

import (
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Steps that carry a plan out: the new nodes are Ready and marked before any old
// one is touched; all old ones are cordoned before the first is drained, so that
// no pod is moved twice.
func (p Plan) Steps(w *scene.World, priceRatio float64) []*mlv1.ExecutionStep {
	s := &steps{}
	s.launch(p, priceRatio)
	s.mark(p)
	s.empty(p, w)
	if len(s.all) > 0 {
		s.add("verify", map[string]any{"node_count": float64(len(w.Nodes) - len(p.Gone) + len(p.Buy))}, nil)
	}
	return s.all
}

// steps in the making.
type steps struct{ all []*mlv1.ExecutionStep }

func (s *steps) add(action string, parameters map[string]any, undo *mlv1.UndoStep) {
	s.all = append(s.all, &mlv1.ExecutionStep{
		Step: int32(len(s.all) + 1), Action: action, Parameters: figure.Struct(parameters), Undo: undo,
	})
}

// launch what is bought.
func (s *steps) launch(p Plan, priceRatio float64) {
	for _, r := range p.Recommendations(0) {
		maxPrice := r.GetOnDemandHourlyPrice()
		if r.GetNodeType() == shop.Spot {
			maxPrice *= priceRatio
		}
		parameters := map[string]any{
			"instance_type": r.GetInstanceType(), "availability_zone": r.GetAvailabilityZone(),
			"node_count": float64(r.GetNodeCount()), "max_price": maxPrice, "architecture": r.GetArchitecture(),
		}
		s.add(launchAction(r.GetNodeType()), parameters, &mlv1.UndoStep{
			Action: "terminate_instances", Parameters: figure.Struct(map[string]any{"launched_by_step": float64(len(s.all) + 1)}),
		})
	}
}

func launchAction(nodeType string) string {
	if nodeType == shop.Spot {
		return "launch_spot_instances"
	}
	return "launch_on_demand_instances"
}

// mark the new nodes. Nothing takes that back: it goes with the instances.
func (s *steps) mark(p Plan) {
	if len(p.Buy) == 0 {
		return
	}
	s.add("wait_nodes_ready", map[string]any{"node_count": float64(len(p.Buy))}, nil)
	for _, kind := range []string{shop.Spot, shop.OnDemand} {
		if n := p.Count(kind); n > 0 {
			s.add("label_node", map[string]any{"node_type": kind, "node_count": float64(n), "labels": shop.CapacityLabels(kind)}, nil)
		}
	}
	if p.Mixed() {
		s.add("taint_node", map[string]any{"node_type": shop.OnDemand, "node_count": float64(p.Count(shop.OnDemand)), "taints": []any{map[string]any{
			"key": shop.ForOnDemand.GetKey(), "value": shop.ForOnDemand.GetValue(), "effect": shop.ForOnDemand.GetEffect(),
		}}}, nil)
	}
}

// empty the nodes that go, and end them. Pods that were moved stay where they are when
// a drain is taken back.
func (s *steps) empty(p Plan, w *scene.World) {
	if len(p.Gone) == 0 {
		return
	}
	var names, ids, types, zones []any
	kinds := map[string]bool{}
	for _, n := range p.Gone {
		m := w.Nodes[n].Metric
		names, ids = append(names, m.GetNodeName()), append(ids, m.GetInstanceId())
		types, zones = append(types, m.GetInstanceType()), append(zones, m.GetAvailabilityZone())
		kinds[m.GetNodeType()] = true
	}
	both := map[string]any{"node_names": names, "instance_ids": ids}
	uncordon := &mlv1.UndoStep{Action: "uncordon_node", Parameters: figure.Struct(map[string]any{"node_names": names})}
	s.add("cordon_node", map[string]any{"node_names": names}, uncordon)
	s.add("drain_node", both, uncordon)
	again := shop.OnDemand
	if kinds[shop.Spot] && !kinds[shop.OnDemand] {
		again = shop.Spot
	}
	s.add("terminate_instances", both, &mlv1.UndoStep{
		Action: launchAction(again), Parameters: figure.Struct(map[string]any{"instance_types": types, "availability_zones": zones}),
	})
}
