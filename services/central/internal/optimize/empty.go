package optimize

import (
	"context"
	"fmt"
	"slices"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/pods"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// onlyEmpty looks once more before drained nodes are ended, for since its drain
// somebody may have uncordoned a node and pods may have come. Such a node is kept.
func (r *run) onlyEmpty(ctx context.Context, nodes []store.Replaced) (*outcome, error) {
	if !slices.ContainsFunc(nodes, func(n store.Replaced) bool { return n.Status == "drained" }) {
		return nil, nil
	}
	state, err := r.Store.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return nil, err
	}
	policy, err := guard.PolicyOf(ctx, r.Store, r.story.Cluster)
	if err != nil {
		return nil, err
	}
	if err := fresh(state, policy.StaleAfter()); err != nil {
		wait := waiting(time.Second, "%s", fault.From(err).Message)
		return &wait, nil
	}
	for i, node := range nodes {
		why := occupied(node, state)
		switch {
		case node.Status != "drained" || why == "":
		case r.age() < pods.SettleWithin:
			wait := waiting(300*time.Millisecond, "node %s is not terminated yet: %s", node.Node, why)
			return &wait, nil
		default:
			if err := r.keep(ctx, node, why); err != nil {
				return nil, err
			}
			nodes[i].Status = "kept"
		}
	}
	return nil, nil
}

// occupied says why a drained node must not be ended, or "".
func occupied(node store.Replaced, state *fleetv1.ClusterState) string {
	for _, pod := range state.GetPods() {
		if pod.GetNodeName() == node.Node && pods.Movable(pod) {
			return fmt.Sprintf("pod %s/%s came after the drain", pod.GetNamespace(), pod.GetName())
		}
	}
	for _, known := range state.GetNodes() {
		if known.GetInstanceId() == node.InstanceID && !known.GetUnschedulable() {
			return "somebody uncordoned it after the drain"
		}
	}
	return ""
}
