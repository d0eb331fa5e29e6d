package fit_test

import (
	"testing"

	"pgregory.net/rapid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// change a cluster at random.
func change(t *rapid.T, c *fit.Cluster, pods int) {
	for range rapid.IntRange(1, 8).Draw(t, "changes") {
		pod, node := rapid.IntRange(0, pods-1).Draw(t, "pod"), rapid.IntRange(0, c.Nodes()-1).Draw(t, "node")
		switch kind := rapid.IntRange(0, 9).Draw(t, "change"); {
		case kind == 0:
			c.Close(node)
		case kind == 1:
			c.RemoveNode(node)
		case kind == 2:
			n := *c.Node(node)
			n.Labels = map[string]string{"kubernetes.io/hostname": "fresh", "topology.kubernetes.io/zone": "w"}
			c.AddNode(n)
		case c.At(pod) >= 0:
			c.Remove(pod)
		default:
			if c.Fits(pod, node) {
				c.Place(pod, node)
			}
		}
	}
}

// answers that a cluster gives.
func answers(c *fit.Cluster, pods, nodes int) (all []int) {
	for pod := range pods {
		all = append(all, c.At(pod))
		for node := range nodes {
			if c.At(pod) < 0 {
				all = append(all, int(c.Refusal(pod, node)))
				if fits := c.Fits(pod, node); fits != (c.Refusal(pod, node) == fit.Accepted) {
					all = append(all, -99)
				}
			}
			all = append(all, int(c.Spare(node).CPU))
		}
	}
	return all
}

func TestWhatHappensToOneClusterDoesNotHappenToItsClone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pods []*fleetv1.Pod
		for i := range rapid.IntRange(1, 8).Draw(t, "pods") {
			pods = append(pods, drawPod(t, i))
		}
		book := fit.NewBook(pods)
		c := fit.NewCluster(book)
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			n := drawNode(t, i)
			room := book.Amounts(n.Allocatable)
			room.Pods = int64(n.MaxPods)
			c.AddNode(fit.Node{Name: n.NodeName, Labels: n.Labels, Taints: n.Taints, Room: room, Closed: n.Unschedulable})
		}
		change(t, c, len(pods))
		nodes := c.Nodes()
		before := answers(c, len(pods), nodes)
		same := func(c *fit.Cluster, want []int, which string) {
			got := answers(c, len(pods), nodes)
			for i := range want {
				if got[i] != want[i] || got[i] == -99 {
					t.Fatalf("%s answers %v, want %v", which, got, want)
				}
			}
		}
		twin := c.Clone()
		same(twin, before, "the clone")
		change(t, twin, len(pods))
		same(c, before, "the first, after the clone changed,")
		after := answers(twin, len(pods), nodes)
		change(t, c, len(pods))
		same(twin, after, "the clone, after the first changed,")
	})
}
