package spotoptimize

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit/fittest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// replay carries a decision out step by step, reading nothing but the answer, on
// fittest's reading of the scheduler. It returns the cluster afterwards and the
// pods that found no place.
func replay(t *testing.T, prices *market.Snapshot, before *fleetv1.ClusterState, answer *mlv1.DecisionResponse, seed uint64) (*fleetv1.ClusterState, []*fleetv1.Pod) {
	t.Helper()
	state := proto.CloneOf(before)
	r := &replayer{world: &fittest.World{Nodes: state.Nodes, Pods: state.Pods}, rng: rand.New(rand.NewPCG(seed, seed)), noise: float64(seed%3) * 60}
	for _, step := range answer.ExecutionPlan {
		p := step.Parameters.AsMap()
		switch step.Action {
		case "launch_spot_instances", "launch_on_demand_instances":
			for range int(p["node_count"].(float64)) {
				r.launch(t, prices, p, step.Action == "launch_spot_instances")
			}
		case "taint_node":
			r.taint(p["node_type"].(string), p["taints"].([]any))
		case "cordon_node":
			for _, name := range p["node_names"].([]any) {
				r.node(name.(string)).Unschedulable = true
			}
		case "drain_node":
			for _, name := range p["node_names"].([]any) {
				r.drain(name.(string))
			}
		case "terminate_instances":
			for _, name := range p["node_names"].([]any) {
				r.terminate(name.(string))
			}
		}
	}
	r.settle()
	state.Nodes, state.Pods = r.world.Nodes, append(r.world.Pods, r.waiting...)
	for _, n := range state.Nodes {
		n.PodCount = 0
	}
	for _, p := range r.world.Pods {
		r.node(p.NodeName).PodCount++
	}
	return state, r.waiting
}

type replayer struct {
	world    *fittest.World
	waiting  []*fleetv1.Pod
	rng      *rand.Rand
	noise    float64
	launched int
}

func (r *replayer) node(name string) *fleetv1.NodeMetric {
	for _, n := range r.world.Nodes {
		if n.NodeName == name {
			return n
		}
	}
	return nil
}

func (r *replayer) launch(t *testing.T, prices *market.Snapshot, p map[string]any, spot bool) {
	t.Helper()
	r.launched++
	typeName, zone := p["instance_type"].(string), p["availability_zone"].(string)
	n := testNode(t, prices, fmt.Sprintf("fresh-%d-%d", len(r.world.Nodes), r.launched), typeName, zone)
	n.HourlyPrice = prices.OnDemand("us-east-1", typeName)
	if spot {
		n.NodeType, n.HourlyPrice = "spot", prices.Spot("us-east-1", typeName, zone)
		n.Labels["eks.amazonaws.com/capacityType"], n.Labels["karpenter.sh/capacity-type"] = "SPOT", "spot"
	}
	n.Labels["cloudoptim.io/capacity-type"] = n.NodeType
	n.CreatedAt = timestamppb.New(testNow)
	r.world.Nodes = append(r.world.Nodes, n)
	seen := map[string]bool{}
	for _, pod := range slices.Clone(r.world.Pods) {
		if pod.GetOwner().GetKind() == "DaemonSet" && !seen[pod.Owner.Name] {
			seen[pod.Owner.Name] = true
			mine := proto.CloneOf(pod)
			mine.Name, mine.Uid, mine.NodeName = pod.Owner.Name+"-"+n.NodeName, pod.Owner.Name+n.NodeName, n.NodeName
			mine.NodeAffinity = []*fleetv1.NodeSelectorTerm{{MatchFields: []*fleetv1.LabelRequirement{{Key: "metadata.name", Operator: "In", Values: []string{n.NodeName}}}}}
			r.world.Pods = append(r.world.Pods, mine)
		}
	}
}

// taint the launched nodes of a type.
func (r *replayer) taint(nodeType string, taints []any) {
	for _, n := range r.world.Nodes {
		if n.NodeType != nodeType || !strings.HasPrefix(n.NodeName, "fresh-") {
			continue
		}
		for _, one := range taints {
			t := one.(map[string]any)
			n.Taints = append(n.Taints, &fleetv1.Taint{Key: t["key"].(string), Value: t["value"].(string), Effect: t["effect"].(string)})
		}
	}
}

// take the pods off that a drain evicts.
func (r *replayer) drain(name string) {
	var stay []*fleetv1.Pod
	for _, p := range r.world.Pods {
		if p.NodeName == name && p.GetOwner().GetKind() != "DaemonSet" && !p.Mirror {
			p.NodeName = ""
			r.waiting = append(r.waiting, p)
		} else {
			stay = append(stay, p)
		}
	}
	r.world.Pods = stay
	r.settle()
}

func (r *replayer) terminate(name string) {
	r.world.Pods = slices.DeleteFunc(r.world.Pods, func(p *fleetv1.Pod) bool { return p.NodeName == name })
	r.world.Nodes = slices.DeleteFunc(r.world.Nodes, func(n *fleetv1.NodeMetric) bool { return n.NodeName == name })
}

// settle lets waiting pods try until none finds a place any more.
func (r *replayer) settle() {
	for {
		progress := false
		r.rng.Shuffle(len(r.waiting), func(i, j int) { r.waiting[i], r.waiting[j] = r.waiting[j], r.waiting[i] })
		var still []*fleetv1.Pod
		for _, pod := range r.waiting {
			if n := r.choose(pod); n != nil {
				pod.NodeName = n.NodeName
				r.world.Pods = append(r.world.Pods, pod)
				progress = true
			} else {
				still = append(still, pod)
			}
		}
		r.waiting = still
		if !progress || len(still) == 0 {
			return
		}
	}
}

// choose the node with most room left, with noise; those that a taint speaks
// against come last.
func (r *replayer) choose(pod *fleetv1.Pod) *fleetv1.NodeMetric {
	var best *fleetv1.NodeMetric
	score := 0.0
	for _, n := range r.world.Nodes {
		if r.world.Refusal(pod, n) != "" {
			continue
		}
		cpu, memory := 0.0, 0.0
		for _, p := range r.world.Pods {
			if p.NodeName == n.NodeName {
				cpu += float64(p.GetRequests().GetCpuMillicores())
				memory += float64(p.GetRequests().GetMemoryBytes())
			}
		}
		free := 100 - 50*cpu/float64(n.Allocatable.CpuMillicores) - 50*memory/float64(n.Allocatable.MemoryBytes)
		if r.world.Discouraged(pod, n) {
			free -= 300
		}
		if s := free + r.noise*r.rng.Float64(); best == nil || s > score {
			best, score = n, s
		}
	}
	return best
}
