package feasible

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// After is the state when a decision that says where pods land has been carried out at a
// time and all went as it expects. The state given is not changed.
func After(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse, at time.Time) *fleetv1.ClusterState {
	c := newCheck(state, decision, nil)
	after := proto.CloneOf(state)
	away := func(node string) bool { _, leaves := c.gone[node]; return leaves }
	to := map[string]string{}
	for _, m := range decision.GetPodMoves() {
		to[m.GetUid()] = m.GetToNode()
	}
	after.Nodes = slices.DeleteFunc(after.Nodes, func(n *fleetv1.NodeMetric) bool { return away(n.GetNodeName()) })
	after.Pods = slices.DeleteFunc(after.Pods, func(p *fleetv1.Pod) bool { return away(p.GetNodeName()) && staysBehind(p) })
	for _, n := range decision.GetNewNodes() {
		n := proto.CloneOf(n)
		n.InstanceId, n.CreatedAt = "i-"+n.GetNodeName(), timestamppb.New(at)
		after.Nodes = append(after.Nodes, n)
	}
	after.Pods = append(after.Pods, c.daemons()...)
	count := map[string]int32{}
	for _, p := range after.Pods {
		if node, moves := to[p.GetUid()]; moves {
			p.NodeName = node
		}
		if !finished(p) {
			count[p.GetNodeName()]++
		}
	}
	for _, n := range after.Nodes {
		n.PodCount = count[n.GetNodeName()]
	}
	return after
}
