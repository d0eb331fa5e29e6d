package spotoptimize

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// world is the cluster as the engine sees it.
type world struct {
	state   *fleetv1.ClusterState
	market  *market.Snapshot
	at      time.Time
	book    *fit.Book
	nodes   []*node
	pending []int // pods that have no node yet
	daemons []*daemon
	disk    int64 // bytes that a new node's disk is taken to offer

	now *fit.Cluster // see today
}

// node is one node of the cluster and what is decided about it.
type node struct {
	metric *fleetv1.NodeMetric
	at     fit.Node
	price  float64 // USD per hour; 0: unknown
	vcpu   float64
	spot   bool
	pods   []int // all that have not finished
	moves  []int // those that must find a new place if it goes

	reason, detail string // why it is kept; empty while it may be replaced
}

// daemon is a DaemonSet: one pod of it comes with every new node that suits.
type daemon struct {
	pod      *fleetv1.Pod
	requests fit.Amounts
}

const (
	gib = 1 << 30
	// defaultDisk is what Karpenter takes to be left of EKS' default root volume of 20 GiB.
	defaultDisk = 17 * gib
	// defaultPods is the kubelet's own limit, for nodes that do not say theirs.
	defaultPods = 110
)

// newWorld sorts the state: which pods are where, which move with their node,
// which come with every node.
func newWorld(state *fleetv1.ClusterState, prices *market.Snapshot, now time.Time) *world {
	w := &world{state: state, market: prices, at: now}
	pods := slices.DeleteFunc(slices.Clone(state.GetPods()), finished)
	// Whatever order the caller's maps had, the answer is the same.
	slices.SortStableFunc(pods, func(a, b *fleetv1.Pod) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName()+"/"+a.GetUid(), b.GetNamespace()+"/"+b.GetName()+"/"+b.GetUid())
	})
	w.book = fit.NewBook(pods)
	index := map[string]*node{}
	metrics := slices.Clone(state.GetNodes())
	slices.SortStableFunc(metrics, func(a, b *fleetv1.NodeMetric) int { return strings.Compare(a.GetNodeName(), b.GetNodeName()) })
	for _, metric := range metrics {
		n := w.newNode(metric)
		w.nodes = append(w.nodes, n)
		index[metric.GetNodeName()] = n
	}
	for i, pod := range pods {
		w.settle(i, pod, index[pod.GetNodeName()])
	}
	w.findDaemons(pods)
	w.disk = w.leastDisk()
	w.classify()
	return w
}

func finished(pod *fleetv1.Pod) bool {
	return pod.GetPhase() == "Succeeded" || pod.GetPhase() == "Failed"
}

func (w *world) newNode(m *fleetv1.NodeMetric) *node {
	n := &node{metric: m, spot: m.GetNodeType() == "spot", price: m.GetHourlyPrice(), vcpu: m.GetCpuAllocatable()}
	if t, ok := w.market.Type(m.GetInstanceType()); ok {
		n.vcpu = float64(t.VCPU)
	}
	if n.price == 0 {
		n.price = w.marketPrice(m)
	}
	room := m.GetAllocatable()
	if room == nil {
		room = &fleetv1.Resources{CpuMillicores: int64(m.GetCpuAllocatable() * 1000), MemoryBytes: int64(m.GetMemoryAllocatableGb() * gib)}
	}
	amounts := w.book.Amounts(room)
	amounts.Pods = int64(m.GetMaxPods())
	if amounts.Pods == 0 {
		amounts.Pods = defaultPods
	}
	if amounts.Disk == 0 {
		amounts.Disk = 1 << 62 // not reported: not a reason to refuse what already runs there
	}
	n.at = fit.Node{
		Name: m.GetNodeName(), Labels: m.GetLabels(), Taints: m.GetTaints(), Room: amounts,
		Closed: m.GetUnschedulable() || !m.GetReady() || w.fresh(m),
	}
	return n
}

func (w *world) marketPrice(m *fleetv1.NodeMetric) float64 {
	if m.GetNodeType() == "spot" {
		return w.market.Spot(w.state.GetRegion(), m.GetInstanceType(), m.GetAvailabilityZone())
	}
	if m.GetOnDemandHourlyPrice() > 0 {
		return m.GetOnDemandHourlyPrice()
	}
	return w.market.OnDemand(w.state.GetRegion(), m.GetInstanceType())
}

// settle notes where a pod is and whether it must move with its node.
func (w *world) settle(i int, pod *fleetv1.Pod, on *node) {
	if on == nil {
		if pod.GetNodeName() == "" && !pod.GetTerminating() {
			w.pending = append(w.pending, i)
		}
		return
	}
	on.pods = append(on.pods, i)
	if !staysBehind(pod) {
		on.moves = append(on.moves, i)
	}
}

// staysBehind is a pod that ends with its node: nobody has to find it a place.
func staysBehind(pod *fleetv1.Pod) bool {
	return pod.GetOwner().GetKind() == "DaemonSet" || pod.GetMirror() || pod.GetTerminating()
}

// findDaemons takes one pod of each DaemonSet as its model, without the
// affinity to a node's name that the DaemonSet's controller adds to each.
func (w *world) findDaemons(pods []*fleetv1.Pod) {
	seen := map[string]*daemon{}
	for _, pod := range pods {
		if pod.GetOwner().GetKind() != "DaemonSet" {
			continue
		}
		requests := w.book.Amounts(pod.GetRequests())
		requests.Pods = 1
		id := pod.GetNamespace() + "/" + pod.GetOwner().GetName()
		if d := seen[id]; d != nil {
			d.requests.CPU, d.requests.Memory = max(d.requests.CPU, requests.CPU), max(d.requests.Memory, requests.Memory)
			continue
		}
		model := proto.CloneOf(pod)
		model.NodeAffinity = withoutFields(model.GetNodeAffinity())
		seen[id] = &daemon{pod: model, requests: requests}
		w.daemons = append(w.daemons, seen[id])
	}
}

func withoutFields(terms []*fleetv1.NodeSelectorTerm) []*fleetv1.NodeSelectorTerm {
	var rest []*fleetv1.NodeSelectorTerm
	for _, t := range terms {
		if len(t.GetMatchExpressions()) == 0 {
			return nil // one term without conditions admits every node
		}
		rest = append(rest, &fleetv1.NodeSelectorTerm{MatchExpressions: t.GetMatchExpressions()})
	}
	return rest
}

// leastDisk is the smallest disk among today's nodes: new ones start from the
// same launch template, whatever their type.
func (w *world) leastDisk() int64 {
	least := int64(0)
	for _, n := range w.nodes {
		if disk := n.metric.GetAllocatable().GetEphemeralStorageBytes(); disk > 0 && (least == 0 || disk < least) {
			least = disk
		}
	}
	if least == 0 {
		return defaultDisk
	}
	return least
}

// costPerHour of all nodes whose price is known.
func (w *world) costPerHour() float64 {
	sum := 0.0
	for _, n := range w.nodes {
		sum += n.price
	}
	return sum
}

// replaceable nodes, by index.
func (w *world) replaceable() []int {
	var all []int
	for i, n := range w.nodes {
		if n.reason == "" {
			all = append(all, i)
		}
	}
	return all
}
