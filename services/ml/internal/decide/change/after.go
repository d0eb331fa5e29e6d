package change

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// After is the cluster's state when the plan is done and pods are where c has them:
// the end of a rehearsal.
func (p Plan) After(w *scene.World, c *fit.Cluster) *fleetv1.ClusterState {
	state := &fleetv1.ClusterState{Region: w.State.GetRegion(), PodDisruptionBudgets: w.State.GetPodDisruptionBudgets()}
	for i, n := range w.Nodes {
		if !slices.Contains(p.Gone, i) {
			state.Nodes = append(state.Nodes, n.Metric)
		}
	}
	state.Nodes = append(state.Nodes, p.Metrics(w)...)
	for i, bought := range p.Buy {
		state.Pods = append(state.Pods, daemonPods(w, bought, NewName(i))...)
	}
	for i := range w.Book.Pods() {
		pod, at := w.Book.Pod(i), c.At(i)
		switch {
		case at >= 0 && c.Node(at).Name != pod.GetNodeName():
			moved := proto.CloneOf(pod)
			moved.NodeName = c.Node(at).Name
			state.Pods = append(state.Pods, moved)
		case at >= 0 || pod.GetNodeName() == "":
			state.Pods = append(state.Pods, pod)
		}
	}
	return state
}

// Metrics of the new nodes as they are expected to look.
func (p Plan) Metrics(w *scene.World) []*fleetv1.NodeMetric {
	var all []*fleetv1.NodeMetric
	for i, c := range p.Buy {
		all = append(all, metric(w, c, p.NewNode(i)))
	}
	return all
}

// metric of a node that was bought.
func metric(w *scene.World, c *shop.Column, n fit.Node) *fleetv1.NodeMetric {
	extended := map[string]int64{}
	if left := c.Type.Allocatable(); left.Accelerators > 0 {
		extended[left.Accelerator] = left.Accelerators
	}
	return &fleetv1.NodeMetric{
		NodeName: n.Name, InstanceType: c.Type.Name, InstanceId: n.Name, AvailabilityZone: c.Zone, NodeType: c.NodeType(), Labels: n.Labels, Taints: n.Taints,
		Ready: true, MaxPods: int32(n.Room.Pods), CreatedAt: timestamppb.New(w.At),
		CpuAllocatable: float64(n.Room.CPU) / 1000, MemoryAllocatableGb: float64(n.Room.Memory) / scene.GiB,
		Allocatable: &fleetv1.Resources{
			CpuMillicores: n.Room.CPU, MemoryBytes: n.Room.Memory, EphemeralStorageBytes: n.Room.Disk, Extended: extended,
		},
		Architecture: c.Type.Architecture, HourlyPrice: c.Price, OnDemandHourlyPrice: c.OnDemand,
	}
}

// daemonPods that a new node of the column gets.
func daemonPods(w *scene.World, c *shop.Column, name string) []*fleetv1.Pod {
	var pods []*fleetv1.Pod
	for _, d := range w.Daemons {
		if c.Hosts(d) {
			pod := proto.CloneOf(d.Pod)
			pod.NodeName, pod.Name, pod.Uid = name, pod.GetOwner().GetName()+"-"+name, pod.GetOwner().GetName()+"-"+name
			pods = append(pods, pod)
		}
	}
	return pods
}
