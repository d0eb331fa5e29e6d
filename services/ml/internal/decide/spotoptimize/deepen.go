package spotoptimize

import (
	"slices"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// deepen optimizes the result of a plan again and takes what that adds, until
// nothing does: asked about its own result, the engine then has nothing to say.
func (q *problem) deepen(o outcome) outcome {
	for range deepenings {
		after, names := q.after(o.plan)
		w := newWorld(after, q.w.market)
		if len(w.replaceable()) == 0 {
			return o
		}
		next := newProblem(w, q.l, q.want, w.columns(q.want, q.scope()))
		next.excludeImmovable()
		better, ok := next.choose()
		if !ok {
			return o
		}
		merged := q.merge(o.plan, better.plan, w, names)
		if q.w.broken(merged, q.l) != "" || !q.saves(merged) || q.w.worth(merged) >= q.w.worth(o.plan) || q.w.firstFailure(merged, q.waiting) != nil {
			return o
		}
		o.plan = merged
	}
	return o
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
// foretold to put them; names gives the new nodes' place in the plan.
func (q *problem) after(p plan) (*fleetv1.ClusterState, map[string]int) {
	r := q.w.rehearse(p, q.waiting, plain)
	state := &fleetv1.ClusterState{Region: q.w.state.GetRegion(), PodDisruptionBudgets: q.w.state.GetPodDisruptionBudgets()}
	for i, n := range q.w.nodes {
		if !slices.Contains(p.gone, i) {
			state.Nodes = append(state.Nodes, n.metric)
		}
	}
	names := map[string]int{}
	for i, c := range p.buy {
		names[newName(i)] = i
		state.Nodes = append(state.Nodes, q.metric(c, newName(i)))
		state.Pods = append(state.Pods, q.w.daemonPods(c, newName(i))...)
	}
	for i := range q.w.book.Pods() {
		pod := q.w.book.Pod(i)
		at := r.cluster.At(i)
		switch {
		case at >= 0 && r.cluster.Node(at).Name != pod.GetNodeName():
			moved := proto.CloneOf(pod)
			moved.NodeName = r.cluster.Node(at).Name
			state.Pods = append(state.Pods, moved)
		case at >= 0 || pod.GetNodeName() == "":
			state.Pods = append(state.Pods, pod)
		}
	}
	return state, names
}

// metric of a node that was bought.
func (q *problem) metric(c *column, name string) *fleetv1.NodeMetric {
	n := c.node(name)
	extended := map[string]int64{}
	if left := c.Type.Allocatable(); left.Accelerators > 0 {
		extended[left.Accelerator] = left.Accelerators
	}
	return &fleetv1.NodeMetric{
		NodeName: name, InstanceType: c.Type.Name, AvailabilityZone: c.Zone, NodeType: c.nodeType(), Labels: n.Labels, Ready: true,
		CpuAllocatable: float64(n.Room.CPU) / 1000, MemoryAllocatableGb: float64(n.Room.Memory) / gib, MaxPods: int32(n.Room.Pods),
		Allocatable: &fleetv1.Resources{
			CpuMillicores: n.Room.CPU, MemoryBytes: n.Room.Memory, EphemeralStorageBytes: n.Room.Disk, Extended: extended,
		},
		Architecture: c.Type.Architecture, HourlyPrice: c.price, OnDemandHourlyPrice: c.OnDemand,
	}
}

// merge a second plan, made for the result of the first, into it.
func (q *problem) merge(first, second plan, w *world, names map[string]int) plan {
	merged := plan{gone: slices.Clone(first.gone)}
	dropped := map[int]bool{}
	index := map[string]int{}
	for i, n := range q.w.nodes {
		index[n.metric.GetNodeName()] = i
	}
	for _, n := range second.gone {
		name := w.nodes[n].metric.GetNodeName()
		if i, bought := names[name]; bought {
			dropped[i] = true
		} else {
			merged.gone = append(merged.gone, index[name])
		}
	}
	for i, c := range first.buy {
		if !dropped[i] {
			merged.buy = append(merged.buy, c)
		}
	}
	merged.buy = append(merged.buy, second.buy...)
	merged.gone = q.w.drainOrder(merged.gone)
	return merged
}
