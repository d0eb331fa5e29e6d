package spotoptimize

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

func structOf(t *testing.T, values map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(values)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asked for capacity alone, without a cluster.
func capacityRequest(t *testing.T, requirements, constraints map[string]any) *mlv1.DecisionRequest {
	t.Helper()
	return &mlv1.DecisionRequest{
		RequestId: "r", CurrentState: &fleetv1.ClusterState{Region: "us-east-1"},
		Requirements: structOf(t, requirements), Constraints: structOf(t, constraints),
	}
}

// three is a cluster of three half-empty m5.xlarge with two pods each.
func three(t *testing.T) *fleetv1.ClusterState {
	t.Helper()
	prices := testMarket(t)
	state := &fleetv1.ClusterState{Region: "us-east-1"}
	for _, zone := range []string{"a", "b", "c"} {
		n := testNode(t, prices, "node-"+zone, "m5.xlarge", "us-east-1"+zone)
		n.PodCount = 2
		state.Nodes = append(state.Nodes, n)
		for _, name := range []string{"x", "y"} {
			state.Pods = append(state.Pods, &fleetv1.Pod{
				Uid: name + zone, Namespace: "shop", Name: name + "-" + zone, NodeName: n.NodeName, Phase: "Running", Ready: true,
				Owner: &fleetv1.Owner{Kind: "ReplicaSet", Name: name}, Labels: map[string]string{"app": name},
				Requests: &fleetv1.Resources{CpuMillicores: 500, MemoryBytes: 1 << 30},
			})
		}
	}
	return state
}

func decideOK(t *testing.T, req *mlv1.DecisionRequest) *mlv1.DecisionResponse {
	t.Helper()
	answer, err := Decide(req, testMarket(t), testNow)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func verdictOf(t *testing.T, a *mlv1.DecisionResponse, node string) *mlv1.NodeVerdict {
	t.Helper()
	for _, v := range a.NodeVerdicts {
		if v.NodeName == node {
			return v
		}
	}
	t.Fatalf("no verdict on %s", node)
	return nil
}

func TestAHalfEmptyOnDemandClusterMovesToSpot(t *testing.T) {
	a := decideOK(t, request(three(t), nil))
	for _, v := range a.NodeVerdicts {
		if v.Verdict != "replace" || v.Reason != "replaced" || v.PodsMoved != 2 {
			t.Errorf("verdict %v, want replace", v)
		}
	}
	for _, r := range a.Recommendations {
		if r.NodeType != "spot" {
			t.Errorf("recommends %v, want spot only", r)
		}
	}
	if a.EstimatedSavings < 200 {
		t.Errorf("saves %v USD a month of 420, want more than 200", a.EstimatedSavings)
	}
	var actions []string
	for i, step := range a.ExecutionPlan {
		if int(step.Step) != i+1 {
			t.Errorf("step %d has number %d", i+1, step.Step)
		}
		if len(actions) == 0 || actions[len(actions)-1] != step.Action {
			actions = append(actions, step.Action)
		}
	}
	want := "launch_spot_instances wait_nodes_ready label_node cordon_node drain_node terminate_instances verify"
	if got := strings.Join(actions, " "); got != want {
		t.Errorf("plan is %s\nwant    %s", got, want)
	}
}

func TestANodeStaysForTheReasonThatKeepsIt(t *testing.T) {
	for name, c := range map[string]struct {
		change         func(*fleetv1.ClusterState)
		reason, detail string
	}{
		"it is spot already": {func(s *fleetv1.ClusterState) { s.Nodes[0].NodeType = "spot" }, "spot_already", ""},
		"it must not be disrupted": {
			func(s *fleetv1.ClusterState) { s.Nodes[0].DoNotDisrupt = true }, "do_not_disrupt", "annotation",
		},
		"a pod must not be disrupted": {
			func(s *fleetv1.ClusterState) { s.Pods[0].DoNotDisrupt = "karpenter.sh/do-not-disrupt" }, "pod_do_not_disrupt", "shop/x-a: karpenter.sh/do-not-disrupt",
		},
		"nobody would make its pod again": {func(s *fleetv1.ClusterState) { s.Pods[0].Owner = nil }, "unmanaged_pod", "shop/x-a"},
		"it is not ready":                 {func(s *fleetv1.ClusterState) { s.Nodes[0].Ready = false }, "not_ready", ""},
		"it is cordoned":                  {func(s *fleetv1.ClusterState) { s.Nodes[0].Unschedulable = true }, "cordoned_by_other", ""},
		"it is no EC2 instance":           {func(s *fleetv1.ClusterState) { s.Nodes[0].InstanceType = "" }, "not_ec2", "no instance type"},
		"it has no instance id":           {func(s *fleetv1.ClusterState) { s.Nodes[0].InstanceId = "" }, "not_ec2", "no instance id"},
		"its price is unknown":            {func(s *fleetv1.ClusterState) { s.Nodes[0].InstanceType = "m99.large" }, "no_saving", "m99.large"},
		"a budget wants every pod": {func(s *fleetv1.ClusterState) {
			s.PodDisruptionBudgets = []*fleetv1.PodDisruptionBudget{{
				Namespace: "shop", Name: "all", Selector: &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
				ExpectedPods: 3, DesiredHealthy: 3, CurrentHealthy: 3,
			}}
		}, "pdb_blocks", "shop/all"},
		"two budgets guard a pod": {func(s *fleetv1.ClusterState) {
			for _, name := range []string{"one", "two"} {
				s.PodDisruptionBudgets = append(s.PodDisruptionBudgets, &fleetv1.PodDisruptionBudget{
					Namespace: "shop", Name: name, Selector: &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
					ExpectedPods: 3, DesiredHealthy: 1, CurrentHealthy: 3, DisruptionsAllowed: 2,
				})
			}
		}, "pdb_blocks", "two budgets"},
		"a pod asks for a label that no new node has": {func(s *fleetv1.ClusterState) {
			s.Nodes[0].Labels["team"] = "a"
			s.Pods[0].NodeSelector = map[string]string{"team": "a"}
		}, "unschedulable_pod", "shop/x-a"},
		"a volume is in a zone where nothing may be bought": {func(s *fleetv1.ClusterState) {
			s.Nodes[0].AvailabilityZone, s.Nodes[0].Labels[fit.LabelZone] = "us-east-1-lax-1a", "us-east-1-lax-1a"
			s.Pods[0].VolumeZones = []string{"us-east-1-lax-1a"}
		}, "local_volume", "shop/x-a"},
		"a pod's affinity looks at namespaces' labels": {func(s *fleetv1.ClusterState) {
			s.Pods[0].PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: &fleetv1.LabelSelector{}, TopologyKey: fit.LabelHostname, NamespaceSelector: true}}
		}, "unschedulable_pod", "shop/x-a"},
		"CloudOptim bought it lately": {func(s *fleetv1.ClusterState) {
			s.Nodes[0].Labels["cloudoptim.io/capacity-type"], s.Nodes[0].CreatedAt = "on-demand", timestamppb.New(testNow)
		}, "no_saving", "lately"},
	} {
		t.Run(name, func(t *testing.T) {
			state := three(t)
			c.change(state)
			v := verdictOf(t, decideOK(t, request(state, nil)), "node-a")
			if v.Verdict != "keep" || v.Reason != c.reason || !strings.Contains(v.Detail, c.detail) {
				t.Errorf("verdict %v, want keep because of %s (%s)", v, c.reason, c.detail)
			}
		})
	}
}

func TestABudgetThatIsOnlyExhaustedForNowDoesNotKeepANode(t *testing.T) {
	state := three(t)
	state.PodDisruptionBudgets = []*fleetv1.PodDisruptionBudget{{
		Namespace: "shop", Name: "most", Selector: &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
		ExpectedPods: 3, DesiredHealthy: 2, CurrentHealthy: 2,
	}}
	if v := verdictOf(t, decideOK(t, request(state, nil)), "node-a"); v.Verdict != "replace" {
		t.Errorf("verdict %v, want replace", v)
	}
}

func TestPodsThatAskForOnDemandGetIt(t *testing.T) {
	for key, value := range map[string]string{
		"karpenter.sh/capacity-type": "on-demand", "eks.amazonaws.com/capacityType": "ON_DEMAND", "cloudoptim.io/capacity-type": "on-demand",
	} {
		state := three(t)
		for _, p := range state.Pods {
			p.NodeSelector = map[string]string{key: value}
		}
		a := decideOK(t, request(state, nil))
		if len(a.Recommendations) == 0 {
			t.Errorf("%s: nothing is recommended", key)
		}
		for _, r := range a.Recommendations {
			if r.NodeType != "on-demand" {
				t.Errorf("%s: recommends %v", key, r)
			}
		}
	}
}

func TestNodesWhosePodsFitElsewhereNeedNoReplacement(t *testing.T) {
	state := three(t)
	big := testNode(t, testMarket(t), "big", "m5.4xlarge", "us-east-1a")
	big.NodeType, big.Labels["karpenter.sh/capacity-type"] = "spot", "spot"
	state.Nodes = append(state.Nodes, big)
	a := decideOK(t, request(state, nil))
	if len(a.Recommendations) > 0 || a.EstimatedSavings != 420.48 {
		t.Errorf("recommends %v and saves %v, want nothing to buy and 3 × 0.192 × 730 saved", a.Recommendations, a.EstimatedSavings)
	}
	if v := verdictOf(t, a, "node-b"); v.Verdict != "replace" {
		t.Errorf("verdict %v, want replace", v)
	}
}

func TestADaemonSetTakesItsShareOfEveryNewNode(t *testing.T) {
	state := three(t)
	for _, n := range state.Nodes {
		state.Pods = append(state.Pods, &fleetv1.Pod{
			Uid: "agent" + n.NodeName, Namespace: "kube-system", Name: "agent-" + n.NodeName, NodeName: n.NodeName, Phase: "Running",
			Owner: &fleetv1.Owner{Kind: "DaemonSet", Name: "agent"}, Tolerations: []*fleetv1.Toleration{{Operator: "Exists"}},
			Requests: &fleetv1.Resources{CpuMillicores: 1500, MemoryBytes: 1 << 30},
		})
	}
	for _, r := range decideOK(t, request(state, nil)).Recommendations {
		// 1.5 cores of each are the DaemonSet's: nothing with one core is of use.
		if kind, _ := testMarket(t).Type(r.InstanceType); kind.VCPU < 2 {
			t.Errorf("recommends %s, which the DaemonSet fills alone", r.InstanceType)
		}
	}
}

// poolsOf a type in every zone of the test market, spot and on demand.
func poolsOf(instanceType string) []any {
	var pools []any
	for _, zone := range []string{"a", "b", "c", "d", "e", "f"} {
		for _, kind := range []string{shop.Spot, shop.OnDemand} {
			pools = append(pools, instanceType+"/us-east-1"+zone+"/"+kind)
		}
	}
	return pools
}

func TestAPoolThatHadNoCapacityIsNotTaken(t *testing.T) {
	want := map[string]any{"cpu": 2.0, "memory": 8.0, "urgent": true}
	first := decideOK(t, capacityRequest(t, want, nil)).Recommendations[0]
	pool := first.InstanceType + "/" + first.AvailabilityZone + "/" + first.NodeType
	next := decideOK(t, capacityRequest(t, want, map[string]any{"excluded_pools": []any{pool}})).Recommendations[0]
	if got := next.InstanceType + "/" + next.AvailabilityZone + "/" + next.NodeType; got == pool {
		t.Errorf("takes %s all the same", pool)
	}
}

func TestTheBindingConstraintIsNamed(t *testing.T) {
	ten := map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 10.0}
	for name, c := range map[string]struct {
		requirements, constraints map[string]any
		want                      string
	}{
		"types that do not exist":  {ten, map[string]any{"instance_types": []any{"m99.*"}}, "instance_types"},
		"types that are too small": {ten, map[string]any{"instance_types": []any{"c5.large"}}, "instance_types"},
		"every type excluded":      {ten, map[string]any{"excluded_instance_types": []any{"*"}}, "excluded_instance_types"},
		"types of another architecture": {ten, map[string]any{
			"architectures": []any{"arm64"}, "excluded_instance_types": []any{"*g*.*"},
		}, "excluded_instance_types"},
		"an architecture too few": {ten, map[string]any{"architectures": []any{"amd64"}, "instance_types": []any{"m6g.*"}}, "instance_types"},
		"every pool of the one type without capacity": {ten, map[string]any{
			"instance_types": []any{"m5.xlarge"}, "excluded_pools": poolsOf("m5.xlarge"),
		}, "excluded_pools"},
		"a zone without offers": {ten, map[string]any{"zones": []any{"us-east-1z"}}, "zones"},
		"too few nodes allowed": {ten, map[string]any{"max_nodes": 9.0}, "max_nodes"},
		"a floor above what nodes allow": {
			map[string]any{"cpu_required": 4.0}, map[string]any{"on_demand_floor_cpu": 64.0}, "on_demand_floor_cpu",
		},
		"nothing so large exists": {map[string]any{"cpu_required": 9999.0, "node_count": 1.0}, nil, "requirements"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(capacityRequest(t, c.requirements, c.constraints), testMarket(t), testNow)
			if fault.ReasonOf(err) != faultv1.Reason_REASON_INFEASIBLE || fault.From(err).Details["constraint"] != c.want {
				t.Errorf("got %v %v, want INFEASIBLE naming %s", err, fault.From(err).Details, c.want)
			}
		})
	}
}

func TestAClusterThatNoAllowedTypeSuitsIsInfeasible(t *testing.T) {
	state := three(t)
	for _, p := range state.Pods {
		p.Requests.MemoryBytes = 4 << 30
	}
	for name, c := range map[string]struct {
		constraints map[string]any
		want        string
	}{
		"types too small":                 {map[string]any{"instance_types": []any{"t3.nano"}}, "instance_types"},
		"all excluded":                    {map[string]any{"excluded_instance_types": []any{"*"}}, "excluded_instance_types"},
		"more on-demand vCPU than it has": {map[string]any{"on_demand_floor_cpu": 100.0}, "on_demand_floor_cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(request(state, c.constraints), testMarket(t), testNow)
			if fault.ReasonOf(err) != faultv1.Reason_REASON_INFEASIBLE || fault.From(err).Details["constraint"] != c.want {
				t.Errorf("got %v, want INFEASIBLE naming %s", err, c.want)
			}
		})
	}
	state.Nodes[0].NodeType, state.Nodes[1].NodeType = "spot", "spot"
	state.Nodes[2].DoNotDisrupt = false
	_, err := Decide(request(state, map[string]any{"max_spot_percentage": 0.1}), testMarket(t), testNow)
	if err != nil && fault.From(err).Details["constraint"] != "max_spot_percentage" {
		t.Errorf("got %v, want an answer or max_spot_percentage named", err)
	}
}

func TestARegionWithoutPricesIsNamed(t *testing.T) {
	state := three(t)
	state.Region = "mars-north-1"
	_, err := Decide(request(state, nil), testMarket(t), testNow)
	if fault.ReasonOf(err) != faultv1.Reason_REASON_INFEASIBLE || fault.From(err).Details["constraint"] != "region" {
		t.Errorf("got %v, want INFEASIBLE naming region", err)
	}
}

func TestWrongKeysAndTypesAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		requirements, constraints map[string]any
		field, constraint         string
	}{
		"unknown constraint":     {nil, map[string]any{"max_spot": 1.0}, "constraints.max_spot", "is not a known field"},
		"unknown requirement":    {map[string]any{"cpus": 1.0}, nil, "requirements.cpus", "is not a known field"},
		"text for a number":      {nil, map[string]any{"max_spot_percentage": "0.8"}, "constraints.max_spot_percentage", "must be a number"},
		"number for a list":      {nil, map[string]any{"zones": 1.0}, "constraints.zones", "must be a list of strings"},
		"number for true":        {map[string]any{"urgent": 1.0}, nil, "requirements.urgent", "must be true or false"},
		"half a node":            {map[string]any{"node_count": 1.5}, nil, "requirements.node_count", "must be a whole number"},
		"camel case":             {nil, map[string]any{"maxNodes": 1.0}, "constraints.maxNodes", "is not a known field"},
		"a share above one":      {nil, map[string]any{"max_spot_percentage": 1.5}, "constraints.max_spot_percentage", "less than or equal to 1"},
		"an unknown processor":   {nil, map[string]any{"architectures": []any{"amd64", "sparc"}}, "constraints.architectures[1]", "must be in list"},
		"a pattern that is none": {nil, map[string]any{"instance_types": []any{"m5.["}}, "constraints.instance_types[0]", "family with a star"},
		"nothing asked for":      {nil, nil, "requirements.cpu_required", "must be given"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(capacityRequest(t, c.requirements, c.constraints), testMarket(t), testNow)
			details := fault.From(err).Details
			got, _ := details["constraint"].(string)
			if fault.ReasonOf(err) != faultv1.Reason_REASON_INVALID_REQUEST || details["field"] != c.field || !strings.Contains(got, c.constraint) {
				t.Errorf("got %v %v, want %s %s", err, details, c.field, c.constraint)
			}
		})
	}
}

func TestRequirementsAloneGetADiverseMix(t *testing.T) {
	a := decideOK(t, capacityRequest(t, map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 10.0}, map[string]any{"max_spot_percentage": 0.8}))
	nodes, spot, pools := int32(0), int32(0), 0
	for _, r := range a.Recommendations {
		nodes += r.NodeCount
		if r.NodeType == "spot" {
			spot += r.NodeCount
			pools++
			if float64(r.NodeCount) > 0.34*8 {
				t.Errorf("%d of 8 spot nodes are in one pool", r.NodeCount)
			}
		}
		kind, _ := testMarket(t).Type(r.InstanceType)
		if kind.VCPU < 2 || kind.MemoryMiB < 8192 {
			t.Errorf("%s is smaller than what each node must offer", r.InstanceType)
		}
	}
	if nodes != 10 || spot != 8 || pools < 3 {
		t.Errorf("%d nodes, %d of them spot in %d pools; want 10, 8 and at least 3", nodes, spot, pools)
	}
}

func TestRequirementsTogetherAreCovered(t *testing.T) {
	a := decideOK(t, capacityRequest(t, map[string]any{"cpu_required": 100.0, "memory_required": 400.0}, nil))
	cpu, memory := 0.0, 0.0
	for _, r := range a.Recommendations {
		kind, _ := testMarket(t).Type(r.InstanceType)
		cpu += float64(kind.VCPU) * float64(r.NodeCount)
		memory += shop.MemoryGiB(kind) * float64(r.NodeCount)
	}
	if cpu < 100 || memory < 400 || len(a.Recommendations) < 3 {
		t.Errorf("%v vCPU and %v GiB in %d pools, want 100, 400 and at least 3", cpu, memory, len(a.Recommendations))
	}
}

func TestUrgentCapacityIsOneTypeOnDemandWhateverTheClusterHas(t *testing.T) {
	req := request(three(t), map[string]any{"max_spot_percentage": 0.0})
	req.Requirements = structOf(t, map[string]any{"cpu": 2.0, "memory": 8.0, "urgent": true})
	a := decideOK(t, req)
	if len(a.Recommendations) != 1 || a.Recommendations[0].NodeType != "on-demand" || a.Recommendations[0].NodeCount != 1 {
		t.Fatalf("recommends %v, want one on-demand node", a.Recommendations)
	}
	kind, _ := testMarket(t).Type(a.Recommendations[0].InstanceType)
	if kind.VCPU < 2 || kind.MemoryMiB < 8192 {
		t.Errorf("%s offers less than 2 vCPU and 8 GiB", kind.Name)
	}
	for _, step := range a.ExecutionPlan {
		if step.Action == "drain_node" {
			t.Error("urgent capacity drains nodes")
		}
	}
}

func TestAnAnswerIsNeverTooLongAndSaysWhatItRestsOn(t *testing.T) {
	a := decideOK(t, request(three(t), map[string]any{"max_risk_score": 0.2, "max_price_ratio": 0.5}))
	if len(a.Candidates) > 500 {
		t.Errorf("%d candidates, want at most 500", len(a.Candidates))
	}
	reasons := map[string]int{}
	for _, c := range a.Candidates {
		reasons[c.Reason]++
		if c.Taken != (c.Reason == "taken") {
			t.Errorf("candidate %v", c)
		}
	}
	for _, want := range []string{"taken", "dearer", "risk_ceiling", "price_ceiling"} {
		if reasons[want] == 0 {
			t.Errorf("no candidate is refused for %s: %v", want, reasons)
		}
	}
	m := a.Metadata.AsMap()
	if m["market_origin"] != "embedded" || m["market_as_of"] != "2025-04-24T00:00:00Z" || m["nodes_before"] != 3.0 {
		t.Errorf("metadata %v", m)
	}
	if a.ConfidenceScore <= 0 || a.ConfidenceScore >= 0.95 {
		t.Errorf("confidence %v with prices of last year, want between 0 and 0.95", a.ConfidenceScore)
	}
}

func TestASavingThatIsTooSmallIsNotProposed(t *testing.T) {
	a := decideOK(t, request(three(t), map[string]any{"min_savings_ratio": 0.99}))
	if len(a.ExecutionPlan) > 0 || a.EstimatedSavings != 0 || verdictOf(t, a, "node-a").Reason != "no_saving" {
		t.Errorf("plan %v, savings %v", a.ExecutionPlan, a.EstimatedSavings)
	}
}

func TestTheRequestIsNotChanged(t *testing.T) {
	req := request(three(t), map[string]any{"zones": []any{"us-east-1b", "us-east-1a", "us-east-1b"}})
	given := proto.CloneOf(req)
	decideOK(t, req)
	if !proto.Equal(given, req) {
		t.Error("Decide changed its request")
	}
}
