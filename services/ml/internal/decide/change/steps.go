package spotoptimize

import (
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// steps that carry a plan out: the new nodes are Ready and marked before any old
// one is touched; all old ones are cordoned before the first is drained, so that
// no pod is moved twice.
func (w *world) steps(p plan, l limits) []*mlv1.ExecutionStep {
	var all []*mlv1.ExecutionStep
	add := func(action string, parameters map[string]any) {
		all = append(all, &mlv1.ExecutionStep{Step: int32(len(all) + 1), Action: action, Parameters: fields(parameters)})
	}
	for _, r := range recommendations(p, 0) {
		action, maxPrice := "launch_on_demand_instances", r.GetOnDemandHourlyPrice()
		if r.GetNodeType() == spotNode {
			action, maxPrice = "launch_spot_instances", r.GetOnDemandHourlyPrice()*l.priceRatio
		}
		add(action, map[string]any{
			"instance_type": r.GetInstanceType(), "availability_zone": r.GetAvailabilityZone(),
			"node_count": float64(r.GetNodeCount()), "max_price": maxPrice, "architecture": r.GetArchitecture(),
		})
	}
	if len(p.buy) > 0 {
		add("wait_nodes_ready", map[string]any{"node_count": float64(len(p.buy))})
		for _, kind := range []string{spotNode, onDemandNode} {
			if n := p.count(kind); n > 0 {
				add("label_node", map[string]any{"node_type": kind, "node_count": float64(n), "labels": capacityLabels(kind)})
			}
		}
		if p.mixed() {
			add("taint_node", map[string]any{"node_type": onDemandNode, "node_count": float64(p.count(onDemandNode)), "taints": []any{map[string]any{
				"key": forOnDemand.GetKey(), "value": forOnDemand.GetValue(), "effect": forOnDemand.GetEffect(),
			}}})
		}
	}
	if len(p.gone) > 0 {
		var names, ids []any
		for _, n := range p.gone {
			names = append(names, w.nodes[n].metric.GetNodeName())
			ids = append(ids, w.nodes[n].metric.GetInstanceId())
		}
		both := map[string]any{"node_names": names, "instance_ids": ids}
		add("cordon_node", map[string]any{"node_names": names})
		add("drain_node", both)
		add("terminate_instances", both)
	}
	if len(all) > 0 {
		add("verify", map[string]any{"node_count": float64(len(w.nodes) - len(p.gone) + len(p.buy))})
	}
	return all
}

// mixed plans buy both spot and on-demand nodes.
func (p plan) mixed() bool { return p.count(spotNode) > 0 && p.count(onDemandNode) > 0 }

// count of new nodes bought so.
func (p plan) count(nodeType string) int {
	n := 0
	for _, c := range p.buy {
		if c.nodeType() == nodeType {
			n++
		}
	}
	return n
}
