package fit_test

import (
	"testing"

	"pgregory.net/rapid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit/fittest"
)

// The checker that stands before every action counts what the slow reading looks up
// each time; they must agree after any sequence of pods coming and going.
func TestTheCheckerAgreesWithTheSlowReadingOfTheFilters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := &fittest.World{}
		for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
			n := drawNode(t, i)
			n.Allocatable.EphemeralStorageBytes++ // none reported means something else to the checker
			world.Nodes = append(world.Nodes, n)
		}
		var pods []*fleetv1.Pod
		for i := range rapid.IntRange(1, 9).Draw(t, "pods") {
			pods = append(pods, drawPod(t, i))
		}
		board := feasible.NewBoard(world.Nodes)
		board.Seat(nil, pods)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			pod := pods[rapid.IntRange(0, len(pods)-1).Draw(t, "pod")]
			if pod.NodeName != "" {
				board.Remove(pod)
				pod.NodeName = ""
			}
			world.Pods = placed(pods)
			for _, n := range world.Nodes {
				slow := world.Refusal(pod, n)
				if rule, detail := board.Refusal(pod, n.NodeName); (rule == "") != (slow == "") {
					t.Fatalf("pod %v\non node %v\nthe checker says %q (%s), the slow reading %q", pod, n, rule, detail, slow)
				}
			}
			to := world.Nodes[rapid.IntRange(0, len(world.Nodes)-1).Draw(t, "node")]
			if rule, _ := board.Refusal(pod, to.NodeName); rule == "" {
				board.Place(pod, to.NodeName)
				pod.NodeName = to.NodeName
			}
		}
	})
}
