package optimize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// picture of nodes: name, fate, share and pods, those that move with a star; a line each.
func picture(nodes []*adminv1.PlanMapNode) string {
	var lines []string
	for _, n := range nodes {
		line := n.GetNodeName() + " " + n.GetFate()
		if n.RequestedRatio != nil {
			line += fmt.Sprintf(" %.0f%%", 100*n.GetRequestedRatio())
		}
		for _, p := range n.GetPods() {
			line += " " + p.GetName()
			if p.GetMoves() {
				line += "*"
			}
			if p.GetDaemon() {
				line += "°"
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func drawnState() *fleetv1.ClusterState {
	node := func(name string) *fleetv1.NodeMetric {
		return &fleetv1.NodeMetric{
			NodeName: name, InstanceId: "i-" + name, InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: "on-demand", Ready: true,
			CpuAllocatable: 2, MemoryAllocatableGb: 8, MaxPods: 20,
			Allocatable: &fleetv1.Resources{CpuMillicores: 2000, MemoryBytes: 8 * gib},
		}
	}
	pod := func(name, on, kind string, cpu, memory int64) *fleetv1.Pod {
		return &fleetv1.Pod{
			Uid: name, Namespace: "web", Name: name, NodeName: on, Phase: "Running", Owner: &fleetv1.Owner{Kind: kind, Name: kind},
			Requests: &fleetv1.Resources{CpuMillicores: cpu, MemoryBytes: memory * gib},
		}
	}
	done := pod("job", "a", "Job", 1000, 1)
	done.Phase = "Succeeded"
	return &fleetv1.ClusterState{
		Nodes: []*fleetv1.NodeMetric{node("b"), node("a"), node("c")},
		Pods: []*fleetv1.Pod{
			pod("p", "a", "ReplicaSet", 500, 1), pod("q", "a", "ReplicaSet", 1000, 1), pod("log-a", "a", "DaemonSet", 100, 1), done,
			pod("log-b", "b", "DaemonSet", 100, 1), pod("r", "b", "ReplicaSet", 200, 6), pod("waits", "", "ReplicaSet", 100, 1),
		},
	}
}

func TestTheMapOfAPlanShowsWherePodsAreExpected(t *testing.T) {
	t.Parallel()
	bought := proto.CloneOf(drawnState().GetNodes()[0])
	bought.NodeName, bought.InstanceId, bought.NodeType = "cloudoptim-new-00000", "", "spot"
	decision := &mlv1.DecisionResponse{
		DecisionType: "spot_optimize", ExecutionPlan: []*mlv1.ExecutionStep{drainStep("a")},
		Recommendations: []*mlv1.Recommendation{{InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: "spot", NodeCount: 1}},
		NewNodes:        []*fleetv1.NodeMetric{bought},
		PodMoves: []*mlv1.PodMove{
			{Namespace: "web", Name: "p", Uid: "p", FromNode: "a", ToNode: "c", Expected: true},
			{Namespace: "web", Name: "q", Uid: "q", FromNode: "a", ToNode: "cloudoptim-new-00000", Expected: true},
		},
	}
	given := drawnState()
	drawn := mapOf(given, decision)
	equal(t, "before", picture(drawn.GetBefore()), "a goes 80% q* p* log-a°\nb stays 88% r log-b°\nc stays 0%")
	// What the DaemonSet puts on the new node is there as well.
	equal(t, "after", picture(drawn.GetAfter()), "b stays 88% r log-b°\nc stays 25% p*\ncloudoptim-new-00000 new 55% q* DaemonSet-cloudoptim-new-00000°")
	equal(t, "placed and expected", drawn.GetPlaced() && drawn.GetExpected(), true)
	if !proto.Equal(given, drawnState()) {
		t.Error("the state was changed")
	}

	decision.NewNodes, decision.PodMoves = nil, nil // as spot_optimize once answered
	drawn = mapOf(given, decision)
	equal(t, "after", picture(drawn.GetAfter()), "b stays 88% r log-b°\nc stays 0%\nnew-00000 new")
	equal(t, "placed or expected", drawn.GetPlaced() || drawn.GetExpected(), false)
}

func TestTheMapOfALargeClusterNamesNoPods(t *testing.T) {
	t.Parallel()
	state := &fleetv1.ClusterState{}
	for n := range 1500 {
		name := fmt.Sprintf("n%04d", n)
		state.Nodes = append(state.Nodes, &fleetv1.NodeMetric{NodeName: name, InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: "spot", CpuAllocatable: 2})
		for p := range 6 {
			state.Pods = append(state.Pods, &fleetv1.Pod{
				Uid: fmt.Sprint(name, p), Namespace: "web", Name: fmt.Sprint(name, p), NodeName: name, Phase: "Running", Requests: &fleetv1.Resources{CpuMillicores: 250},
			})
		}
	}
	drawn := mapOf(state, &mlv1.DecisionResponse{})
	for _, n := range append(drawn.GetBefore(), drawn.GetAfter()...) {
		if n.GetPodCount() != 6 || len(n.GetPods()) != 0 || n.GetRequestedRatio() != 0.75 || n.GetFate() != fateStays {
			t.Fatalf("drawn as %v", n)
		}
	}
	if size := proto.Size(drawn); size > 300_000 {
		t.Errorf("%d nodes take %d bytes", len(state.GetNodes()), size)
	}
}

func TestTheMapOfAFinishedPlanIsAsItWasPlanned(t *testing.T) {
	w := newWorld(t)
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		decision, err := swap(req)
		decision.DecisionType = "spot_optimize"
		decision.NewNodes = []*fleetv1.NodeMetric{{
			NodeName: "cloudoptim-new-00000", InstanceType: "c5.large", AvailabilityZone: "us-east-1a", NodeType: "spot", CpuAllocatable: 2, MemoryAllocatableGb: 4,
		}}
		for uid, node := range map[string]string{"p1": "old-1", "p2": "old-2"} {
			decision.PodMoves = append(decision.PodMoves, &mlv1.PodMove{Uid: uid, FromNode: node, ToNode: "cloudoptim-new-00000", Expected: true})
		}
		return decision, err
	}
	id := w.start(t)
	_, err := w.Map(t.Context(), id, noCustomer)
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	w.until(t, id, "ready")
	asPlanned, err := w.Map(t.Context(), id, noCustomer)
	must(t, err)
	equal(t, "before", picture(asPlanned.GetBefore()), "old-1 goes 25% p1*\nold-2 goes 25% p2*")
	equal(t, "after", picture(asPlanned.GetAfter()), "cloudoptim-new-00000 new 50% p1* p2*")
	equal(t, "has a time", asPlanned.GetAsOf().IsValid(), true)

	equal(t, "status", w.story(t, id).GetStatus(), "completed")
	over, err := w.Map(t.Context(), id, noCustomer)
	must(t, err)
	if !proto.Equal(asPlanned, over) {
		t.Errorf("when it is over it is\n%s\n%s", picture(over.GetBefore()), picture(over.GetAfter()))
	}
	_, err = w.Map(t.Context(), id, some(uuid.New()))
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
}
