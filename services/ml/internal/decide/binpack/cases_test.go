package binpack

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const gib = 1 << 30

// byHand is a cluster made of nodes and the pods on each.
type byHand struct {
	t     *testing.T
	state *fleetv1.ClusterState
}

func cluster(t *testing.T) *byHand {
	t.Helper()
	return &byHand{t, &fleetv1.ClusterState{Region: "us-east-1"}}
}

// node of a type in zone a, with pods of so many millicores and MiB each.
func (c *byHand) node(typeName string, pods ...[2]int64) *byHand {
	c.t.Helper()
	kind, ok := testMarket(c.t).Type(typeName)
	if !ok {
		c.t.Fatalf("no type %s", typeName)
	}
	left, name := kind.Allocatable(), fmt.Sprintf("node-%02d", len(c.state.Nodes))
	n := &fleetv1.NodeMetric{
		NodeName: name, InstanceType: typeName, InstanceId: "i-" + name, AvailabilityZone: "us-east-1a", NodeType: "on-demand", Ready: true,
		MaxPods: int32(left.Pods), Architecture: "amd64", PodCount: int32(len(pods)),
		Allocatable: &fleetv1.Resources{CpuMillicores: left.CPUMillicores, MemoryBytes: left.MemoryBytes, EphemeralStorageBytes: 17 * gib},
		Labels: map[string]string{
			"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "us-east-1a", "kubernetes.io/arch": "amd64",
			"node.kubernetes.io/instance-type": typeName,
		},
	}
	c.state.Nodes = append(c.state.Nodes, n)
	for i, size := range pods {
		app := fmt.Sprintf("app-%s-%d", name, i)
		c.state.Pods = append(c.state.Pods, &fleetv1.Pod{
			Uid: app, Namespace: "shop", Name: app, NodeName: name, Phase: "Running", Ready: true,
			Owner: &fleetv1.Owner{Kind: "ReplicaSet", Name: app}, Labels: map[string]string{"app": app},
			Requests: &fleetv1.Resources{CpuMillicores: size[0], MemoryBytes: size[1] << 20},
		})
	}
	return c
}

func bought(a *mlv1.DecisionResponse) string {
	var all []string
	for _, r := range a.GetRecommendations() {
		all = append(all, fmt.Sprintf("%d %s", r.GetNodeCount(), r.GetInstanceType()))
	}
	return strings.Join(all, ", ")
}

func gone(a *mlv1.DecisionResponse) []string {
	var all []string
	for _, v := range a.GetNodeVerdicts() {
		if v.GetVerdict() == "replace" {
			all = append(all, v.GetNodeName())
		}
	}
	return all
}

func verdictOf(t *testing.T, a *mlv1.DecisionResponse, node string) *mlv1.NodeVerdict {
	t.Helper()
	for _, v := range a.GetNodeVerdicts() {
		if v.GetNodeName() == node {
			return v
		}
	}
	t.Fatalf("no verdict on %s", node)
	return nil
}

// Karpenter misses this one (kubernetes-sigs/karpenter#1962 and #2150): neither node can
// go alone, and no prefix of its order has just these two.
func TestTwoNodesShortOfMemoryBecomeOneOfAnotherKind(t *testing.T) {
	state := cluster(t).node("c5a.xlarge", [2]int64{1700, 5000}).node("c5a.xlarge", [2]int64{1900, 5000}).
		node("m6a.xlarge", [2]int64{3700, 12500}).node("m6a.xlarge", [2]int64{3700, 12500}).state
	types := []any{"m6a.xlarge", "c5a.xlarge"}
	a := decide(t, state, map[string]any{"placement": "planned", "instance_types": types, "min_score": 0.0})
	if got := bought(a); got != "1 m6a.xlarge" || strings.Join(gone(a), " ") != "node-00 node-01" {
		t.Errorf("buys %s for %v, want one m6a.xlarge for the two c5a.xlarge", got, gone(a))
	}
}

func TestAProcessorHeavyNodeGoesWithAMemoryHeavyOne(t *testing.T) {
	c := cluster(t)
	for range 3 {
		c.node("m5.2xlarge", [2]int64{5000, 2000}).node("m5.2xlarge", [2]int64{1500, 22000})
	}
	a := decide(t, c.state, map[string]any{"placement": "planned", "allow_purchases": false, "min_score": 0.0})
	if len(gone(a)) != 3 || len(a.GetRecommendations()) != 0 {
		t.Errorf("takes away %v and buys %s, want three nodes and nothing", gone(a), bought(a))
	}
}

func TestSeveralNodesBecomeSeveralOfOtherShapes(t *testing.T) {
	c := cluster(t)
	for range 6 {
		c.node("m5.2xlarge", [2]int64{3000, 3000}, [2]int64{3000, 3000})
	}
	a := decide(t, c.state, map[string]any{"placement": "planned", "instance_types": []any{"c6a.4xlarge", "c6a.2xlarge"}, "max_node_share": 1.0, "min_score": 0.0})
	if len(gone(a)) != 6 || !strings.Contains(bought(a), "c6a") || a.GetConsolidation().GetCostAfter() > 0.85*a.GetConsolidation().GetCostBefore() {
		t.Errorf("takes away %v, buys %s for %v of %v", gone(a), bought(a), a.GetConsolidation().GetCostAfter(), a.GetConsolidation().GetCostBefore())
	}
}

// halfEmpty is three m5.xlarge that would fit on two.
func halfEmpty(t *testing.T) *fleetv1.ClusterState {
	t.Helper()
	c := cluster(t)
	for range 3 {
		c.node("m5.xlarge", [2]int64{900, 3000}, [2]int64{900, 3000})
	}
	return c.state
}

func TestOneOfThreeHalfEmptyNodesGoes(t *testing.T) {
	a := decide(t, halfEmpty(t), map[string]any{"allow_purchases": false})
	if len(gone(a)) != 1 || len(a.GetPodMoves()) != 2 {
		t.Fatalf("takes away %v with %d moves, want one with two", gone(a), len(a.GetPodMoves()))
	}
	var actions []string
	for i, step := range a.GetExecutionPlan() {
		if int(step.GetStep()) != i+1 {
			t.Errorf("step %d has number %d", i+1, step.GetStep())
		}
		actions = append(actions, step.GetAction())
		undo := map[string]string{"cordon_node": "uncordon_node", "drain_node": "uncordon_node", "terminate_instances": "launch_on_demand_instances"}
		if step.GetUndo().GetAction() != undo[step.GetAction()] {
			t.Errorf("%s is undone by %q, want %q", step.GetAction(), step.GetUndo().GetAction(), undo[step.GetAction()])
		}
	}
	if got := strings.Join(actions, " "); got != "cordon_node drain_node terminate_instances verify" {
		t.Errorf("plan is %s", got)
	}
	s := a.GetConsolidation()
	if s.GetEvictions() != 2 || s.GetRehearsals() < 2 || s.GetScore() < 0.5 || s.GetSavingsShare() < 0.33 {
		t.Errorf("consolidation is %v", s)
	}
}

func TestNodesStayForTheReasonThatKeepsThem(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(*fleetv1.ClusterState)
		constraints map[string]any
		reason      string
		detail      string
	}{
		"the node must not be disrupted": {func(s *fleetv1.ClusterState) { s.Nodes[0].DoNotDisrupt = true }, nil, "do_not_disrupt", "annotation"},
		"a pod must not be disrupted":    {func(s *fleetv1.ClusterState) { s.Pods[0].DoNotDisrupt = "x" }, nil, "pod_do_not_disrupt", "shop/app-node-00-0"},
		"nobody would make its pod again": {
			func(s *fleetv1.ClusterState) { s.Pods[0].Owner = nil }, nil, "unmanaged_pod", "shop/app-node-00-0",
		},
		"its namespace is protected": {func(s *fleetv1.ClusterState) { s.Pods[0].Namespace = "db-main" }, map[string]any{"protected_namespaces": []any{"db-*"}}, "protected_namespace", "db-main/"},
		"a budget wants every pod": {func(s *fleetv1.ClusterState) {
			s.PodDisruptionBudgets = []*fleetv1.PodDisruptionBudget{{
				Namespace: "shop", Name: "all", Selector: &fleetv1.LabelSelector{MatchLabels: s.Pods[0].Labels}, ExpectedPods: 1, DesiredHealthy: 1, CurrentHealthy: 1,
			}}
		}, nil, "pdb_blocks", "shop/all"},
		"CloudOptim bought it lately": {func(s *fleetv1.ClusterState) {
			s.Nodes[0].Labels["cloudoptim.io/capacity-type"], s.Nodes[0].CreatedAt = "on-demand", timestamppb.New(testNow)
		}, nil, "no_saving", "lately"},
		"no eviction is allowed": {func(*fleetv1.ClusterState) {}, map[string]any{"max_evictions": 1}, "max_evictions", "max_evictions"},
		"no node may be disrupted": {
			func(*fleetv1.ClusterState) {}, map[string]any{"max_nodes_disrupted": "10%"}, "max_nodes_disrupted", "0 nodes",
		},
		"no saving is enough": {func(*fleetv1.ClusterState) {}, map[string]any{"min_savings_usd": 1e6}, "no_saving", "no plan saves enough"},
	} {
		t.Run(name, func(t *testing.T) {
			state := halfEmpty(t)
			c.change(state)
			v := verdictOf(t, decide(t, state, c.constraints), "node-00")
			if v.GetVerdict() != "keep" || v.GetReason() != c.reason || !strings.Contains(v.GetDetail(), c.detail) {
				t.Errorf("verdict %v, want keep because of %s (%s)", v, c.reason, c.detail)
			}
		})
	}
}

func TestWhatStoodInTheWayIsNamed(t *testing.T) {
	a := decide(t, halfEmpty(t), map[string]any{"max_evictions": 1})
	if got := a.GetConsolidation().GetLimitedBy(); len(got) != 1 || got[0] != "max_evictions" {
		t.Errorf("limited by %v, want max_evictions", got)
	}
}

func TestBadAndInfeasibleRequestsNameTheField(t *testing.T) {
	for name, c := range map[string]struct {
		requirements, constraints map[string]any
		change                    func(*fleetv1.ClusterState)
		reason                    faultv1.Reason
		names                     string
	}{
		"an unknown constraint":          {constraints: map[string]any{"max_eviction": 3}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "constraints.max_eviction"},
		"text for a number":              {constraints: map[string]any{"max_evictions": "3"}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "constraints.max_evictions"},
		"a share above one":              {constraints: map[string]any{"min_savings_ratio": 1.5}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "constraints.min_savings_ratio"},
		"a budget that is none":          {constraints: map[string]any{"max_nodes_disrupted": "many"}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "constraints.max_nodes_disrupted"},
		"a pattern that is none":         {constraints: map[string]any{"protected_namespaces": []any{"["}}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "constraints.protected_namespaces[0]"},
		"types and no purchases":         {constraints: map[string]any{"allow_purchases": false, "instance_types": []any{"m5.*"}}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "constraints.instance_types"},
		"an unknown requirement":         {requirements: map[string]any{"cpu": 3}, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "requirements.cpu"},
		"no nodes":                       {change: func(s *fleetv1.ClusterState) { s.Nodes = nil }, reason: faultv1.Reason_REASON_INVALID_REQUEST, names: "current_state.nodes"},
		"an unknown region":              {change: func(s *fleetv1.ClusterState) { s.Region = "mars-1" }, reason: faultv1.Reason_REASON_INFEASIBLE, names: "region"},
		"an unknown type":                {constraints: map[string]any{"instance_types": []any{"m99.*"}}, reason: faultv1.Reason_REASON_INFEASIBLE, names: "instance_types"},
		"types that are all excluded":    {constraints: map[string]any{"instance_types": []any{"m5.large"}, "excluded_instance_types": []any{"m5.*"}}, reason: faultv1.Reason_REASON_INFEASIBLE, names: "instance_types"},
		"room that may not be bought":    {requirements: map[string]any{"spare_cpu": 900}, constraints: map[string]any{"allow_purchases": false}, reason: faultv1.Reason_REASON_INFEASIBLE, names: "spare_cpu"},
		"memory that may not be bought":  {requirements: map[string]any{"spare_memory": 9000}, constraints: map[string]any{"allow_purchases": false}, reason: faultv1.Reason_REASON_INFEASIBLE, names: "spare_memory"},
		"spot only, at a risk of nought": {constraints: map[string]any{"capacity_types": []any{"spot"}, "max_risk_score": 0.0}, reason: faultv1.Reason_REASON_INFEASIBLE, names: "capacity_types"},
	} {
		t.Run(name, func(t *testing.T) {
			state := halfEmpty(t)
			if c.change != nil {
				c.change(state)
			}
			req := request(state, c.constraints)
			requirements, err := structpb.NewStruct(c.requirements)
			if err != nil {
				t.Fatal(err)
			}
			req.Requirements = requirements
			_, err = Decide(req, testMarket(t), testNow)
			if fault.ReasonOf(err) != c.reason || !strings.Contains(fmt.Sprint(fault.From(err).Details), c.names) {
				t.Errorf("got %v (%v), want %v about %s", err, fault.From(err).Details, c.reason, c.names)
			}
		})
	}
}

func TestRoomThatMustStayFreeStaysFree(t *testing.T) {
	for _, spare := range []float64{1, 4, 8, 20} {
		state := halfEmpty(t)
		req := request(state, map[string]any{"placement": "planned", "min_score": 0.0})
		req.Requirements = &structpb.Struct{Fields: map[string]*structpb.Value{"spare_cpu": structpb.NewNumberValue(spare)}}
		a, err := Decide(req, testMarket(t), testNow)
		if err != nil {
			t.Fatal(err)
		}
		free := 0.0
		away := strings.Join(gone(a), " ")
		for _, n := range append(a.GetNewNodes(), state.Nodes...) {
			if !strings.Contains(away, n.NodeName) {
				free += float64(n.Allocatable.CpuMillicores) / 1000
			}
		}
		if free -= 6 * 0.9; free < spare-1e-9 {
			t.Errorf("%v vCPU are free, want %v", free, spare)
		}
	}
}

func TestWhatRunsOnDemandStaysOnDemandUnlessSpotIsAllowed(t *testing.T) {
	state := halfEmpty(t)
	a := decide(t, state, map[string]any{"min_score": 0.0})
	for _, r := range a.GetRecommendations() {
		if r.GetNodeType() != "on-demand" {
			t.Errorf("buys %v", r)
		}
	}
	a = decide(t, state, map[string]any{"min_score": 0.0, "capacity_types": []any{"spot"}})
	if len(a.GetRecommendations()) == 0 {
		t.Error("buys no spot nodes where only those may be bought")
	}
	for _, r := range a.GetRecommendations() {
		if r.GetNodeType() != "spot" {
			t.Errorf("buys %v", r)
		}
	}
	state.Nodes[2].NodeType = "spot"
	a = decide(t, state, map[string]any{"min_score": 0.0, "placement": "planned"})
	for _, m := range a.GetPodMoves() {
		if m.GetFromNode() == "node-02" {
			continue
		}
		for _, n := range append(a.GetNewNodes(), state.Nodes...) {
			if n.NodeName == m.GetToNode() && n.NodeType == "spot" {
				t.Errorf("%v moves a pod from an on-demand node to a spot node", m)
			}
		}
	}
}
