package optimize

import (
	"context"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// stillFeasible has the plan checked against the cluster as it is now, by rules that
// share no code with the engine that made it. A node that may not go any more is kept,
// before it or its pods were touched.
func (r *run) stillFeasible(ctx context.Context, state *fleetv1.ClusterState, nodes []store.Replaced, ready []store.LaunchedNode) error {
	decision, err := r.Store.Decision(ctx, r.story.ID)
	if err != nil {
		return err
	}
	types, err := r.nodeTypes(ctx)
	if err != nil {
		return err
	}
	stays := blamed(feasible.CheckJoined(state, decision, joined(decision, state, ready, types)), state)
	// All or none: the plan is not checked again once a node is no longer pending.
	err = r.Store.InTx(ctx, func(tx *store.Store) error {
		for _, node := range nodes {
			why := stays[node.Node]
			if why == "" {
				continue
			}
			r.Log.WarnContext(ctx, "a node is kept", "optimization_id", r.story.ID, "node", node.Node, "reason", why)
			if err := tx.SetReplaced(ctx, r.story.ID, "kept", why, node.Node); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, node := range nodes {
		if stays[node.Node] != "" {
			nodes[i].Status = "kept"
		}
	}
	return nil
}

// blamed is the first reason for each node to be drained why it must stay: its own,
// or that of a pod on it.
func blamed(found []feasible.Violation, state *fleetv1.ClusterState) map[string]string {
	on := map[string]string{}
	for _, pod := range state.GetPods() {
		on[pod.GetNamespace()+"/"+pod.GetName()] = pod.GetNodeName()
	}
	stays := map[string]string{}
	for _, v := range found {
		node := v.Node
		if v.Pod != "" {
			node = on[v.Pod]
		}
		if stays[node] == "" {
			stays[node] = v.String()
		}
	}
	return stays
}

// joined tells which node each new node of the decision became: any of its type and
// zone will do, and one that was bought on demand for want of spot capacity too.
func joined(decision *mlv1.DecisionResponse, state *fleetv1.ClusterState, ready []store.LaunchedNode, types map[string]string) map[string]string {
	metrics := map[string]*fleetv1.NodeMetric{}
	for _, node := range state.GetNodes() {
		metrics[node.GetNodeName()] = node
	}
	names := map[string]string{}
	taken := map[string]bool{}
	match := func(sameType bool) {
		for _, planned := range decision.GetNewNodes() {
			for _, node := range ready {
				metric := metrics[node.Name]
				fits := metric.GetInstanceType() == planned.GetInstanceType() && metric.GetAvailabilityZone() == planned.GetAvailabilityZone()
				if names[planned.GetNodeName()] == "" && !taken[node.Name] && fits && (!sameType || types[node.InstanceID] == planned.GetNodeType()) {
					names[planned.GetNodeName()], taken[node.Name] = node.Name, true
				}
			}
		}
	}
	match(true)
	match(false)
	return names
}
