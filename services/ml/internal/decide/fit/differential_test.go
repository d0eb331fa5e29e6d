package fit_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit/fittest"
)

var (
	topologies = []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone", "rack"}
	apps       = []string{"a", "b", "c"}
	namespaces = []string{"one", "two"}
)

func drawSelector(t *rapid.T) *fleetv1.LabelSelector {
	switch rapid.IntRange(0, 4).Draw(t, "selector kind") {
	case 0:
		return nil
	case 1:
		return &fleetv1.LabelSelector{}
	case 2:
		return &fleetv1.LabelSelector{MatchExpressions: []*fleetv1.LabelRequirement{drawRequirement(t, []string{"app", "number"}, apps)}}
	}
	return &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "app")}}
}

func drawRequirement(t *rapid.T, keys, values []string) *fleetv1.LabelRequirement {
	r := &fleetv1.LabelRequirement{
		Key:      rapid.SampledFrom(keys).Draw(t, "key"),
		Operator: rapid.SampledFrom([]string{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Odd"}).Draw(t, "operator"),
	}
	switch r.Operator {
	case "Gt", "Lt":
		r.Values = []string{rapid.SampledFrom([]string{"1", "2", "x"}).Draw(t, "number")}
	case "In", "NotIn":
		r.Values = []string{rapid.SampledFrom(values).Draw(t, "value")}
	}
	return r
}

func drawNode(t *rapid.T, i int) *fleetv1.NodeMetric {
	name := fmt.Sprintf("n%d", i)
	n := &fleetv1.NodeMetric{
		NodeName: name, Ready: rapid.IntRange(0, 9).Draw(t, "ready") > 0, Unschedulable: rapid.IntRange(0, 9).Draw(t, "cordoned") == 0,
		MaxPods: int32(rapid.IntRange(1, 6).Draw(t, "max pods")),
		Allocatable: &fleetv1.Resources{
			CpuMillicores: rapid.Int64Range(1, 4).Draw(t, "cpu") * 1000, MemoryBytes: rapid.Int64Range(1, 4).Draw(t, "memory") << 30,
			EphemeralStorageBytes: rapid.Int64Range(0, 2).Draw(t, "disk") << 30,
			Extended:              map[string]int64{"gpu": rapid.Int64Range(0, 1).Draw(t, "gpu")},
		},
		Labels: map[string]string{"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "zone")},
	}
	if rapid.Bool().Draw(t, "in rack") {
		n.Labels["rack"] = rapid.SampledFrom([]string{"1", "2"}).Draw(t, "rack")
	}
	if rapid.IntRange(0, 3).Draw(t, "tainted") == 0 {
		n.Taints = []*fleetv1.Taint{{
			Key: rapid.SampledFrom([]string{"t", "u"}).Draw(t, "taint"), Value: "v",
			Effect: rapid.SampledFrom([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}).Draw(t, "effect"),
		}}
	}
	return n
}

func drawTerm(t *rapid.T) *fleetv1.PodAffinityTerm {
	return &fleetv1.PodAffinityTerm{
		Selector: drawSelector(t), TopologyKey: rapid.SampledFrom(topologies).Draw(t, "topology"),
		Namespaces:        rapid.SampledFrom([][]string{nil, nil, {"one"}, namespaces}).Draw(t, "namespaces"),
		NamespaceSelector: rapid.IntRange(0, 5).Draw(t, "namespace selector") == 0,
	}
}

func drawPod(t *rapid.T, i int) *fleetv1.Pod {
	p := &fleetv1.Pod{
		Uid: fmt.Sprintf("u%d", i), Name: fmt.Sprintf("p%d", i), Namespace: rapid.SampledFrom(namespaces).Draw(t, "namespace"),
		Labels:      map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "label"), "number": rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "n")},
		Terminating: rapid.IntRange(0, 9).Draw(t, "terminating") == 0,
		Requests: &fleetv1.Resources{
			CpuMillicores: rapid.Int64Range(0, 3).Draw(t, "cpu") * 500, MemoryBytes: rapid.Int64Range(0, 3).Draw(t, "memory") << 29,
			EphemeralStorageBytes: rapid.Int64Range(0, 1).Draw(t, "disk") << 30,
		},
	}
	rare := func(what string) bool { return rapid.IntRange(0, 4).Draw(t, what) == 0 }
	if rare("wants gpu") {
		p.Requests.Extended = map[string]int64{"gpu": 1}
	}
	if rare("wants port") {
		p.HostPorts = []int32{80}
	}
	if rare("has volume") {
		p.VolumeZones = []string{"x"}
	}
	if rare("node selector") {
		p.NodeSelector = map[string]string{"topology.kubernetes.io/zone": "x"}
	}
	for range rapid.IntRange(0, 2).Draw(t, "node terms") / 2 {
		p.NodeAffinity = append(p.NodeAffinity,
			&fleetv1.NodeSelectorTerm{MatchExpressions: []*fleetv1.LabelRequirement{drawRequirement(t, []string{"rack", "topology.kubernetes.io/zone"}, []string{"1", "x"})}},
			&fleetv1.NodeSelectorTerm{MatchFields: []*fleetv1.LabelRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"n1"}}}})
	}
	if rare("tolerates") {
		p.Tolerations = []*fleetv1.Toleration{{
			Key:      rapid.SampledFrom([]string{"", "t", "node.kubernetes.io/unschedulable"}).Draw(t, "toleration"),
			Operator: rapid.SampledFrom([]string{"", "Exists", "Equal"}).Draw(t, "toleration operator"),
			Value:    rapid.SampledFrom([]string{"", "v"}).Draw(t, "toleration value"),
			Effect:   rapid.SampledFrom([]string{"", "NoSchedule"}).Draw(t, "toleration effect"),
		}}
	}
	if rare("affinity") {
		p.PodAffinity = append(p.PodAffinity, drawTerm(t))
	}
	if rare("anti-affinity") {
		p.PodAntiAffinity = append(p.PodAntiAffinity, drawTerm(t))
	}
	for range rapid.IntRange(0, 2).Draw(t, "spreads") {
		p.TopologySpread = append(p.TopologySpread, &fleetv1.TopologySpread{
			MaxSkew: int32(rapid.IntRange(1, 2).Draw(t, "skew")), TopologyKey: rapid.SampledFrom(topologies).Draw(t, "spread key"),
			WhenUnsatisfiable: rapid.SampledFrom([]string{"DoNotSchedule", "ScheduleAnyway"}).Draw(t, "when"),
			Selector:          drawSelector(t), MinDomains: int32(rapid.IntRange(0, 3).Draw(t, "min domains")),
		})
	}
	return p
}

// Two readings of the same documentation, one incremental and one from scratch,
// must agree after any sequence of pods coming and going and nodes leaving.
func TestFitsAgreesWithASecondReadingOfTheFilters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := &fittest.World{}
		for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
			world.Nodes = append(world.Nodes, drawNode(t, i))
		}
		var pods []*fleetv1.Pod
		for i := range rapid.IntRange(1, 9).Draw(t, "pods") {
			pods = append(pods, drawPod(t, i))
		}
		book := fit.NewBook(pods)
		c := fit.NewCluster(book)
		for _, n := range world.Nodes {
			room := book.Amounts(n.Allocatable)
			room.Pods = int64(n.MaxPods)
			c.AddNode(fit.Node{Name: n.NodeName, Labels: n.Labels, Taints: n.Taints, Room: room, Closed: n.Unschedulable || !n.Ready})
		}
		nodes := append([]*fleetv1.NodeMetric{}, world.Nodes...)
		for step := range rapid.IntRange(1, 20).Draw(t, "steps") {
			i := rapid.IntRange(0, len(pods)-1).Draw(t, "pod")
			if c.At(i) >= 0 && rapid.IntRange(0, 2).Draw(t, "leave") == 0 {
				c.Remove(i)
				pods[i].NodeName = ""
			}
			if step == 12 && len(nodes) > 1 {
				leave(c, world, pods, nodes[0].NodeName)
			}
			world.Pods = placed(pods)
			compare(t, c, world, nodes, pods)
			node := rapid.IntRange(0, len(nodes)-1).Draw(t, "node")
			if c.At(i) < 0 && c.Fits(i, node) {
				c.Place(i, node)
				pods[i].NodeName = nodes[node].NodeName
			}
		}
	})
}

func placed(pods []*fleetv1.Pod) []*fleetv1.Pod {
	var on []*fleetv1.Pod
	for _, p := range pods {
		if p.NodeName != "" {
			on = append(on, p)
		}
	}
	return on
}

func leave(c *fit.Cluster, world *fittest.World, pods []*fleetv1.Pod, name string) {
	c.RemoveNode(0)
	var rest []*fleetv1.NodeMetric
	for _, n := range world.Nodes {
		if n.NodeName != name {
			rest = append(rest, n)
		}
	}
	world.Nodes = rest
	for _, p := range pods {
		if p.NodeName == name {
			p.NodeName = ""
		}
	}
}

func compare(t *rapid.T, c *fit.Cluster, world *fittest.World, nodes []*fleetv1.NodeMetric, pods []*fleetv1.Pod) {
	for i, p := range pods {
		if c.At(i) >= 0 {
			continue
		}
		for n, node := range nodes {
			there := false
			for _, known := range world.Nodes {
				there = there || proto.Equal(known, node)
			}
			why := "gone"
			if there {
				why = world.Refusal(p, node)
			}
			if got := c.Fits(i, n); got != (why == "") {
				t.Fatalf("pod %v\non node %v\nFits = %v, second reading says %q", p, node, got, why)
			}
		}
	}
}
