package spotoptimize

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// extensions is how often a plan is carried on from its own result.
const extensions = 4

// extend a plan by what the engine would propose when asked about its result, so
// that, asked then, it has nothing left to say.
func (q *problem) extend(p plan) plan {
	for range extensions {
		if len(p.gone) == len(q.w.replaceable()) {
			return p // the new nodes are left alone for a while, and no old ones are left
		}
		w := newWorld(q.after(p), q.w.market, q.w.at)
		next := newProblem(w, q.l, q.want, w.choices(q.want, q.scope()))
		next.extending, next.light = true, q.light
		next.keepOnDemand()
		next.excludeImmovable()
		more, ok := next.choose()
		if !ok {
			return p
		}
		longer := q.join(p, more.plan, w)
		q.harden(&longer)
		if q.w.broken(longer, q.l) != "" || !q.saves(longer) || q.w.costAfter(longer) >= q.w.costAfter(p) ||
			q.w.firstFailure(longer, q.waiting) != nil {
			return p
		}
		p = longer
	}
	return p
}

// scope is the limits with zones and architectures as this cluster has them, for
// they must not shrink when it does.
func (q *problem) scope() limits {
	l := q.l
	if len(l.zones) == 0 {
		l.zones = q.w.zones()
	}
	if len(l.architectures) == 0 {
		l.architectures = q.w.architectures()
	}
	return l
}

// after is the cluster's state when the plan is done, pods where the scheduler is
// foretold to put them.
func (q *problem) after(p plan) *fleetv1.ClusterState {
	r := q.w.rehearse(p, q.waiting, plain)
	state := &fleetv1.ClusterState{Region: q.w.state.GetRegion(), PodDisruptionBudgets: q.w.state.GetPodDisruptionBudgets()}
	for i, n := range q.w.nodes {
		if !slices.Contains(p.gone, i) {
			state.Nodes = append(state.Nodes, n.metric)
		}
	}
	for i, c := range p.buy {
		state.Nodes = append(state.Nodes, q.metric(c, p.newNode(i)))
		state.Pods = append(state.Pods, q.w.daemonPods(c, newName(i))...)
	}
	for i := range q.w.book.Pods() {
		pod, at := q.w.book.Pod(i), r.cluster.At(i)
		switch {
		case at >= 0 && r.cluster.Node(at).Name != pod.GetNodeName():
			moved := proto.CloneOf(pod)
			moved.NodeName = r.cluster.Node(at).Name
			state.Pods = append(state.Pods, moved)
		case at >= 0 || pod.GetNodeName() == "":
			state.Pods = append(state.Pods, pod)
		}
	}
	return state
}

// metric of a node that was bought.
func (q *problem) metric(c *column, n fit.Node) *fleetv1.NodeMetric {
	extended := map[string]int64{}
	if left := c.Type.Allocatable(); left.Accelerators > 0 {
		extended[left.Accelerator] = left.Accelerators
	}
	return &fleetv1.NodeMetric{
		NodeName: n.Name, InstanceType: c.Type.Name, InstanceId: n.Name, AvailabilityZone: c.Zone, NodeType: c.nodeType(), Labels: n.Labels, Taints: n.Taints,
		Ready: true, MaxPods: int32(n.Room.Pods), CreatedAt: timestamppb.New(q.w.at),
		CpuAllocatable: float64(n.Room.CPU) / 1000, MemoryAllocatableGb: float64(n.Room.Memory) / gib,
		Allocatable: &fleetv1.Resources{
			CpuMillicores: n.Room.CPU, MemoryBytes: n.Room.Memory, EphemeralStorageBytes: n.Room.Disk, Extended: extended,
		},
		Architecture: c.Type.Architecture, HourlyPrice: c.price, OnDemandHourlyPrice: c.OnDemand,
	}
}

// join a second plan, made for the result of the first, to it.
func (q *problem) join(first, second plan, w *world) plan {
	joined := plan{gone: slices.Clone(first.gone), buy: slices.Concat(first.buy, second.buy)}
	index := map[string]int{}
	for i, n := range q.w.nodes {
		index[n.metric.GetNodeName()] = i
	}
	for _, n := range second.gone {
		joined.gone = append(joined.gone, index[w.nodes[n].metric.GetNodeName()])
	}
	joined.gone = q.w.drainOrder(joined.gone)
	return joined
}

// daemonPods that a new node of the column gets.
func (w *world) daemonPods(c *column, name string) []*fleetv1.Pod {
	var pods []*fleetv1.Pod
	for _, d := range w.daemons {
		if c.hosts(d) {
			pod := proto.CloneOf(d.pod)
			pod.NodeName, pod.Name, pod.Uid = name, pod.GetOwner().GetName()+"-"+name, pod.GetOwner().GetName()+"-"+name
			pods = append(pods, pod)
		}
	}
	return pods
}
