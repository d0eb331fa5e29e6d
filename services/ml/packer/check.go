package main

import (
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit/fittest"
)

// verdict on a plan.
type verdict struct {
	Cost     float64  `json:"cost"` // by the catalogue, whatever the plan says
	Nodes    int      `json:"nodes"`
	Placed   int      `json:"placed"`
	Unplaced int      `json:"unplaced"` // pods that the plan leaves out
	Broken   []string `json:"broken"`   // what does not hold; empty: the plan holds
}

// check a plan, whoever made it: each pod at most once, on nodes that can be bought,
// and all of them land there in some order by the scheduler's filters as package
// fittest reads them.
func (w *workload) check(a *answer) *verdict {
	v := &verdict{Nodes: len(a.Nodes), Broken: []string{}}
	world := &fittest.World{}
	meant := map[string]*fleetv1.NodeMetric{}
	for i := range a.Nodes {
		b := &a.Nodes[i]
		c := w.find(b)
		if c == nil {
			v.Broken = append(v.Broken, fmt.Sprintf("node %d: nobody sells %s in %s, %s, %s", i, b.Type, b.Zone, b.Capacity, b.Pool))
			continue
		}
		v.Cost += c.price
		node := c.metric(fmt.Sprintf("node-%d", i))
		world.Nodes = append(world.Nodes, node)
		w.host(world, node)
		for _, pod := range b.Pods {
			if meant[pod] != nil {
				v.Broken = append(v.Broken, pod+" is placed twice")
			}
			meant[pod] = node
		}
	}
	v.Placed, v.Unplaced = len(meant), len(w.pods)-len(meant)
	v.Broken = append(v.Broken, w.land(world, meant)...)
	return v
}

// find the column of a node. Engines that do not name the pool mean the first.
func (w *workload) find(b *bought) *column {
	for i := range w.columns {
		c := &w.columns[i]
		if c.kind.Name == b.Type && c.zone == b.Zone && c.capacity == b.Capacity && (b.Pool == "" || b.Pool == c.pool.Name) {
			return c
		}
	}
	return nil
}

func (c *column) metric(name string) *fleetv1.NodeMetric {
	labels := maps.Clone(c.labels)
	labels["kubernetes.io/hostname"] = name
	return &fleetv1.NodeMetric{
		NodeName: name, Labels: labels, Taints: c.taints, Ready: true, MaxPods: int32(c.kind.MaxPods),
		Allocatable: &fleetv1.Resources{
			CpuMillicores: c.kind.CPUMilli - c.kind.OverheadCPUMilli, MemoryBytes: c.kind.MemBytes - c.kind.OverheadMemBytes,
		},
	}
}

// host the DaemonSets' pods.
func (w *workload) host(world *fittest.World, node *fleetv1.NodeMetric) {
	for _, d := range w.daemons {
		if world.Refusal(d, node) == "" {
			pod := proto.CloneOf(d)
			pod.NodeName = node.GetNodeName()
			world.Pods = append(world.Pods, pod)
		}
	}
}

// land the pods on the nodes that they are meant for, in any order that works.
func (w *workload) land(world *fittest.World, meant map[string]*fleetv1.NodeMetric) (broken []string) {
	known := map[string]bool{}
	var waiting []*fleetv1.Pod
	for _, pod := range w.pods {
		known[pod.GetName()] = true
		if meant[pod.GetName()] != nil {
			waiting = append(waiting, proto.CloneOf(pod))
		}
	}
	for pod := range meant {
		if !known[pod] {
			broken = append(broken, "there is no pod "+pod)
		}
	}
	for len(waiting) > 0 {
		var stuck []*fleetv1.Pod
		why := map[string]string{}
		for _, pod := range waiting {
			node := meant[pod.GetName()]
			if why[pod.GetName()] = world.Refusal(pod, node); why[pod.GetName()] != "" {
				stuck = append(stuck, pod)
				continue
			}
			pod.NodeName = node.GetNodeName()
			world.Pods = append(world.Pods, pod)
		}
		if len(stuck) == len(waiting) {
			for _, pod := range stuck {
				broken = append(broken, pod.GetName()+": "+why[pod.GetName()])
			}
			return broken
		}
		waiting = stuck
	}
	return broken
}
