package feasible

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

func testNode(name, zone string) *fleetv1.NodeMetric {
	return &fleetv1.NodeMetric{
		NodeName: name, InstanceId: "i-" + name, InstanceType: "m5.xlarge", AvailabilityZone: zone, NodeType: "on-demand", Ready: true, MaxPods: 10,
		Allocatable: &fleetv1.Resources{CpuMillicores: 4000, MemoryBytes: 8 << 30},
		Labels:      map[string]string{"kubernetes.io/hostname": name, zoneLabel: zone},
	}
}

func testPod(name, node string, cpu int64) *fleetv1.Pod {
	return &fleetv1.Pod{
		Uid: "uid-" + name, Namespace: "shop", Name: name, NodeName: node, Phase: "Running", Owner: &fleetv1.Owner{Kind: "ReplicaSet", Name: "r"},
		Labels: map[string]string{"app": name}, Requests: &fleetv1.Resources{CpuMillicores: cpu, MemoryBytes: 1 << 30},
	}
}

func selector(app string) *fleetv1.LabelSelector {
	return &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

// plan that drains node a: x goes to b and y to a new node.
func plan() (*fleetv1.ClusterState, *mlv1.DecisionResponse) {
	state := &fleetv1.ClusterState{
		Nodes: []*fleetv1.NodeMetric{testNode("a", "z1"), testNode("b", "z1"), testNode("c", "z2")},
		Pods:  []*fleetv1.Pod{testPod("x", "a", 1000), testPod("y", "a", 1500), testPod("z", "b", 1000)},
	}
	list := func(values ...string) *structpb.Value {
		l := &structpb.ListValue{}
		for _, v := range values {
			l.Values = append(l.Values, structpb.NewStringValue(v))
		}
		return structpb.NewListValue(l)
	}
	fresh := testNode("new-0", "z1")
	fresh.InstanceId = ""
	decision := &mlv1.DecisionResponse{
		ExecutionPlan: []*mlv1.ExecutionStep{{Action: "drain_node", Parameters: &structpb.Struct{
			Fields: map[string]*structpb.Value{"node_names": list("a"), "instance_ids": list("i-a")},
		}}},
		Recommendations: []*mlv1.Recommendation{{InstanceType: "m5.xlarge", NodeCount: 1, AvailabilityZone: "z1", NodeType: "on-demand"}},
		NewNodes:        []*fleetv1.NodeMetric{fresh},
		PodMoves:        []*mlv1.PodMove{{Uid: "uid-x", ToNode: "b"}, {Uid: "uid-y", ToNode: "new-0"}},
	}
	return state, decision
}

func TestAPlanThatBreaksNothingPasses(t *testing.T) {
	if found := Check(plan()); len(found) > 0 {
		t.Error(found)
	}
}

func TestEachRuleIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fleetv1.ClusterState, *mlv1.DecisionResponse)
		rule   string
	}{
		"the node has gone":            {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Nodes = s.Nodes[1:] }, RuleUnknownNode},
		"its name is another's by now": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Nodes[0].InstanceId = "i-other" }, RuleIdentity},
		"its kubelet is silent":        {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Nodes[0].Ready = false }, RuleNotReady},
		"an annotation came":           {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Nodes[0].DoNotDisrupt = true }, RuleDoNotDisrupt},
		"an annotation came on a pod":  {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Pods[0].DoNotDisrupt = "x" }, RulePodStays},
		"a bare pod came": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			bare := testPod("bare", "a", 10)
			bare.Owner = nil
			s.Pods = append(s.Pods, bare)
		}, RuleUnmanaged},
		"a budget came that wants all": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.PodDisruptionBudgets = []*fleetv1.PodDisruptionBudget{{Namespace: "shop", Name: "b", Selector: selector("x"), ExpectedPods: 1, DesiredHealthy: 1}}
		}, RuleBudget},
		"two budgets guard a pod": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			b := &fleetv1.PodDisruptionBudget{Namespace: "shop", Selector: selector("x"), ExpectedPods: 3, DesiredHealthy: 1, DisruptionsAllowed: 2}
			s.PodDisruptionBudgets = []*fleetv1.PodDisruptionBudget{b, proto.CloneOf(b)}
		}, RuleBudget},
		"the pods are not listed": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Nodes[0].PodCount, s.Pods = 2, s.Pods[2:]
		}, RuleUnseen},
		"namespaces by label": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[0].PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: selector("q"), TopologyKey: zoneLabel, NamespaceSelector: true}}
		}, RuleNamespaces},
		"less is bought":           {func(_ *fleetv1.ClusterState, d *mlv1.DecisionResponse) { d.Recommendations = nil }, RuleNewNodes},
		"the target has filled up": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Pods[2].Requests.CpuMillicores = 3500 }, RuleResources},
		"the target is cordoned":   {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Nodes[1].Unschedulable = true }, RuleTaint},
		"the target is gone":       {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Nodes = slices.Delete(s.Nodes, 1, 2) }, RuleUnknownNode},
		"a selector excludes it": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[0].NodeSelector = map[string]string{"disk": "ssd"}
		}, RuleSelector},
		"a port is taken": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[0].HostPorts, s.Pods[2].HostPorts = []int32{80}, []int32{80}
		}, RulePort},
		"a volume is elsewhere": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) { s.Pods[0].VolumeZones = []string{"z2"} }, RuleVolume},
		"a spread would break": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[2].Labels = s.Pods[0].Labels
			s.Pods[0].TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 1, TopologyKey: zoneLabel, WhenUnsatisfiable: hardSpread, Selector: selector("x")}}
		}, RuleSpread},
		"its friend is elsewhere": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[2].NodeName = "c"
			s.Pods[0].PodAffinity = []*fleetv1.PodAffinityTerm{{Selector: selector("z"), TopologyKey: zoneLabel}}
		}, RuleAffinity},
		"its foe is there": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[0].PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: selector("z"), TopologyKey: zoneLabel}}
		}, RuleApart},
		"it is a foe of one there": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods[2].PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: selector("x"), TopologyKey: zoneLabel}}
		}, RuleShunned},
		"a pod came that fits nowhere": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			s.Pods = append(s.Pods, testPod("huge", "a", 3900), testPod("huger", "a", 3900))
		}, RuleNoPlace},
		"a DaemonSet leaves too little of the new node": {func(s *fleetv1.ClusterState, _ *mlv1.DecisionResponse) {
			d := testPod("d", "c", 3000)
			d.Owner.Kind = "DaemonSet"
			s.Pods = append(s.Pods, d)
		}, RuleResources},
	} {
		t.Run(name, func(t *testing.T) {
			state, decision := plan()
			c.change(state, decision)
			found := Check(state, decision)
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }) {
				t.Errorf("found %v, want %s", found, c.rule)
			}
		})
	}
}

func TestPodsThatARolloutRenamedLandWhereThereIsRoom(t *testing.T) {
	state, decision := plan()
	state.Pods[0].Uid, state.Pods[0].Name = "uid-x2", "x2"
	if found := Check(state, decision); len(found) > 0 {
		t.Error(found)
	}
}

// TestWhereTheSchedulerIsExpectedToPutPodsBindsNobody: what it was foretold to do, spot_optimize's plans do not rest on.
func TestWhereTheSchedulerIsExpectedToPutPodsBindsNobody(t *testing.T) {
	state, decision := plan()
	for _, m := range decision.PodMoves {
		m.ToNode, m.Expected = "elsewhere", true
	}
	if found := Check(state, decision); len(found) == 0 {
		t.Error("bin_pack's moves to nowhere pass")
	}
	decision.DecisionType = "spot_optimize"
	for name, found := range map[string][]Violation{"before": Check(state, decision), "joined": CheckJoined(state, decision, nil)} {
		if len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
	// Where nothing is bought, pods must still fit somewhere.
	decision.NewNodes, decision.Recommendations = nil, nil
	if found := Check(state, decision); len(found) > 0 {
		t.Error(found)
	}
	state.Pods[1].Requests.CpuMillicores = 3900
	state.Nodes = state.Nodes[:2]
	if found := Check(state, decision); len(found) != 1 || found[0].Rule != RuleNoPlace {
		t.Errorf("a pod without a place: %v", found)
	}
}

func TestNodesThatHaveJoinedStandInForThePlannedOnes(t *testing.T) {
	state, decision := plan()
	joined := testNode("ip-10-0-0-7", "z1")
	state.Nodes = append(state.Nodes, joined)
	names := map[string]string{"new-0": "ip-10-0-0-7"}
	if found := CheckJoined(state, decision, names); len(found) > 0 {
		t.Error(found)
	}
	joined.Ready = false // y lands on c instead
	if found := CheckJoined(state, decision, names); len(found) > 0 {
		t.Error(found)
	}
	state.Nodes[2].Unschedulable = true
	state.Pods = append(state.Pods, testPod("since", "b", 1000))
	if found := CheckJoined(state, decision, names); len(found) != 1 || found[0].Rule != RuleTaint {
		t.Errorf("found %v, want that the node that joined is not ready", found)
	}
}

func TestLimitsOfTheRequestAreChecked(t *testing.T) {
	one, share, no := int32(1), 0.28, false
	for name, c := range map[string]*mlv1.BinPackConstraints{
		"evictions": {MaxEvictions: &one}, "evictions for each pod": {MaxEvictionsPerPod: &share}, "nodes": {MaxNodesDisrupted: "0"},
		"a share of nodes": {MaxNodesDisrupted: "30%"}, "purchases": {AllowPurchases: &no}, "a namespace": {ProtectedNamespaces: []string{"sh*"}},
	} {
		state, decision := plan()
		if found := CheckLimits(state, decision, c); len(found) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
	state, decision := plan()
	if found := CheckLimits(state, decision, &mlv1.BinPackConstraints{MaxNodesDisrupted: "1", MaxNodes: 1}); len(found) > 0 {
		t.Error(found)
	}
}

// BenchmarkCheck is 2,000 nodes and 20,000 pods, a third of which move.
func BenchmarkCheck(b *testing.B) {
	state, decision := plan()
	state.Nodes, state.Pods, decision.PodMoves, decision.NewNodes, decision.Recommendations = nil, nil, nil, nil, nil
	step := decision.ExecutionPlan[0].Parameters.Fields
	names, ids := &structpb.ListValue{}, &structpb.ListValue{}
	for i := range 2000 {
		n := testNode(fmt.Sprint("n", i), fmt.Sprint("z", i%3))
		n.MaxPods = 40
		state.Nodes = append(state.Nodes, n)
		for j := range 10 {
			p := testPod(fmt.Sprintf("p%d-%d", i, j), n.NodeName, 100)
			p.Requests.MemoryBytes = 1 << 20
			p.Labels = map[string]string{"app": fmt.Sprint("app", j*10+i%10)}
			if j < 3 {
				p.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 4000, TopologyKey: zoneLabel, WhenUnsatisfiable: hardSpread, Selector: selector(p.Labels["app"])}}
			}
			state.Pods = append(state.Pods, p)
			if i%3 == 0 {
				decision.PodMoves = append(decision.PodMoves, &mlv1.PodMove{Uid: p.Uid, ToNode: fmt.Sprint("n", i+1)})
			}
		}
		if i%3 == 0 && i < 1999 {
			names.Values, ids.Values = append(names.Values, structpb.NewStringValue(n.NodeName)), append(ids.Values, structpb.NewStringValue(n.InstanceId))
		}
	}
	step["node_names"], step["instance_ids"] = structpb.NewListValue(names), structpb.NewListValue(ids)
	for b.Loop() {
		if found := Check(state, decision); len(found) > 0 {
			b.Fatal(found[0])
		}
	}
}
