// Package scene is the cluster as an engine sees it: which pods are where, which
// move with their node, which nodes must stay and why.
package scene

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// World is the cluster as an engine sees it. Indices of pods are those of Book,
// indices of nodes those of Nodes.
type World struct {
	State   *fleetv1.ClusterState
	Market  *market.Snapshot
	At      time.Time
	Book    *fit.Book
	Nodes   []*Node
	Pending []int // pods that have no node yet
	Daemons []*Daemon
	Disk    int64 // bytes that a new node's disk is taken to offer

	rules Rules
	today *fit.Cluster // see Today
}

// Rules about who must stay that engines do not share.
type Rules struct {
	// KeepSpot leaves spot nodes as they are.
	KeepSpot bool
	// Settle is how long a node that CloudOptim bought is left alone, and its spare
	// room not counted on. Plans carry insurance against the scheduler's freedom; once
	// the pods have landed, the next decision would see that some of it was not
	// needed, and move them again.
	Settle time.Duration
	// Protected namespaces, whose pods are not moved; path.Match patterns.
	Protected []string
}

// Node is one node of the cluster and what is decided about it.
type Node struct {
	Metric *fleetv1.NodeMetric
	Place  fit.Node
	Price  float64 // USD per hour; 0: unknown
	VCPU   float64
	Spot   bool
	Pods   []int // all that have not finished
	Moves  []int // those that must find a new place if it goes

	Reason, Detail string // why it is kept; empty while it may be replaced
}

// Daemon is a DaemonSet: one pod of it comes with every new node that suits.
type Daemon struct {
	Pod      *fleetv1.Pod
	Requests fit.Amounts
}

const (
	// GiB in bytes.
	GiB = 1 << 30
	// defaultDisk is what Karpenter takes to be left of EKS' default root volume of 20 GiB.
	defaultDisk = 17 * GiB
	// defaultPods is the kubelet's own limit, for nodes that do not say theirs.
	defaultPods = 110
)

// New sorts the state: which pods are where, which move with their node,
// which come with every node.
func New(state *fleetv1.ClusterState, prices *market.Snapshot, now time.Time, rules Rules) *World {
	w := &World{State: state, Market: prices, At: now, rules: rules}
	pods := slices.DeleteFunc(slices.Clone(state.GetPods()), finished)
	// Whatever order the caller's maps had, the answer is the same.
	slices.SortStableFunc(pods, func(a, b *fleetv1.Pod) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName()+"/"+a.GetUid(), b.GetNamespace()+"/"+b.GetName()+"/"+b.GetUid())
	})
	w.Book = fit.NewBook(pods)
	index := map[string]*Node{}
	metrics := slices.Clone(state.GetNodes())
	slices.SortStableFunc(metrics, func(a, b *fleetv1.NodeMetric) int { return strings.Compare(a.GetNodeName(), b.GetNodeName()) })
	for _, metric := range metrics {
		n := w.newNode(metric)
		w.Nodes = append(w.Nodes, n)
		index[metric.GetNodeName()] = n
	}
	for i, pod := range pods {
		w.settle(i, pod, index[pod.GetNodeName()])
	}
	w.findDaemons(pods)
	w.Disk = w.leastDisk()
	w.classify()
	return w
}

func finished(pod *fleetv1.Pod) bool {
	return pod.GetPhase() == "Succeeded" || pod.GetPhase() == "Failed"
}

func (w *World) newNode(m *fleetv1.NodeMetric) *Node {
	n := &Node{Metric: m, Spot: m.GetNodeType() == "spot", Price: m.GetHourlyPrice(), VCPU: m.GetCpuAllocatable()}
	if t, ok := w.Market.Type(m.GetInstanceType()); ok {
		n.VCPU = float64(t.VCPU)
	}
	if n.Price == 0 {
		n.Price = w.marketPrice(m)
	}
	room := m.GetAllocatable()
	if room == nil {
		room = &fleetv1.Resources{CpuMillicores: int64(m.GetCpuAllocatable() * 1000), MemoryBytes: int64(m.GetMemoryAllocatableGb() * GiB)}
	}
	amounts := w.Book.Amounts(room)
	amounts.Pods = int64(m.GetMaxPods())
	if amounts.Pods == 0 {
		amounts.Pods = defaultPods
	}
	if amounts.Disk == 0 {
		amounts.Disk = 1 << 62 // not reported: not a reason to refuse what already runs there
	}
	n.Place = fit.Node{
		Name: m.GetNodeName(), Labels: m.GetLabels(), Taints: m.GetTaints(), Room: amounts,
		Closed: m.GetUnschedulable() || !m.GetReady() || w.Fresh(m),
	}
	return n
}

func (w *World) marketPrice(m *fleetv1.NodeMetric) float64 {
	if m.GetNodeType() == "spot" {
		return w.Market.Spot(w.State.GetRegion(), m.GetInstanceType(), m.GetAvailabilityZone())
	}
	if m.GetOnDemandHourlyPrice() > 0 {
		return m.GetOnDemandHourlyPrice()
	}
	return w.Market.OnDemand(w.State.GetRegion(), m.GetInstanceType())
}

// settle notes where a pod is and whether it must move with its node.
func (w *World) settle(i int, pod *fleetv1.Pod, on *Node) {
	if on == nil {
		if pod.GetNodeName() == "" && !pod.GetTerminating() {
			w.Pending = append(w.Pending, i)
		}
		return
	}
	on.Pods = append(on.Pods, i)
	if !StaysBehind(pod) {
		on.Moves = append(on.Moves, i)
	}
}

// StaysBehind is a pod that ends with its node: nobody has to find it a place.
func StaysBehind(pod *fleetv1.Pod) bool {
	return pod.GetOwner().GetKind() == "DaemonSet" || pod.GetMirror() || pod.GetTerminating()
}

// findDaemons takes one pod of each DaemonSet as its model, without the
// affinity to a node's name that the DaemonSet's controller adds to each.
func (w *World) findDaemons(pods []*fleetv1.Pod) {
	seen := map[string]*Daemon{}
	for _, pod := range pods {
		if pod.GetOwner().GetKind() != "DaemonSet" {
			continue
		}
		requests := w.Book.Amounts(pod.GetRequests())
		requests.Pods = 1
		id := pod.GetNamespace() + "/" + pod.GetOwner().GetName()
		if d := seen[id]; d != nil {
			d.Requests.CPU, d.Requests.Memory = max(d.Requests.CPU, requests.CPU), max(d.Requests.Memory, requests.Memory)
			continue
		}
		model := proto.CloneOf(pod)
		model.NodeAffinity = withoutFields(model.GetNodeAffinity())
		seen[id] = &Daemon{Pod: model, Requests: requests}
		w.Daemons = append(w.Daemons, seen[id])
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
func (w *World) leastDisk() int64 {
	least := int64(0)
	for _, n := range w.Nodes {
		if disk := n.Metric.GetAllocatable().GetEphemeralStorageBytes(); disk > 0 && (least == 0 || disk < least) {
			least = disk
		}
	}
	if least == 0 {
		return defaultDisk
	}
	return least
}

// CostPerHour of all nodes whose price is known.
func (w *World) CostPerHour() float64 {
	sum := 0.0
	for _, n := range w.Nodes {
		sum += n.Price
	}
	return sum
}

// Replaceable nodes, by index.
func (w *World) Replaceable() []int {
	var all []int
	for i, n := range w.Nodes {
		if n.Reason == "" {
			all = append(all, i)
		}
	}
	return all
}

// Today is a copy of the cluster as it is; node indices are those of Nodes.
func (w *World) Today() *fit.Cluster {
	if w.today == nil {
		w.today = fit.NewCluster(w.Book)
		for i, n := range w.Nodes {
			w.today.AddNode(n.Place)
			for _, pod := range n.Pods {
				w.today.Place(pod, i)
			}
		}
	}
	return w.today.Clone()
}
