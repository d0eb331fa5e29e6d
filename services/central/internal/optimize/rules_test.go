package optimize

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestTheNodeToGiveBackHasRoomAndHostedItsKindAndIsCheap(t *testing.T) {
	pod := &fleetv1.Pod{Requests: &fleetv1.Resources{CpuMillicores: 1000, MemoryBytes: 2 << 30}}
	node := func(name string, cpu, memory float64) *fleetv1.NodeMetric {
		return &fleetv1.NodeMetric{NodeName: name, CpuAllocatable: 2, MemoryAllocatableGb: 4, CpuAllocated: cpu, MemoryAllocatedGb: memory}
	}
	known := []*fleetv1.NodeMetric{node("dear", 0, 0), node("cheap", 1, 2), node("full", 1.5, 0), node("no-memory", 0, 2.5), node("busy", 0, 0), node("kept", 0, 0)}
	nodes := []store.Replaced{
		{Node: "dear", HourlyPrice: 3, Status: "drained"},
		{Node: "cheap", HourlyPrice: 2, Status: "pending"},
		{Node: "full", HourlyPrice: 1, Status: "drained"},
		{Node: "no-memory", HourlyPrice: 1, Status: "drained"},
		{Node: "busy", HourlyPrice: 1, Status: "draining"},
		{Node: "kept", HourlyPrice: 1, Status: "kept"},
		{Node: "gone", HourlyPrice: 1, Status: "drained"},
	}
	for _, c := range []struct {
		hosted []string
		want   string
	}{{nil, "cheap"}, {[]string{"dear"}, "dear"}, {[]string{"dear", "cheap"}, "cheap"}, {[]string{"full", "gone", "busy"}, "cheap"}} {
		hosted := map[string]int{}
		for _, name := range c.hosted {
			hosted[name] = 1
		}
		if got := roomFor(pod, nodes, known, hosted); got == nil || got.Node != c.want {
			t.Errorf("hosted by %v: got %v, want %s", c.hosted, got, c.want)
		}
	}
	pod.Requests.CpuMillicores = 2001
	if got := roomFor(pod, nodes, known, nil); got != nil {
		t.Errorf("a pod that fits nowhere goes to %s", got.Node)
	}
}

func TestAHostIsANodeOfTheSameController(t *testing.T) {
	pod := func(owner, node string) *fleetv1.Pod {
		return &fleetv1.Pod{Owner: &fleetv1.Owner{Uid: owner}, NodeName: node}
	}
	r := &run{story: &store.Story{Request: &mlv1.DecisionRequest{CurrentState: &fleetv1.ClusterState{Pods: []*fleetv1.Pod{
		pod("rs-1", "a"), pod("rs-1", "b"), pod("rs-2", "c"), pod("", "d"),
	}}}}}
	now := &fleetv1.ClusterState{
		Nodes: []*fleetv1.NodeMetric{{NodeName: "a", AvailabilityZone: "z1"}, {NodeName: "b", AvailabilityZone: "z2"}, {NodeName: "new", AvailabilityZone: "z1"}},
		Pods:  []*fleetv1.Pod{pod("rs-1", "new"), pod("rs-2", "b"), pod("rs-1", "")},
	}
	// Zone z1 has a pod of the kind already, z2 has none.
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 2}, r.hosted(pod("rs-1", ""), now)); diff != "" {
		t.Error(diff)
	}
	if got := r.hosted(&fleetv1.Pod{}, now); len(got) != 0 {
		t.Errorf("a pod without a controller was hosted by %v", got)
	}
}

func TestPodsThatHadNoPlaceBeforeAreNotTheStorys(t *testing.T) {
	r := &run{story: &store.Story{Request: &mlv1.DecisionRequest{CurrentState: &fleetv1.ClusterState{Pods: []*fleetv1.Pod{
		{Uid: "pending", Phase: "Pending"}, {Uid: "starting", Phase: "Pending", NodeName: "a"}, {Uid: "running", Phase: "Running", NodeName: "a"},
	}}}}}
	if diff := cmp.Diff(map[string]bool{"pending": true}, r.homelessBefore()); diff != "" {
		t.Error(diff)
	}
}

func TestTheEndingTellsTheFirstFailure(t *testing.T) {
	r := &run{story: &store.Story{CostBefore: 5, Steps: []store.StoryStep{
		{Name: "state", Status: "completed"}, {Name: "launch", Status: "failed", Error: "no capacity"}, {Name: "rollback", Status: "failed", Error: "later"},
	}}}
	good := ending{status: "completed", savings: 3, costAfter: 1}
	for what, c := range map[string]struct {
		got  outcome
		want ending
	}{
		"finished":    {outcome{finished: &good}, good},
		"failed":      {failed("because of %d", 1), ending{status: "failed", message: "because of 1", costAfter: 5}},
		"rolled back": {outcome{}, ending{status: "failed", message: "launch: no capacity", costAfter: 5}},
	} {
		if got := r.ending(c.got); got != c.want {
			t.Errorf("%s: got %+v, want %+v", what, got, c.want)
		}
	}
}

func TestBackoffGrowsWithTheTroubleWithinBounds(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{0: 500 * time.Millisecond, 8 * time.Second: 2 * time.Second, time.Hour: maxBackoff} {
		equal(t, age.String(), backoff(age), want)
	}
	rapid.Check(t, func(t *rapid.T) {
		age := time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "age"))
		if d := backoff(age); d < 500*time.Millisecond || d > maxBackoff || d > backoff(age+time.Second) {
			t.Fatalf("after %s: %s", age, d)
		}
	})
}

func TestOptionsThatTheDecisionServerWouldRefuseAreRefusedAtTheDoor(t *testing.T) {
	for _, c := range []struct {
		name, kind, field         string
		requirements, constraints map[string]any
	}{
		{name: "nothing"},
		{name: "good", requirements: map[string]any{"cpu": 4, "urgent": true}, constraints: map[string]any{"zones": []any{"a"}, "max_spot_percentage": 0.5}},
		{name: "unknown", constraints: map[string]any{"max_spot": 0.5}, field: "options.constraints"},
		{name: "unknown requirement", requirements: map[string]any{"gpus": 1}, field: "options.requirements"},
		{name: "wrong type", constraints: map[string]any{"zones": "a"}, field: "options.constraints"},
		{name: "wrong element", constraints: map[string]any{"architectures": []any{"sparc"}}, field: "options.constraints.architectures[0]"},
		{name: "too large", constraints: map[string]any{"max_spot_percentage": 80}, field: "options.constraints.max_spot_percentage"},
		{name: "negative", requirements: map[string]any{"node_count": -1}, field: "options.requirements.node_count"},
		{name: "consolidation", kind: "bin_pack", requirements: map[string]any{"spare_cpu": 4}, constraints: map[string]any{"max_nodes_disrupted": "10%"}},
		{name: "of another engine", kind: "bin_pack", constraints: map[string]any{"max_spot_percentage": 0.5}, field: "options.constraints"},
		{name: "fraction", requirements: map[string]any{"node_count": 1.5}, field: "options.requirements"},
	} {
		options := &adminv1.OptimizationOptions{}
		var err error
		options.Requirements, err = structpb.NewStruct(c.requirements)
		must(t, err)
		options.Constraints, err = structpb.NewStruct(c.constraints)
		must(t, err)
		err = checkOptions(orElse(c.kind, "spot_optimize"), options)
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		known := fault.From(err)
		if err == nil || known.Reason != faultv1.Reason_REASON_INVALID_REQUEST || known.Details["field"] != c.field || known.Details["constraint"] == "" {
			t.Errorf("%s: %v, %v", c.name, err, known)
		}
	}
	must(t, checkOptions("bin_pack", nil))
}

func TestNodesAreTakenAwayInTheOrderOfThePlanOnceEach(t *testing.T) {
	node := func(name, instance string) *fleetv1.NodeMetric {
		return &fleetv1.NodeMetric{NodeName: name, InstanceId: instance, HourlyPrice: 1}
	}
	r := &run{story: &store.Story{Request: &mlv1.DecisionRequest{CurrentState: &fleetv1.ClusterState{
		Nodes: []*fleetv1.NodeMetric{node("a", "i-a"), node("b", "i-b"), node("c", "i-c"), node("no-instance", "")},
	}}}}
	got := r.replaced(&mlv1.DecisionResponse{ExecutionPlan: []*mlv1.ExecutionStep{
		{Action: "cordon_node", Parameters: drainStep("a", "b", "c").Parameters}, drainStep("c", "unknown"), drainStep("no-instance", "a", "c"),
	}})
	want := []store.Replaced{{Position: 0, Node: "c", InstanceID: "i-c", HourlyPrice: 1}, {Position: 1, Node: "a", InstanceID: "i-a", HourlyPrice: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestTheSameWorkHasTheSameName(t *testing.T) {
	one, other := &run{story: &store.Story{ID: uuid.MustParse("11111111-1111-4111-8111-111111111111")}}, &run{story: &store.Story{ID: uuid.New()}}
	// Written down: a token that changes with a new build would launch a second time.
	equal(t, "token", one.token(0), "co-9124a16d0fb237a05ef114625cf9692ea77f9672")
	seen := map[string]bool{}
	for _, r := range []*run{one, other} {
		for i := range 3 {
			for _, index := range []int{i, i + fallbackIndex} {
				token := r.token(index)
				if seen[token] || token != r.token(index) || len(token) > 64 {
					t.Errorf("token %s", token)
				}
				seen[token] = true
			}
		}
	}
	drain := one.drainWork(store.Replaced{Node: "a"})
	equal(t, "the same work", drain.id, one.drainWork(store.Replaced{Node: "a"}).id)
	for what, id := range map[string]uuid.UUID{
		"another story": other.drainWork(store.Replaced{Node: "a"}).id, "another node": one.drainWork(store.Replaced{Node: "b"}).id,
		"another kind": one.cordonWork(store.Replaced{Node: "a"}).id, "undone": drain.again(one, "rollback").id,
	} {
		if id == drain.id {
			t.Errorf("%s has the same id", what)
		}
	}
}

func TestConstraintsAreTheCallersAndZonesThoseWithASubnet(t *testing.T) {
	policy, err := guard.Resolve([]*adminv1.Policy{{Values: &adminv1.PolicyValues{MinSavingsRatio: proto.Float64(0.2)}}})
	must(t, err)
	state := &fleetv1.ClusterState{Nodes: []*fleetv1.NodeMetric{{AvailabilityZone: "d"}, {AvailabilityZone: "c"}, {}}}
	launch, none := &store.Account{LaunchTemplateID: "lt-1", SubnetIDs: map[string]string{"b": "1", "a": "2"}}, &store.Account{}
	for _, c := range []struct {
		name, engine string
		account      *store.Account
		theirs, want map[string]any
	}{
		{"zones with a subnet, and the policy's least saving", "spot_optimize", launch, nil, map[string]any{"zones": []any{"a", "b"}, "min_savings_ratio": 0.2}},
		{"the caller's count", "spot_optimize", launch, map[string]any{"zones": []any{"b"}, "min_savings_ratio": 0.0}, map[string]any{"zones": []any{"b"}, "min_savings_ratio": 0.0}},
		{"nothing is bought without launch settings", "bin_pack", none, nil, map[string]any{"allow_purchases": false, "min_savings_ratio": 0.2}},
		{"but an estimate is made for the zones there are", "spot_optimize", none, nil, map[string]any{"zones": []any{"c", "d"}, "min_savings_ratio": 0.2}},
	} {
		r := &run{account: c.account, story: &store.Story{Type: c.engine, Options: &adminv1.OptimizationOptions{}}}
		if c.theirs != nil {
			r.story.Options.Constraints, err = structpb.NewStruct(c.theirs)
			must(t, err)
		}
		if diff := cmp.Diff(c.want, r.constraints(state, policy).AsMap()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestTroubleThatPassesIsToldFromAnAnswer(t *testing.T) {
	for reason, want := range map[faultv1.Reason]bool{
		faultv1.Reason_REASON_UNAVAILABLE: true, faultv1.Reason_REASON_INTERNAL: true, faultv1.Reason_REASON_RATE_LIMITED: true,
		faultv1.Reason_REASON_INFEASIBLE: false, faultv1.Reason_REASON_INVALID_REQUEST: false, faultv1.Reason_REASON_UNIMPLEMENTED: false,
	} {
		equal(t, reason.String(), mayPass(fault.New(reason, "x").GRPCStatus().Err()), want)
	}
}

func TestEveryStepLeadsSomewhereThatExists(t *testing.T) {
	for i, s := range steps {
		if s.onFailure < 0 || s.onFailure > len(steps) || s.patience <= 0 || s.onFailure == i+1 {
			t.Errorf("%s: %+v", s.name, s)
		}
	}
	equal(t, "rollback", steps[rollbackPosition-1].name, "rollback")
}
