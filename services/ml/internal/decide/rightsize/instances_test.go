package rightsize

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// cluster of equal nodes with a pod of the workload web on each.
func cluster(t *testing.T, instanceType string, nodes int, requests *fleetv1.Resources) *fleetv1.ClusterState {
	t.Helper()
	kind, ok := testMarket(t).Type(instanceType)
	if !ok {
		t.Fatalf("no type %s", instanceType)
	}
	left := kind.Allocatable()
	state := &fleetv1.ClusterState{Region: "us-east-1", LastUpdated: timestamppb.New(testNow)}
	for i := range nodes {
		name := fmt.Sprintf("node-%02d", i)
		state.Nodes = append(state.Nodes, &fleetv1.NodeMetric{
			NodeName: name, InstanceType: instanceType, InstanceId: "i-" + name, AvailabilityZone: "us-east-1a", NodeType: "on-demand", Ready: true,
			Architecture: "amd64", CpuAllocatable: float64(left.CPUMillicores) / 1000, MemoryAllocatableGb: float64(left.MemoryBytes) / gib, MaxPods: int32(left.Pods),
			Allocatable: &fleetv1.Resources{CpuMillicores: left.CPUMillicores, MemoryBytes: left.MemoryBytes, EphemeralStorageBytes: 50 * gib},
			Labels:      map[string]string{"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "topology.kubernetes.io/zone": "us-east-1a", "kubernetes.io/os": "linux"},
		})
		state.Pods = append(state.Pods, &fleetv1.Pod{
			Uid: name, Namespace: "shop", Name: "web-5d9f-" + name, NodeName: name, Phase: "Running", Ready: true,
			Owner: &fleetv1.Owner{Kind: "ReplicaSet", Name: "web-5d9f"}, Labels: map[string]string{"app": "web", "pod-template-hash": "5d9f"},
			Requests: requests,
			// One to a node, so that the plan cannot be to pack them.
			PodAntiAffinity: []*fleetv1.PodAffinityTerm{{Selector: &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, TopologyKey: "kubernetes.io/hostname"}},
		})
	}
	return state
}

func size(t *testing.T, state *fleetv1.ClusterState, constraints map[string]any, all ...*mlv1.ContainerUsage) *mlv1.DecisionResponse {
	t.Helper()
	c, err := structpb.NewStruct(constraints)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Decide(&mlv1.DecisionRequest{RequestId: "r", CurrentState: state, Constraints: c, Usage: all}, testMarket(t), testNow)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNodesGetTheCheapestTypeThatHoldsTheirPods(t *testing.T) {
	state := cluster(t, "m5.4xlarge", 4, &fleetv1.Resources{CpuMillicores: 2000, MemoryBytes: 4 * gib})
	u := recorded(14, flat(1000, 2000))
	u.Replicas = 4
	a := size(t, state, nil, u)
	if len(a.Recommendations) != 1 || a.Recommendations[0].NodeCount != 4 || a.EstimatedSavings <= 0 || a.NodeGroups[0].Reason != "replaced" {
		t.Fatalf("recommended %v, groups %v", a.Recommendations, a.NodeGroups)
	}
	kind, _ := testMarket(t).Type(a.Recommendations[0].InstanceType)
	left := kind.Allocatable()
	if left.CPUMillicores < 2300 || left.MemoryBytes < 4*gib*23/20 {
		t.Errorf("%s has %d millicores and %d MiB: no headroom", kind.Name, left.CPUMillicores, left.MemoryBytes/mib)
	}
	for _, offer := range testMarket(t).Offers("us-east-1", []string{"us-east-1a"}) {
		other := offer.Type.Allocatable()
		suits := offer.Type.Current && !offer.Type.Burstable && !offer.Type.BareMetal && offer.Type.GPUs == 0 && offer.Type.Architecture == "amd64" &&
			(offer.Type.Category == "General purpose" || offer.Type.Category == "Compute optimized" || offer.Type.Category == "Memory optimized")
		if suits && offer.OnDemand > 0 && offer.OnDemand < a.Recommendations[0].HourlyPrice && other.CPUMillicores >= 2300 && other.MemoryBytes >= 4*gib*23/20 {
			t.Errorf("%s for %g holds the pods too and is cheaper", offer.Type.Name, offer.OnDemand)
		}
	}
	risk := a.NodeGroups[0].PerformanceRisk
	if risk.GetShare() != 0 || risk.GetHours() != 14*24 || risk.GetHigh() > 0.02 {
		t.Errorf("performance risk %v", risk)
	}
	actions := map[string]int{}
	for i, step := range a.ExecutionPlan {
		actions[step.Action]++
		if int(step.Step) != i+1 {
			t.Errorf("step %d is numbered %d", i+1, step.Step)
		}
	}
	for _, action := range []string{"launch_on_demand_instances", "wait_nodes_ready", "label_node", "cordon_node", "drain_node", "terminate_instances", "verify"} {
		if actions[action] != 1 {
			t.Errorf("%s comes %d times in %v", action, actions[action], actions)
		}
	}
}

func TestUseAboveRequestsIsRoomThatANodeNeeds(t *testing.T) {
	state := cluster(t, "m5.4xlarge", 3, &fleetv1.Resources{CpuMillicores: 100, MemoryBytes: gib})
	u := recorded(14, flat(12000, 2000))
	a := size(t, state, nil, u)
	if len(a.Recommendations) > 0 {
		if kind, _ := testMarket(t).Type(a.Recommendations[0].InstanceType); kind.VCPU < 16 {
			t.Errorf("pods that use 12 vCPU go to %s", kind.Name)
		}
	}
	idle := size(t, state, nil, recorded(14, flat(50, 500)))
	if len(idle.Recommendations) == 0 || idle.EstimatedSavings <= a.EstimatedSavings {
		t.Errorf("idle pods on large nodes: %v", idle.NodeGroups)
	}
}

func TestNodesThatStaySayWhy(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(*fleetv1.ClusterState)
		constraints map[string]any
		reason      string
	}{
		"already small":        {func(*fleetv1.ClusterState) {}, map[string]any{"min_savings_ratio": 1}, "no_saving"},
		"do not disrupt":       {func(s *fleetv1.ClusterState) { s.Nodes[0].DoNotDisrupt = true }, nil, "do_not_disrupt"},
		"a pod that must stay": {func(s *fleetv1.ClusterState) { s.Pods[0].DoNotDisrupt = "karpenter.sh/do-not-disrupt" }, nil, "pod_do_not_disrupt"},
		"no type fits":         {func(*fleetv1.ClusterState) {}, map[string]any{"instance_types": []any{"t3.nano"}}, "no_saving"},
	} {
		state := cluster(t, "m5.4xlarge", 1, &fleetv1.Resources{CpuMillicores: 2000, MemoryBytes: 4 * gib})
		c.change(state)
		a := size(t, state, c.constraints, recorded(14, flat(1000, 2000)))
		if v := a.NodeVerdicts[0]; v.Verdict != "keep" || v.Reason != c.reason || len(a.Recommendations) > 0 {
			t.Errorf("%s: %v, want %s", name, v, c.reason)
		}
	}
}

func TestOrderOfTheStateMakesNoDifference(t *testing.T) {
	state := cluster(t, "m5.4xlarge", 5, &fleetv1.Resources{CpuMillicores: 2000, MemoryBytes: 4 * gib})
	u, v := recorded(14, flat(1000, 2000)), recorded(14, flat(200, 300))
	v.Name = "api"
	first := size(t, state, nil, u, v)
	state.Nodes[0], state.Nodes[4], state.Pods[1], state.Pods[3] = state.Nodes[4], state.Nodes[0], state.Pods[3], state.Pods[1]
	if again := size(t, state, nil, v, u); !proto.Equal(first, again) {
		t.Error("another order, another answer")
	}
}
