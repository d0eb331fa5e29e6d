package pack_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit/fittest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/pack"
)

var (
	apps  = []string{"a", "b", "c"}
	zones = []string{"x", "y", "z"}
)

// drawn is a problem and what the second reading needs to know of it.
type drawn struct {
	problem pack.Problem
	pods    []*fleetv1.Pod
	nodes   []*fleetv1.NodeMetric // of the cluster
	offers  []*fleetv1.NodeMetric // empty ones
	daemon  *fleetv1.Pod
}

func drawSelector(t *rapid.T) *fleetv1.LabelSelector {
	if rapid.IntRange(0, 5).Draw(t, "selects all") == 0 {
		return &fleetv1.LabelSelector{}
	}
	return &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "selected")}}
}

func drawTerm(t *rapid.T) *fleetv1.PodAffinityTerm {
	key := rapid.SampledFrom([]string{fit.LabelHostname, fit.LabelZone, "capacity"}).Draw(t, "topology")
	return &fleetv1.PodAffinityTerm{Selector: drawSelector(t), TopologyKey: key}
}

// drawWorkload of some replicas.
func drawWorkload(t *rapid.T, app int) []*fleetv1.Pod {
	model := &fleetv1.Pod{
		Namespace: "one", Labels: map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "app")},
		Requests: &fleetv1.Resources{
			CpuMillicores: rapid.Int64Range(0, 5).Draw(t, "cpu") * 300, MemoryBytes: rapid.Int64Range(0, 5).Draw(t, "memory") << 28,
			EphemeralStorageBytes: rapid.Int64Range(0, 1).Draw(t, "disk") << 30,
		},
	}
	rare := func(what string) bool { return rapid.IntRange(0, 5).Draw(t, what) == 0 }
	if rare("gpu") {
		model.Requests.Extended = map[string]int64{"gpu": 1}
	}
	if rare("port") {
		model.HostPorts = []int32{rapid.SampledFrom([]int32{80, 81}).Draw(t, "which port")}
	}
	if rare("volume") {
		model.VolumeZones = []string{rapid.SampledFrom(zones).Draw(t, "volume zone")}
	}
	if rare("capacity") {
		model.NodeSelector = map[string]string{"capacity": rapid.SampledFrom([]string{"spot", "od"}).Draw(t, "capacity type")}
	}
	if rare("node affinity") {
		model.NodeAffinity = []*fleetv1.NodeSelectorTerm{{MatchExpressions: []*fleetv1.LabelRequirement{{Key: fit.LabelZone, Operator: "NotIn", Values: []string{"x"}}}}}
	}
	if rare("tolerates") {
		model.Tolerations = []*fleetv1.Toleration{{Key: "t", Operator: "Exists"}}
	}
	if rare("affinity") {
		model.PodAffinity = append(model.PodAffinity, drawTerm(t))
	}
	if rare("anti-affinity") {
		model.PodAntiAffinity = append(model.PodAntiAffinity, drawTerm(t))
	}
	if rare("spread") {
		model.TopologySpread = append(model.TopologySpread, &fleetv1.TopologySpread{
			MaxSkew: int32(rapid.IntRange(1, 2).Draw(t, "skew")), WhenUnsatisfiable: "DoNotSchedule", Selector: drawSelector(t),
			TopologyKey: rapid.SampledFrom([]string{fit.LabelHostname, fit.LabelZone}).Draw(t, "spread key"),
			MinDomains:  int32(rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "min domains")),
		})
	}
	var pods []*fleetv1.Pod
	for i := range rapid.IntRange(1, 5).Draw(t, "replicas") {
		pod := proto.CloneOf(model)
		pod.Name = fmt.Sprintf("app%d-%d", app, i)
		pod.Uid = pod.Name
		pods = append(pods, pod)
	}
	return pods
}

func drawNode(t *rapid.T, name string) *fleetv1.NodeMetric {
	n := &fleetv1.NodeMetric{
		NodeName: name, Ready: true, MaxPods: int32(rapid.IntRange(2, 9).Draw(t, "max pods")),
		Allocatable: &fleetv1.Resources{
			CpuMillicores: rapid.Int64Range(1, 4).Draw(t, "node cpu") * 1000, MemoryBytes: rapid.Int64Range(1, 4).Draw(t, "node memory") << 30,
			EphemeralStorageBytes: 3 << 30, Extended: map[string]int64{"gpu": rapid.Int64Range(0, 2).Draw(t, "node gpu")},
		},
		Labels: map[string]string{
			fit.LabelZone: rapid.SampledFrom(zones).Draw(t, "zone"), "capacity": rapid.SampledFrom([]string{"spot", "od"}).Draw(t, "node capacity"),
			fit.LabelHostname: name,
		},
	}
	if rapid.IntRange(0, 4).Draw(t, "tainted") == 0 {
		n.Taints = []*fleetv1.Taint{{Key: "t", Value: "v", Effect: "NoSchedule"}}
	}
	return n
}

func place(book *fit.Book, n *fleetv1.NodeMetric) fit.Node {
	room := book.Amounts(n.Allocatable)
	room.Pods = int64(n.MaxPods)
	return fit.Node{Name: n.NodeName, Labels: n.Labels, Taints: n.Taints, Room: room}
}

func draw(t *rapid.T) *drawn {
	d := &drawn{daemon: &fleetv1.Pod{
		Uid: "d", Name: "daemon", Namespace: "kube-system", Tolerations: []*fleetv1.Toleration{{Operator: "Exists"}},
		Requests: &fleetv1.Resources{CpuMillicores: 100, MemoryBytes: 64 << 20},
	}}
	for app := range rapid.IntRange(1, 5).Draw(t, "apps") {
		d.pods = append(d.pods, drawWorkload(t, app)...)
	}
	if rapid.Bool().Draw(t, "daemon port") {
		d.daemon.HostPorts = []int32{81}
	}
	book := fit.NewBook(append(slices.Clone(d.pods), d.daemon))
	d.problem = pack.Problem{Book: book, Effort: rapid.SampledFrom([]float64{-1, 0, 0.2}).Draw(t, "effort")}
	if rapid.Bool().Draw(t, "cluster") {
		d.problem.Cluster = fit.NewCluster(book)
		for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
			n := drawNode(t, fmt.Sprintf("n%d", i))
			d.nodes = append(d.nodes, n)
			d.problem.Cluster.AddNode(place(book, n))
		}
	}
	for i, pod := range d.pods {
		if at := rapid.IntRange(0, 4).Draw(t, "on"); at < len(d.nodes) && d.problem.Cluster.Fits(i, at) {
			d.problem.Cluster.Place(i, at)
			pod.NodeName = d.nodes[at].NodeName
			continue
		}
		d.problem.Pods = append(d.problem.Pods, i)
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "offers") {
		n := drawNode(t, fmt.Sprintf("o%d", i))
		d.offers = append(d.offers, n)
		node := place(book, n)
		node.Reserved = book.Requests(len(d.pods))
		node.Ports = d.daemon.HostPorts
		d.problem.Offers = append(d.problem.Offers, pack.Offer{
			Node: node, Price: float64(rapid.IntRange(1, 40).Draw(t, "price")) / 100,
			Max: rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "max"),
		})
	}
	d.problem.MaxNodes = rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "max nodes")
	return d
}

func TestEveryPlanHoldsByASecondReadingOfTheFilters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(rt)
		plan := pack.Solve(d.problem)
		requireComplete(rt, d, plan)
		requireLimits(rt, d, plan)
		requireLands(rt, d, plan)
		requireReasons(rt, d, plan)
		if again := pack.Solve(d.problem); !reflect.DeepEqual(plan, again) {
			rt.Fatalf("first %+v\nthen %+v", plan, again)
		}
		if d.problem.Cluster == nil && len(plan.Unplaced) == 0 && plan.Bound > plan.Cost+1e-9 {
			rt.Fatalf("bound %v above the cost of a plan, %v", plan.Bound, plan.Cost)
		}
	})
}

// requireComplete checks that each pod is in one place or named as without.
func requireComplete(t *rapid.T, d *drawn, plan pack.Plan) {
	var all []int
	for _, b := range plan.Buy {
		if len(b.Pods) == 0 {
			t.Fatal("an empty node is bought")
		}
		all = append(all, b.Pods...)
	}
	for _, p := range plan.Placed {
		all = append(all, p.Pod)
	}
	for _, u := range plan.Unplaced {
		all = append(all, u.Pod)
	}
	slices.Sort(all)
	if !slices.Equal(all, d.problem.Pods) {
		t.Fatalf("pods %v are answered for, want %v", all, d.problem.Pods)
	}
	for i, pod := range d.pods {
		if at := d.problem.Cluster; at != nil && (at.At(i) >= 0) != (pod.NodeName != "") {
			t.Fatal("the cluster was changed")
		}
	}
}

func requireLimits(t *rapid.T, d *drawn, plan pack.Plan) {
	cost, count := 0.0, make([]int, len(d.offers))
	for _, b := range plan.Buy {
		cost += d.problem.Offers[b.Offer].Price
		count[b.Offer]++
	}
	if math.Abs(cost-plan.Cost) > 1e-9 {
		t.Fatalf("cost %v, want %v", plan.Cost, cost)
	}
	if most := d.problem.MaxNodes; most > 0 && len(plan.Buy) > most {
		t.Fatalf("%d nodes, at most %d", len(plan.Buy), most)
	}
	for i, n := range count {
		if most := d.problem.Offers[i].Max; most > 0 && n > most {
			t.Fatalf("%d nodes of offer %d, at most %d", n, i, most)
		}
	}
}

// requireLands puts the pods on their nodes in some order.
func requireLands(t *rapid.T, d *drawn, plan pack.Plan) {
	world := &fittest.World{Nodes: slices.Clone(d.nodes)}
	for _, pod := range d.pods {
		if pod.NodeName != "" {
			world.Pods = append(world.Pods, pod)
		}
	}
	meant := map[int]*fleetv1.NodeMetric{}
	for i, b := range plan.Buy {
		node := proto.CloneOf(d.offers[b.Offer])
		node.NodeName = fmt.Sprintf("bought%d", i)
		node.Labels[fit.LabelHostname] = node.NodeName
		daemon := proto.CloneOf(d.daemon)
		daemon.NodeName = node.NodeName
		world.Nodes, world.Pods = append(world.Nodes, node), append(world.Pods, daemon)
		for _, pod := range b.Pods {
			meant[pod] = node
		}
	}
	for _, p := range plan.Placed {
		meant[p.Pod] = d.nodes[p.Node]
	}
	if len(plan.Order) != len(meant) {
		t.Fatalf("%d pods in order, %d have a place", len(plan.Order), len(meant))
	}
	for _, i := range plan.Order {
		pod := proto.CloneOf(d.pods[i])
		if refusal := world.Refusal(pod, meant[i]); refusal != "" {
			t.Fatalf("%s on %s: %s\n%+v", pod.Name, meant[i].NodeName, refusal, plan)
		}
		pod.NodeName = meant[i].NodeName
		world.Pods = append(world.Pods, pod)
		delete(meant, i)
	}
}

// requireReasons checks that pods for which there would be a place are not left out.
func requireReasons(t *rapid.T, d *drawn, plan pack.Plan) {
	limited := d.problem.MaxNodes > 0 || slices.ContainsFunc(d.problem.Offers, func(o pack.Offer) bool { return o.Max > 0 })
	for _, u := range plan.Unplaced {
		pod := d.pods[u.Pod]
		admitted, held := false, false
		for i, offer := range d.offers {
			world := &fittest.World{Nodes: []*fleetv1.NodeMetric{offer}}
			admits := fit.Admits(pod, &d.problem.Offers[i].Node)
			admitted = admitted || admits
			if admits && d.problem.Book.Rules(u.Pod).None() {
				daemon := proto.CloneOf(d.daemon)
				daemon.NodeName = offer.NodeName
				world.Pods = append(world.Pods, daemon)
				held = held || world.Refusal(pod, offer) == ""
			}
		}
		if admitted == (u.Reason == pack.NoOfferAdmits) {
			t.Fatalf("%s is unplaced for %s, admitted %v", pod.Name, u.Reason, admitted)
		}
		if held && !limited {
			t.Fatalf("%s is unplaced for %s and could have a node of its own", pod.Name, u.Reason)
		}
	}
}
