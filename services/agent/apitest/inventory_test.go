package apitest

import (
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

type (
	msg       = *agentv1.ConnectRequest
	cancelMsg = agentv1.TaskCancel
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// replica is what central would know, made of the messages alone.
type replica struct {
	t        *testing.T
	read     int
	sequence int64
	building map[string]proto.Message
	objects  map[string]proto.Message
	metrics  *fleetv1.ClusterMetrics
}

// take reads the messages that came since and acknowledges as central does.
func (c *replica) take(r *rooms) {
	all := r.out.all()
	for _, m := range all[c.read:] {
		switch {
		case m.GetInventorySnapshot() != nil:
			c.snapshot(m.GetInventorySnapshot())
		case m.GetInventoryDelta() != nil:
			c.delta(m.GetInventoryDelta())
		case m.GetMetrics() != nil:
			c.metrics = m.GetMetrics()
		}
		r.cluster.Acked(c.sequence)
	}
	c.read = len(all)
}

func (c *replica) snapshot(s *agentv1.InventorySnapshot) {
	if s.GetPage() == 0 {
		c.building = map[string]proto.Message{}
	}
	put(c.building, s.GetNodes(), s.GetPods(), s.GetPodDisruptionBudgets())
	if s.GetLast() {
		c.objects, c.sequence = c.building, s.GetInventorySequence()
	}
}

func (c *replica) delta(d *agentv1.InventoryDelta) {
	c.t.Helper()
	if d.GetInventorySequence() != c.sequence+1 {
		c.t.Fatalf("delta %d follows %d", d.GetInventorySequence(), c.sequence)
	}
	c.sequence++
	put(c.objects, d.GetNodes(), d.GetPods(), d.GetPodDisruptionBudgets())
	for _, key := range slices.Concat(d.GetDeletedNodes(), d.GetDeletedPods(), d.GetDeletedPodDisruptionBudgets()) {
		if c.objects[key] == nil {
			c.t.Fatalf("delta %d deletes %s, which was never told", d.GetInventorySequence(), key)
		}
		delete(c.objects, key)
	}
}

func put(into map[string]proto.Message, nodes []*fleetv1.NodeMetric, pods []*fleetv1.Pod, budgets []*fleetv1.PodDisruptionBudget) {
	for _, n := range nodes {
		into[n.GetNodeName()] = n
	}
	for _, p := range pods {
		into[p.GetUid()] = p
	}
	for _, b := range budgets {
		into[b.GetUid()] = b
	}
}

func TestInventoryFollowsTheCluster(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("before", 3, nil)
	r := startRooms(t, t.TempDir())
	r.cluster.SetIntervals(500*time.Millisecond, 100*time.Millisecond)
	go func() { _ = r.cluster.Run(t.Context()) }()
	r.cluster.Connected(true)
	c := &replica{t: t}
	settle := func(what string, ok func() bool) {
		t.Helper()
		await(t, what, func() bool { c.take(r); return c.objects != nil && ok() })
	}

	settle("the snapshot", func() bool { return c.count(p.name) == 3 })
	if n := c.objects[node].(*fleetv1.NodeMetric); n.GetNodeType() != "spot" || n.GetInstanceId() != instanceOf(node) ||
		n.GetPodCount() != 3 || !near(n.GetCpuAllocated(), 0.3) || !n.GetReady() {
		t.Fatalf("node %v", n)
	}

	p.deploy("after", 4, nil)
	p.budget("after", 2)
	settle("new pods", func() bool { return c.count(p.name) == 7 && c.budgets(p.name) == 1 })
	require(t, kube.admin.AppsV1().Deployments(p.name).Delete(t.Context(), "before", metav1.DeleteOptions{}))
	settle("pods to go", func() bool { return c.count(p.name) == 4 })
	settle("the node's sums to follow", func() bool { return c.objects[node].(*fleetv1.NodeMetric).GetPodCount() == 4 })
	settle("metrics", func() bool { return c.metrics != nil })
	if len(c.metrics.GetPods()) != 0 || c.metrics.GetComplete() || len(c.metrics.GetNodes()) == 0 {
		t.Fatalf("metrics carry what the inventory has: %d pods, complete %v", len(c.metrics.GetPods()), c.metrics.GetComplete())
	}

	t.Run("a session that was cut goes on with the next delta", func(t *testing.T) {
		sequence := r.cluster.Sequence()
		r.cluster.Disconnected()
		p.addNode("b")
		r.cluster.Connected(false)
		settle("the new node", func() bool { return c.objects[p.name+"-b"] != nil })
		if r.cluster.Sequence() < sequence {
			t.Fatal("the inventory started anew")
		}
	})
	t.Run("a resync tells the same as all deltas", func(t *testing.T) {
		settle("quiet", func() bool { return c.ready(p.name + "-b") })
		before := maps.Clone(c.objects)
		c.objects = nil
		r.cluster.Resync("test")
		settle("the snapshot", func() bool { return true })
		if diff := cmp.Diff(keysOf(before, p.name), keysOf(c.objects, p.name)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func (c *replica) count(namespace string) int {
	n := 0
	for _, o := range c.objects {
		if p, ok := o.(*fleetv1.Pod); ok && p.GetNamespace() == namespace && p.GetPhase() == string(corev1.PodRunning) {
			n++
		}
	}
	return n
}

func (c *replica) budgets(namespace string) int {
	n := 0
	for _, o := range c.objects {
		if b, ok := o.(*fleetv1.PodDisruptionBudget); ok && b.GetNamespace() == namespace && b.GetCurrentHealthy() == 4 {
			n++
		}
	}
	return n
}

func (c *replica) ready(node string) bool {
	n, ok := c.objects[node].(*fleetv1.NodeMetric)
	return ok && n.GetReady()
}

// keysOf is a test's part of the inventory, as text that can be compared.
func keysOf(objects map[string]proto.Message, plot string) map[string]string {
	out := map[string]string{}
	for key, o := range objects {
		switch m := o.(type) {
		case *fleetv1.Pod:
			if m.GetNamespace() == plot {
				out[key] = m.GetNodeName() + " " + m.GetPhase()
			}
		case *fleetv1.NodeMetric:
			if m.GetLabels()["plot"] == plot {
				out[key] = m.GetProviderId()
			}
		}
	}
	return out
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }
