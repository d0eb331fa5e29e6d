package pack_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/pack"
)

// replicas of one app asking for a core and a GiB each, changed by edit.
func replicas(n int, edit func(i int, p *fleetv1.Pod)) []*fleetv1.Pod {
	var pods []*fleetv1.Pod
	for i := range n {
		p := &fleetv1.Pod{
			Uid: fmt.Sprint(i), Name: fmt.Sprint("web-", i), Namespace: "shop", Labels: map[string]string{"app": "web"},
			Requests: &fleetv1.Resources{CpuMillicores: 1000, MemoryBytes: 1 << 30},
		}
		edit(i, p)
		pods = append(pods, p)
	}
	return pods
}

// offer of a node with cores and memory in a zone.
func offer(zone string, cores, gib int64, price float64) pack.Offer {
	return pack.Offer{Price: price, Node: fit.Node{
		Labels: map[string]string{fit.LabelZone: zone},
		Room:   fit.Amounts{CPU: cores * 1000, Memory: gib << 30, Disk: 1 << 40, Pods: 20},
	}}
}

func problem(pods []*fleetv1.Pod, offers ...pack.Offer) pack.Problem {
	p := pack.Problem{Book: fit.NewBook(pods), Offers: offers}
	for i := range pods {
		p.Pods = append(p.Pods, i)
	}
	return p
}

var (
	web     = &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	inZones = []pack.Offer{offer("a", 4, 8, 0.2), offer("b", 4, 8, 0.2), offer("c", 4, 8, 0.2)}
	apartBy = func(key string) []*fleetv1.PodAffinityTerm {
		return []*fleetv1.PodAffinityTerm{{Selector: web, TopologyKey: key}}
	}
	spreadBy = func(key string) []*fleetv1.TopologySpread {
		return []*fleetv1.TopologySpread{{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: "DoNotSchedule", Selector: web}}
	}
)

func TestHowManyNodesReplicasNeed(t *testing.T) {
	for name, c := range map[string]struct {
		edit         func(i int, p *fleetv1.Pod)
		nodes, zones int
	}{
		"without rules, by their sum":        {func(int, *fleetv1.Pod) {}, 3, 1},
		"apart by node, one each":            {func(_ int, p *fleetv1.Pod) { p.PodAntiAffinity = apartBy(fit.LabelHostname) }, 12, 1},
		"with a port of the host, one each":  {func(_ int, p *fleetv1.Pod) { p.HostPorts = []int32{80} }, 12, 1},
		"spread over zones, as many in each": {func(_ int, p *fleetv1.Pod) { p.TopologySpread = spreadBy(fit.LabelZone) }, 3, 3},
		"together in a zone, by their sum":   {func(_ int, p *fleetv1.Pod) { p.PodAffinity = apartBy(fit.LabelZone) }, 3, 1},
		"with volumes in two zones, by zone": {func(i int, p *fleetv1.Pod) { p.VolumeZones = []string{[]string{"a", "b"}[i%2]} }, 4, 2},
		"of which one half selects a zone, the other": {func(i int, p *fleetv1.Pod) {
			p.NodeSelector = map[string]string{fit.LabelZone: []string{"b", "c"}[i/6]}
		}, 4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			plan := pack.Solve(problem(replicas(12, c.edit), inZones...))
			zones := map[int]bool{}
			for _, b := range plan.Buy {
				zones[b.Offer] = true
			}
			if len(plan.Unplaced) > 0 || len(plan.Buy) != c.nodes || len(zones) != c.zones {
				t.Errorf("%d nodes in %d zones, %d pods unplaced; want %d in %d, none", len(plan.Buy), len(zones), len(plan.Unplaced), c.nodes, c.zones)
			}
		})
	}
}

func TestPodsThatMustBeTogetherShareANode(t *testing.T) {
	pods := replicas(4, func(i int, p *fleetv1.Pod) {
		p.Labels = map[string]string{"app": []string{"web", "cache", "cache", "cache"}[i]}
		if i > 0 {
			p.PodAffinity = apartBy(fit.LabelHostname) // to web
		}
	})
	if plan := pack.Solve(problem(pods, inZones...)); len(plan.Buy) != 1 || len(plan.Unplaced) > 0 {
		t.Errorf("plan %+v, want one node with all", plan)
	}
}

func TestWhyPodsHaveNoPlace(t *testing.T) {
	taken := inZones[0]
	taken.Node.Ports = []int32{80}
	few := inZones[0]
	few.Max = 1
	for name, c := range map[string]struct {
		edit   func(i int, p *fleetv1.Pod)
		offers []pack.Offer
		nodes  int
		want   map[pack.Reason]int
	}{
		"no zone like that": {func(_ int, p *fleetv1.Pod) { p.VolumeZones = []string{"z"} }, inZones, 0, map[pack.Reason]int{pack.NoOfferAdmits: 5}},
		"one is too large":  {func(i int, p *fleetv1.Pod) { p.Requests.CpuMillicores = int64(1000 + 4000*(i/4)) }, inZones, 0, map[pack.Reason]int{pack.TooLarge: 1}},
		"one node at most":  {func(int, *fleetv1.Pod) {}, inZones, 1, map[pack.Reason]int{pack.MaxNodes: 1}},
		"one of the offer":  {func(int, *fleetv1.Pod) {}, []pack.Offer{few}, 0, map[pack.Reason]int{pack.MaxNodes: 1}},
		"port is taken":     {func(_ int, p *fleetv1.Pod) { p.HostPorts = []int32{80} }, []pack.Offer{taken}, 0, map[pack.Reason]int{pack.NodePorts: 5}},
		"nobody to be near": {func(_ int, p *fleetv1.Pod) {
			p.Labels = map[string]string{"app": "cache"}
			p.PodAffinity = apartBy(fit.LabelZone)
		}, inZones, 0, map[pack.Reason]int{pack.Affinity: 5}},
		"apart, in three zones": {func(_ int, p *fleetv1.Pod) { p.PodAntiAffinity = apartBy(fit.LabelZone) }, inZones, 0, map[pack.Reason]int{pack.AntiAffinity: 2}},
		"no label to spread by": {func(_ int, p *fleetv1.Pod) { p.TopologySpread = spreadBy("rack") }, inZones, 0, map[pack.Reason]int{pack.Spread: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			p := problem(replicas(5, c.edit), c.offers...)
			p.MaxNodes = c.nodes
			got := map[pack.Reason]int{}
			for _, u := range pack.Solve(p).Unplaced {
				got[u.Reason]++
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("reasons %v, want %v", got, c.want)
			}
		})
	}
}

func TestRoomThatIsThereIsUsedFirst(t *testing.T) {
	pods := replicas(6, func(int, *fleetv1.Pod) {})
	p := problem(pods, inZones...)
	p.Cluster = fit.NewCluster(p.Book)
	p.Cluster.AddNode(fit.Node{Name: "here", Labels: map[string]string{fit.LabelZone: "a", fit.LabelHostname: "here"}, Room: fit.Amounts{CPU: 2500, Memory: 9 << 30, Pods: 9}})
	for name, c := range map[string]struct {
		open   []int
		placed int
	}{"all nodes": {nil, 2}, "none is open": {[]int{}, 0}, "it is open": {[]int{0}, 2}} {
		t.Run(name, func(t *testing.T) {
			p.Open = c.open
			plan := pack.Solve(p)
			bought := 0
			for _, b := range plan.Buy {
				bought += len(b.Pods)
			}
			if len(plan.Placed) != c.placed || bought != 6-c.placed {
				t.Errorf("%d pods placed, %d on new nodes; want %d placed", len(plan.Placed), bought, c.placed)
			}
		})
	}
}

// A core costs 0.04 with 2 GiB or 0.05 with 4: with 3 GiB for each core, half of each.
func TestTheBoundIsTheLinearPrograms(t *testing.T) {
	pods := replicas(100, func(_ int, p *fleetv1.Pod) { p.Requests.MemoryBytes = 3 << 30 })
	lean, rich := offer("a", 20, 40, 0.8), offer("a", 20, 80, 1)
	lean.Node.Room.Pods, rich.Node.Room.Pods = 1000, 1000
	if got, want := pack.LowerBound(problem(pods, lean, rich)), 100*0.045; math.Abs(got-want) > 1e-6 {
		t.Errorf("bound %v, want %v", got, want)
	}
	// Half of the pods must have the rich ones' zone, where a core costs twice as much.
	for i, p := range pods {
		if i%2 == 0 {
			p.VolumeZones = []string{"b"}
		}
	}
	dear := offer("b", 20, 80, 2)
	dear.Node.Room.Pods = 1000
	if got, want := pack.LowerBound(problem(pods, lean, rich, dear)), 50*0.045+50*0.1; math.Abs(got-want) > 0.3 || got > want+1e-6 {
		t.Errorf("bound %v, want about %v", got, want)
	}
}

// workload of n pods of different sizes, deployment by deployment.
func workload(n int, seed uint64) []*fleetv1.Pod {
	rng := rand.New(rand.NewPCG(seed, 3))
	cpu, memory, left := int64(0), int64(0), 0
	return replicas(n, func(_ int, p *fleetv1.Pod) {
		if left--; left <= 0 {
			left, cpu = 1+rng.IntN(9), []int64{50, 100, 250, 500, 1000, 2000}[rng.IntN(6)]
			memory = cpu * (1 + rng.Int64N(8)) << 20
		}
		p.Requests = &fleetv1.Resources{CpuMillicores: cpu, MemoryBytes: memory}
	})
}

// market of two families with sizes whose overhead shrinks and prices that are linear.
func market() (offers []pack.Offer) {
	for _, family := range []struct {
		gib   int64
		price float64
	}{{2, 0.04}, {4, 0.048}, {8, 0.063}} {
		for _, cores := range []int64{2, 4, 8, 16, 32} {
			o := offer("a", cores, cores*family.gib, float64(cores)*family.price)
			o.Node.Room.CPU -= 90
			o.Node.Room.Memory -= 1 << 30
			o.Node.Room.Pods = 14 * cores
			offers = append(offers, o)
		}
	}
	return offers
}

func TestPlansAreNearTheBound(t *testing.T) {
	for seed := range uint64(6) {
		plan := pack.Solve(problem(workload(600, seed), market()...))
		if len(plan.Unplaced) > 0 || plan.Cost > 1.035*plan.Bound || plan.Cost < plan.Bound-1e-9 {
			t.Errorf("seed %d: cost %v, bound %v, %d unplaced; want within 3.5 %%", seed, plan.Cost, plan.Bound, len(plan.Unplaced))
		}
	}
}

func TestMoreEffortIsNeverWorseThanTheFirstPlan(t *testing.T) {
	for seed := range uint64(4) {
		p := problem(workload(200, seed), market()...)
		usual := pack.Solve(p)
		p.Effort = -1
		if first := pack.Solve(p); usual.Cost > first.Cost+1e-9 {
			t.Errorf("seed %d: cost %v with the usual effort, %v with the first plan", seed, usual.Cost, first.Cost)
		}
	}
}
