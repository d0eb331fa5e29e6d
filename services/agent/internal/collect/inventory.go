package collect

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

const (
	pageObjects = 500
	pageBytes   = 512 << 10
	// ackPatience is how long a session may live without central taking what was
	// sent; then it gets everything anew.
	ackPatience = 2 * time.Minute
)

// print is the fingerprint of an object as central has it.
type print [16]byte

// inventory knows what central has, so that only differences travel. One
// goroutine uses it.
type inventory struct {
	view    *Collector
	nodes   map[string]print
	pods    map[types.UID]print
	budgets map[types.UID]print

	// sequence is the last one given out. It starts at the clock, so that no two
	// processes ever mean different inventories by one number.
	sequence int64
	acked    int64 // 0: central has no base of ours
	flight   *agentv1.InventoryDelta
	snapshot int64 // sequence of a snapshot on its way, 0 for none
	sentAt   time.Time
	rest     marks // did not fit into the last delta
}

func newInventory(view *Collector) *inventory {
	return &inventory{
		view: view, sequence: time.Now().UnixMilli(), rest: newMarks(),
		nodes: map[string]print{}, pods: map[types.UID]print{}, budgets: map[types.UID]print{},
	}
}

// inFlight says whether central still has to acknowledge something.
func (i *inventory) inFlight() bool { return i.flight != nil || i.snapshot != 0 }

func (i *inventory) acknowledged(sequence int64) {
	if i.inFlight() && sequence >= i.sequence {
		i.acked, i.flight, i.snapshot = i.sequence, nil, 0
	}
}

// forget that central has anything: the next word is a snapshot.
func (i *inventory) forget() { i.acked, i.flight, i.snapshot = 0, nil, 0 }

// sendSnapshot tells everything, page by page, as central takes it.
func (i *inventory) sendSnapshot(ctx context.Context, out Outbox) error {
	i.view.changed.take()
	i.rest = newMarks()
	i.nodes, i.pods, i.budgets = map[string]print{}, map[types.UID]print{}, map[types.UID]print{}
	i.forget()
	i.sequence++
	i.snapshot, i.sentAt = i.sequence, time.Now()

	p := &pager{ctx: ctx, out: out, sequence: i.sequence, page: &agentv1.InventorySnapshot{InventorySequence: i.sequence}}
	for _, node := range i.view.Nodes() {
		m := nodeMetric(node, i.view.PodsOn(node.Name))
		i.nodes[m.NodeName] = fingerprint(m)
		if p.page.Nodes = append(p.page.Nodes, m); p.full(m) {
			p.flush(false)
		}
	}
	for _, obj := range i.view.budgets.GetStore().List() {
		m := budgetMessage(obj.(*policyv1.PodDisruptionBudget))
		i.budgets[types.UID(m.Uid)] = fingerprint(m)
		if p.page.PodDisruptionBudgets = append(p.page.PodDisruptionBudgets, m); p.full(m) {
			p.flush(false)
		}
	}
	for _, obj := range i.view.pods.GetStore().List() {
		pod := obj.(*corev1.Pod)
		if drain.Finished(pod) {
			continue
		}
		m := podMessage(pod, i.view.volumeZones(pod))
		i.pods[pod.UID] = fingerprint(m)
		if p.page.Pods = append(p.page.Pods, m); p.full(m) {
			p.flush(false)
		}
	}
	p.flush(true)
	return p.err
}

// pager cuts a snapshot into pages. After an error it does nothing.
type pager struct {
	ctx      context.Context
	out      Outbox
	page     *agentv1.InventorySnapshot
	sequence int64
	objects  int
	bytes    int
	err      error
}

func (p *pager) full(added proto.Message) bool {
	p.objects++
	p.bytes += proto.Size(added) + 8
	// A page is cut before the next object could burst it; objects are limited
	// to 1.5 MiB by etcd, and stripped ones are far below.
	return p.objects >= pageObjects || p.bytes >= pageBytes-32<<10
}

func (p *pager) flush(last bool) {
	if p.err != nil {
		return
	}
	p.page.Last = last
	p.err = p.out.Bulk(p.ctx, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventorySnapshot{InventorySnapshot: p.page}})
	p.page = &agentv1.InventorySnapshot{InventorySequence: p.sequence, Page: p.page.Page + 1}
	p.objects, p.bytes = 0, 0
}

// sendDelta tells what changed since the last one, if anything did.
func (i *inventory) sendDelta(ctx context.Context, out Outbox) error {
	marked := i.view.changed.take()
	maps.Copy(marked.nodes, i.rest.nodes)
	maps.Copy(marked.pods, i.rest.pods)
	maps.Copy(marked.budgets, i.rest.budgets)
	i.rest = newMarks()
	b := &deltaBuilder{inventory: i, delta: &agentv1.InventoryDelta{}}
	for name := range marked.nodes {
		b.node(name)
	}
	for uid, key := range marked.budgets {
		b.budget(uid, key)
	}
	for uid, key := range marked.pods {
		b.pod(uid, key)
	}
	if b.objects == 0 {
		return nil
	}
	i.sequence++
	b.delta.InventorySequence = i.sequence
	i.flight = b.delta
	return i.resend(ctx, out)
}

// resend repeats the delta that was not acknowledged in an earlier session.
func (i *inventory) resend(ctx context.Context, out Outbox) error {
	i.sentAt = time.Now()
	return out.Bulk(ctx, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventoryDelta{InventoryDelta: i.flight}})
}

// deltaBuilder collects one delta; what does not fit waits for the next.
type deltaBuilder struct {
	*inventory
	delta   *agentv1.InventoryDelta
	objects int
	bytes   int
}

func (b *deltaBuilder) full() bool { return b.objects >= pageObjects || b.bytes >= pageBytes-32<<10 }

func (b *deltaBuilder) added(m proto.Message) {
	b.objects++
	b.bytes += proto.Size(m) + 8
}

func (b *deltaBuilder) removed(key string) {
	b.objects++
	b.bytes += len(key) + 4
}

func (b *deltaBuilder) node(name string) {
	if b.full() {
		b.rest.nodes[name] = true
		return
	}
	node, ok := b.view.Node(name)
	_, had := b.nodes[name]
	if !ok {
		if had {
			delete(b.nodes, name)
			b.delta.DeletedNodes = append(b.delta.DeletedNodes, name)
			b.removed(name)
		}
		return
	}
	m := nodeMetric(node, b.view.PodsOn(name))
	if sum := fingerprint(m); !had || b.nodes[name] != sum {
		b.nodes[name] = sum
		b.delta.Nodes = append(b.delta.Nodes, m)
		b.added(m)
	}
}

func (b *deltaBuilder) pod(uid types.UID, key string) {
	if b.full() {
		b.rest.pods[uid] = key
		return
	}
	obj, ok, err := b.view.pods.GetStore().GetByKey(key)
	pod, _ := obj.(*corev1.Pod)
	last, had := b.pods[uid]
	if err != nil || !ok || pod.UID != uid || drain.Finished(pod) {
		if had {
			delete(b.pods, uid)
			b.delta.DeletedPods = append(b.delta.DeletedPods, string(uid))
			b.removed(string(uid))
		}
		return
	}
	m := podMessage(pod, b.view.volumeZones(pod))
	if sum := fingerprint(m); !had || last != sum {
		b.pods[uid] = sum
		b.delta.Pods = append(b.delta.Pods, m)
		b.added(m)
	}
}

func (b *deltaBuilder) budget(uid types.UID, key string) {
	if b.full() {
		b.rest.budgets[uid] = key
		return
	}
	obj, ok, err := b.view.budgets.GetStore().GetByKey(key)
	pdb, _ := obj.(*policyv1.PodDisruptionBudget)
	last, had := b.budgets[uid]
	if err != nil || !ok || pdb.UID != uid {
		if had {
			delete(b.budgets, uid)
			b.delta.DeletedPodDisruptionBudgets = append(b.delta.DeletedPodDisruptionBudgets, string(uid))
			b.removed(string(uid))
		}
		return
	}
	m := budgetMessage(pdb)
	if sum := fingerprint(m); !had || last != sum {
		b.budgets[uid] = sum
		b.delta.PodDisruptionBudgets = append(b.delta.PodDisruptionBudgets, m)
		b.added(m)
	}
}

func fingerprint(m proto.Message) print {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return print{} // invalid UTF-8, which Kubernetes does not store
	}
	sum := sha256.Sum256(text)
	return print(sum[:16])
}

// Whole makes a report the whole inventory: what it does not name is gone.
func (c *Collector) Whole(m *fleetv1.ClusterMetrics) {
	m.Nodes, m.Complete = nil, true
	for _, node := range c.Nodes() {
		m.Nodes = append(m.Nodes, nodeMetric(node, c.PodsOn(node.Name)))
	}
	for _, obj := range c.budgets.GetStore().List() {
		m.PodDisruptionBudgets = append(m.PodDisruptionBudgets, budgetMessage(obj.(*policyv1.PodDisruptionBudget)))
	}
	for _, obj := range c.pods.GetStore().List() {
		if pod := obj.(*corev1.Pod); !drain.Finished(pod) {
			m.Pods = append(m.Pods, podMessage(pod, c.volumeZones(pod)))
		}
	}
}

// metrics is the documented report. Nodes carry the documented fields only: the
// rest, and the pods, travel as inventory.
func (c *Collector) metrics(now time.Time) *fleetv1.ClusterMetrics {
	m := &fleetv1.ClusterMetrics{ClusterId: c.cfg.ClusterID, Timestamp: timestamp(now)}
	size := 0
	for _, node := range c.Nodes() {
		n := shortNodeMetric(node, c.PodsOn(node.Name))
		m.Nodes = append(m.Nodes, n)
		size += proto.Size(n) + 4
		m.TotalNodes++
		if n.NodeType == "spot" {
			m.SpotNodes++
		} else {
			m.OnDemandNodes++
		}
		m.TotalCpu += n.CpuAllocatable
		m.TotalMemoryGb += n.MemoryAllocatableGb
		m.AllocatedCpu += n.CpuAllocated
		m.AllocatedMemoryGb += n.MemoryAllocatedGb
	}
	if size > pageBytes {
		m.Nodes = nil // thousands of nodes: the inventory has them, and one message must stay small
	}
	for _, obj := range c.pods.GetStore().List() {
		pod := obj.(*corev1.Pod)
		if drain.Finished(pod) {
			continue
		}
		m.TotalPods++
		switch pod.Status.Phase {
		case corev1.PodRunning:
			m.RunningPods++
		case corev1.PodPending:
			m.PendingPods++
		}
	}
	slices.SortFunc(m.Nodes, func(a, b *fleetv1.NodeMetric) int { return compareNames(a.NodeName, b.NodeName) })
	return m
}
