package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

func uid(i int) types.UID { return types.UID(fmt.Sprint("uid-", i)) }

// wire is an outbox; down makes it refuse.
type wire struct {
	msgs []*agentv1.ConnectRequest
	down bool
}

func (w *wire) Bulk(_ context.Context, m *agentv1.ConnectRequest) error {
	if w.down {
		return errors.New("no session")
	}
	w.msgs = append(w.msgs, proto.CloneOf(m))
	return nil
}

func (w *wire) Metrics(m *agentv1.ConnectRequest) { w.msgs = append(w.msgs, m) }

func (w *wire) deltas() (out []*agentv1.InventoryDelta) {
	for _, m := range w.msgs {
		if d := m.GetInventoryDelta(); d != nil {
			out = append(out, d)
		}
	}
	return out
}

func (w *wire) pages() (out []*agentv1.InventorySnapshot) {
	for _, m := range w.msgs {
		if s := m.GetInventorySnapshot(); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// nowhere answers no call: these tests fill the caches by hand.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no network") }

func filled(t *testing.T, w *wire, nodes, podsEach int) *Collector {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://api", Transport: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{ClusterID: "c", Client: client, Outbox: w, Log: slog.New(slog.DiscardHandler)})
	if err := c.pods.AddIndexers(cache.Indexers{byNode: nodeOfPod, byClaim: claimsOfPod}); err != nil {
		t.Fatal(err)
	}
	for n := range nodes {
		put(t, c.nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", n)}})
		for p := range podsEach {
			put(t, c.pods, numbered(n, n*podsEach+p))
		}
	}
	return c
}

func numbered(node, i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), Namespace: "ns", UID: uid(i), Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: fmt.Sprint("n", node)}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func put(t *testing.T, informer cache.SharedIndexInformer, obj any) {
	t.Helper()
	if err := informer.GetStore().Add(obj); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotIsCutIntoPages(t *testing.T) {
	w := &wire{}
	c := filled(t, w, 20, 100)
	put(t, c.budgets, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "ns", UID: "b"}})
	put(t, c.pods, func() *corev1.Pod { p := numbered(0, 99999); p.Status.Phase = corev1.PodSucceeded; return p }())
	if err := c.stock.sendSnapshot(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	pages := w.pages()
	if len(pages) != 5 {
		t.Fatalf("%d pages for 2,021 objects", len(pages))
	}
	nodes, pods, budgets := 0, 0, 0
	for i, p := range pages {
		size := len(p.GetNodes()) + len(p.GetPods()) + len(p.GetPodDisruptionBudgets())
		if p.GetPage() != int32(i) || p.GetLast() != (i == 4) || p.GetInventorySequence() != c.stock.sequence || size > 500 || proto.Size(p) > 512<<10 {
			t.Fatalf("page %d: page %d, last %v, sequence %d, %d objects, %d bytes", i, p.GetPage(), p.GetLast(), p.GetInventorySequence(), size, proto.Size(p))
		}
		nodes, pods, budgets = nodes+len(p.GetNodes()), pods+len(p.GetPods()), budgets+len(p.GetPodDisruptionBudgets())
	}
	if nodes != 20 || pods != 2000 || budgets != 1 {
		t.Fatalf("%d nodes, %d pods, %d budgets", nodes, pods, budgets)
	}
}

func TestEmptyClusterIsASnapshotToo(t *testing.T) {
	w := &wire{}
	if err := filled(t, w, 0, 0).stock.sendSnapshot(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if p := w.pages(); len(p) != 1 || !p[0].GetLast() {
		t.Fatalf("pages %v", p)
	}
}

// steps drives the loop's decisions without its goroutine.
func (c *Collector) step(t *testing.T, said signals) {
	t.Helper()
	said.online = true
	var now time.Time
	_ = c.inventoryStep(t.Context(), said, &now, 0) // an error is a lost session, which the next step is told of
}

func TestDeltaSaysOnlyWhatChangedAndWaitsForItsAck(t *testing.T) {
	w := &wire{}
	c := filled(t, w, 2, 3)
	c.step(t, signals{connected: true})
	first := c.stock.sequence
	if c.Sequence() != 0 {
		t.Fatal("a snapshot counts before its ack")
	}
	c.podChanged(numbered(0, 0)) // changed, but to the same
	c.step(t, signals{acked: first})
	if len(w.deltas()) != 0 || c.Sequence() != first {
		t.Fatalf("deltas %v, sequence %d", w.deltas(), c.Sequence())
	}

	put(t, c.pods, numbered(1, 50))
	c.podChanged(numbered(1, 50))
	c.podChanged(numbered(1, 50))
	c.step(t, signals{})
	d := w.deltas()
	if len(d) != 1 || len(d[0].GetPods()) != 1 || len(d[0].GetNodes()) != 1 || d[0].GetInventorySequence() != first+1 {
		t.Fatalf("deltas %v", d)
	}
	gone := numbered(0, 1)
	if err := c.pods.GetStore().Delete(gone); err != nil {
		t.Fatal(err)
	}
	c.podChanged(gone)
	c.step(t, signals{})
	if len(w.deltas()) != 1 {
		t.Fatal("a second delta left before the first was acknowledged")
	}
	c.step(t, signals{acked: first + 1})
	if d = w.deltas(); len(d) != 2 || len(d[1].GetDeletedPods()) != 1 || d[1].GetDeletedPods()[0] != string(gone.UID) || len(d[1].GetPods()) != 0 {
		t.Fatalf("deltas %v", d)
	}
}

func TestPodReplacedUnderItsNameIsDeletedAndNew(t *testing.T) {
	w := &wire{}
	c := filled(t, w, 1, 1)
	c.step(t, signals{connected: true})
	old, fresh := numbered(0, 0), numbered(0, 0)
	fresh.UID = "fresh"
	put(t, c.pods, fresh)
	c.podChanged(old)
	c.podChanged(fresh)
	c.step(t, signals{acked: c.stock.sequence})
	d := w.deltas()
	if len(d) != 1 || d[0].GetDeletedPods()[0] != "uid-0" || d[0].GetPods()[0].GetUid() != "fresh" {
		t.Fatalf("deltas %v", d)
	}
}

func TestBigChangeIsSplitAndNothingIsForgotten(t *testing.T) {
	w := &wire{}
	c := filled(t, w, 1, 0)
	c.step(t, signals{connected: true})
	for i := range 1300 {
		put(t, c.pods, numbered(0, i))
		c.podChanged(numbered(0, i))
	}
	told := map[string]bool{}
	for range 5 {
		c.step(t, signals{acked: c.stock.sequence})
	}
	for _, d := range w.deltas() {
		if n := len(d.GetPods()) + len(d.GetNodes()); n > 500 {
			t.Fatalf("a delta of %d objects", n)
		}
		for _, p := range d.GetPods() {
			told[p.GetUid()] = true
		}
	}
	if len(told) != 1300 || len(w.deltas()) != 3 {
		t.Fatalf("%d pods told in %d deltas", len(told), len(w.deltas()))
	}
}

func TestWhatASessionLostIsSaidAgain(t *testing.T) {
	change := func(c *Collector, w *wire) {
		put(t, c.pods, numbered(0, 7))
		c.podChanged(numbered(0, 7))
	}
	t.Run("a delta without its ack is repeated as it was", func(t *testing.T) {
		w := &wire{}
		c := filled(t, w, 1, 1)
		c.step(t, signals{connected: true})
		c.step(t, signals{acked: c.stock.sequence})
		change(c, w)
		w.down = true
		c.step(t, signals{})
		w.down = false
		c.step(t, signals{connected: true})
		c.step(t, signals{connected: true})
		d := w.deltas()
		if len(d) != 2 || !proto.Equal(d[0], d[1]) || len(w.pages()) != 1 {
			t.Fatalf("deltas %v, %d pages", d, len(w.pages()))
		}
	})
	t.Run("a snapshot that was cut begins anew", func(t *testing.T) {
		w := &wire{down: true}
		c := filled(t, w, 1, 1)
		c.step(t, signals{connected: true})
		w.down = false
		c.step(t, signals{connected: true})
		if p := w.pages(); len(p) != 1 || p[0].GetInventorySequence() != c.stock.sequence {
			t.Fatalf("pages %v", p)
		}
	})
	t.Run("central that has nothing gets everything", func(t *testing.T) {
		w := &wire{}
		c := filled(t, w, 1, 1)
		c.step(t, signals{connected: true})
		c.step(t, signals{acked: c.stock.sequence})
		change(c, w)
		c.step(t, signals{connected: true, resync: true})
		if p := w.pages(); len(p) != 2 || len(p[1].GetPods()) != 2 || len(w.deltas()) != 0 {
			t.Fatalf("pages %v, deltas %v", p, w.deltas())
		}
	})
	t.Run("an ack of an earlier inventory means nothing", func(t *testing.T) {
		w := &wire{}
		c := filled(t, w, 1, 1)
		c.step(t, signals{connected: true})
		c.step(t, signals{acked: c.stock.sequence - 1})
		if c.Sequence() != 0 || !c.stock.inFlight() {
			t.Fatal("an old ack was taken for the new one")
		}
	})
}

func TestCentralThatNeverAcknowledgesGetsEverythingAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		c := filled(t, w, 1, 1)
		c.step(t, signals{connected: true})
		time.Sleep(ackPatience - time.Second)
		c.step(t, signals{})
		if len(w.pages()) != 1 {
			t.Fatal("too early")
		}
		time.Sleep(2 * time.Second)
		c.step(t, signals{})
		if len(w.pages()) != 2 {
			t.Fatal("never")
		}
	})
}

func TestTwoProcessesNeverMeanDifferentThingsByOneSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := filled(t, &wire{}, 0, 0).stock
		for range 5 {
			_ = one.sendSnapshot(t.Context(), &wire{})
		}
		time.Sleep(time.Second)
		if two := filled(t, &wire{}, 0, 0).stock; two.sequence <= one.sequence {
			t.Fatalf("the later process begins at %d, the earlier is at %d", two.sequence, one.sequence)
		}
	})
}

func TestMetricsAddUpWhatNodesSay(t *testing.T) {
	c := filled(t, &wire{}, 3, 2)
	spot := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n0", Labels: map[string]string{"karpenter.sh/capacity-type": "spot"}}}
	spot.Status.Allocatable = amounts("cpu", "4", "memory", "8Gi")
	put(t, c.nodes, spot)
	pending := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "ns"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	done := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "ns"}, Status: corev1.PodStatus{Phase: corev1.PodFailed}}
	busy := numbered(0, 0)
	busy.Spec.Containers = []corev1.Container{container("a", "cpu", "1500m", "memory", "1Gi")}
	for _, p := range []*corev1.Pod{pending, done, busy} {
		put(t, c.pods, p)
	}
	m := c.metrics(born)
	if m.GetTotalNodes() != 3 || m.GetSpotNodes() != 1 || m.GetOnDemandNodes() != 2 || m.GetTotalPods() != 7 ||
		m.GetRunningPods() != 6 || m.GetPendingPods() != 1 || m.GetTotalCpu() != 4 || m.GetTotalMemoryGb() != 8 ||
		m.GetAllocatedCpu() != 1.5 || m.GetAllocatedMemoryGb() != 1 || len(m.GetNodes()) != 3 || len(m.GetPods()) != 0 || m.GetComplete() {
		t.Fatalf("metrics %v", m)
	}
	if m.GetNodes()[0].GetLabels() != nil || m.GetNodes()[0].GetNodeName() != "n0" {
		t.Fatalf("a node of the metrics: %v", m.GetNodes()[0])
	}
}

func TestStatusFollowsTheCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		c := filled(t, &wire{}, 0, 0)
		if c.Status() != "unhealthy" {
			t.Fatalf("empty caches are %s", c.Status())
		}
		c.synced.Store(true)
		if c.Status() != "healthy" {
			t.Fatalf("full caches are %s", c.Status())
		}
		c.watchError.Store(time.Now().UnixMilli())
		if c.Status() != "degraded" {
			t.Fatalf("a lost watch is %s", c.Status())
		}
		time.Sleep(61 * time.Second)
		if c.Status() != "healthy" {
			t.Fatalf("a watch that works again is %s", c.Status())
		}
	})
}

// The collector is what drains look at.
var _ drain.View = (*Collector)(nil)
