package spotoptimize

import (
	"testing"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"
)

// failer is a test, or a property's.
type failer interface {
	Errorf(format string, args ...any)
}

// requireLanding wants every pod that is moved, once, with the place that it is expected at, and the nodes that are
// bought as they are expected to look.
func requireLanding(t failer, state *fleetv1.ClusterState, a *mlv1.DecisionResponse) {
	moved, there := map[string]int32{}, map[string]bool{}
	for _, v := range a.GetNodeVerdicts() {
		there[v.GetNodeName()] = v.GetVerdict() == "keep"
	}
	bought := 0
	for _, r := range a.GetRecommendations() {
		bought += int(r.GetNodeCount())
	}
	if len(a.GetNewNodes()) != bought {
		t.Errorf("%d nodes are bought and %d described", bought, len(a.GetNewNodes()))
	}
	for _, n := range a.GetNewNodes() {
		if there[n.GetNodeName()] || n.GetInstanceId() != "" || n.GetCpuAllocatable() <= 0 || n.GetHourlyPrice() <= 0 {
			t.Errorf("a node to come is %v", n)
		}
		there[n.GetNodeName()] = true
	}
	pods := map[string]*fleetv1.Pod{}
	for _, p := range state.GetPods() {
		pods[p.GetUid()] = p
	}
	for _, m := range a.GetPodMoves() {
		p := pods[m.GetUid()]
		if p == nil || p.GetName() != m.GetName() || p.GetNamespace() != m.GetNamespace() || p.GetNodeName() != m.GetFromNode() || there[m.GetFromNode()] {
			t.Errorf("the pod of %v is %v", m, p)
		}
		if !m.GetExpected() || m.GetToNode() != "" && !there[m.GetToNode()] {
			t.Errorf("a pod moves like this: %v", m)
		}
		moved[m.GetFromNode()]++
		delete(pods, m.GetUid())
	}
	for _, v := range a.GetNodeVerdicts() {
		if v.GetPodsMoved() != moved[v.GetNodeName()] {
			t.Errorf("%d pods move off node %s by its verdict and %d by the moves", v.GetPodsMoved(), v.GetNodeName(), moved[v.GetNodeName()])
		}
	}
}

// TestPodsAreExpectedWhereTheyFit: the checker, which shares no code with the engine, finds that each can land where it is expected.
func TestPodsAreExpectedWhereTheyFit(t *testing.T) {
	t.Parallel()
	prices := testMarket(t)
	moves := 0
	for name, req := range carriedOut(t, prices) {
		a, err := Decide(req, prices, testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		requireLanding(t, req.GetCurrentState(), a)
		moves += len(a.GetPodMoves())
		held := proto.CloneOf(a)
		held.DecisionType = "bin_pack" // whose moves are binding
		for _, v := range feasible.Check(req.GetCurrentState(), held) {
			t.Errorf("%s: %s", name, v)
		}
		for _, v := range feasible.Check(req.GetCurrentState(), a) {
			t.Errorf("%s, as it is: %s", name, v)
		}
		again, err := Decide(req, prices, testNow)
		if err != nil || !proto.Equal(a, again) {
			t.Errorf("%s: asked again it answers otherwise (%v)", name, err)
		}
	}
	if moves < 200 {
		t.Errorf("only %d pods move in all", moves)
	}
}

func TestCapacityAloneMovesNothing(t *testing.T) {
	t.Parallel()
	a := decideOK(t, capacityRequest(t, map[string]any{"cpu_required": 8.0, "memory_required": 16.0}, nil))
	if len(a.GetRecommendations()) == 0 || len(a.GetPodMoves())+len(a.GetNewNodes()) > 0 {
		t.Errorf("it moves %v onto %v", a.GetPodMoves(), a.GetNewNodes())
	}
}
