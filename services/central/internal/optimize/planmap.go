package optimize

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"
)

// Fates of a node, as PlanMapNode has them.
const (
	fateStays = "stays"
	fateGoes  = "goes"
	fateNew   = "new"
)

const (
	// podsDrawn bounds how many pods a map names one by one.
	podsDrawn = 2500
	gib       = 1 << 30
)

// Map is what a plan was to change, drawn from the state that it was made from: that is kept, so the map
// of a plan that is over is the same. Not found before there is a plan.
func (s *Service) Map(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*adminv1.PlanMap, error) {
	if _, err := s.Store.Optimization(ctx, id, customer); err != nil { // somebody else's is not found either
		return nil, err
	}
	decision, err := s.Store.Decision(ctx, id)
	if err != nil {
		return nil, err
	}
	state, err := s.Store.DecidedState(ctx, id)
	if err != nil {
		return nil, err
	}
	return mapOf(state, decision), nil
}

// mapOf a decision and the state that it was made from.
func mapOf(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse) *adminv1.PlanMap {
	after := feasible.After(state, decision, decision.GetTimestamp().AsTime())
	moves, fates := map[string]bool{}, map[string]string{}
	out := &adminv1.PlanMap{AsOf: state.GetLastUpdated(), Placed: len(decision.GetRecommendations()) == 0}
	for _, node := range state.GetNodes() {
		fates[node.GetNodeName()] = fateGoes
	}
	for _, node := range after.GetNodes() {
		fates[node.GetNodeName()] = fateStays
	}
	for _, node := range decision.GetNewNodes() {
		fates[node.GetNodeName()], out.Placed = fateNew, true
	}
	for _, move := range decision.GetPodMoves() {
		moves[move.GetUid()], out.Placed, out.Expected = true, true, out.Expected || move.GetExpected()
	}
	out.Before, out.After = drawn(state, fates, moves), drawn(after, fates, moves)
	if !out.Placed {
		out.After = append(out.After, bought(decision)...)
	}
	return out
}

// drawn are the nodes of a state with their pods: by name, new ones last.
func drawn(state *fleetv1.ClusterState, fates map[string]string, moves map[string]bool) []*adminv1.PlanMapNode {
	on := map[string][]*fleetv1.Pod{}
	for _, pod := range state.GetPods() {
		if pod.GetNodeName() != "" && pod.GetPhase() != "Succeeded" && pod.GetPhase() != "Failed" {
			on[pod.GetNodeName()] = append(on[pod.GetNodeName()], pod)
		}
	}
	all := make([]*adminv1.PlanMapNode, 0, len(state.GetNodes()))
	for _, node := range state.GetNodes() {
		pods := on[node.GetNodeName()]
		one := &adminv1.PlanMapNode{
			NodeName: node.GetNodeName(), InstanceType: node.GetInstanceType(), AvailabilityZone: node.GetAvailabilityZone(),
			NodeType: node.GetNodeType(), CpuAllocatable: node.GetCpuAllocatable(), HourlyPrice: node.GetHourlyPrice(),
			Fate: fates[node.GetNodeName()], RequestedRatio: requested(node, pods), PodCount: int32(len(pods)),
		}
		if len(state.GetPods()) <= podsDrawn {
			one.Pods = podsOf(pods, moves)
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *adminv1.PlanMapNode) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.GetNodeName(), b.GetNodeName()))
	})
	return all
}

func rank(n *adminv1.PlanMapNode) int {
	if n.GetFate() == fateNew {
		return 1
	}
	return 0
}

// requested share of a node, by its pods; where none are listed, as it reports itself.
func requested(node *fleetv1.NodeMetric, pods []*fleetv1.Pod) *float64 {
	cpu, memory := node.GetCpuAllocated(), node.GetMemoryAllocatedGb()
	if len(pods) > 0 {
		cpu, memory = 0, 0
	}
	for _, pod := range pods {
		cpu += float64(pod.GetRequests().GetCpuMillicores()) / 1000
		memory += float64(pod.GetRequests().GetMemoryBytes()) / gib
	}
	ratio := 0.0
	if node.GetCpuAllocatable() > 0 {
		ratio = cpu / node.GetCpuAllocatable()
	}
	if node.GetMemoryAllocatableGb() > 0 {
		ratio = max(ratio, memory/node.GetMemoryAllocatableGb())
	}
	return &ratio
}

func podsOf(pods []*fleetv1.Pod, moves map[string]bool) []*adminv1.PlanMapPod {
	all := make([]*adminv1.PlanMapPod, 0, len(pods))
	for _, pod := range pods {
		all = append(all, &adminv1.PlanMapPod{
			Namespace: pod.GetNamespace(), Name: pod.GetName(), Cpu: float64(pod.GetRequests().GetCpuMillicores()) / 1000,
			Daemon: pod.GetOwner().GetKind() == "DaemonSet", Moves: moves[pod.GetUid()],
		})
	}
	slices.SortFunc(all, func(a, b *adminv1.PlanMapPod) int {
		return cmp.Or(cmp.Compare(b.GetCpu(), a.GetCpu()), cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return all
}

// bought are the nodes of a plan that does not say how they look.
func bought(decision *mlv1.DecisionResponse) []*adminv1.PlanMapNode {
	var all []*adminv1.PlanMapNode
	for _, rec := range decision.GetRecommendations() {
		for range rec.GetNodeCount() {
			all = append(all, &adminv1.PlanMapNode{
				NodeName: fmt.Sprintf("new-%05d", len(all)), InstanceType: rec.GetInstanceType(), AvailabilityZone: rec.GetAvailabilityZone(),
				NodeType: rec.GetNodeType(), HourlyPrice: rec.GetHourlyPrice(), Fate: fateNew,
			})
		}
	}
	return all
}
