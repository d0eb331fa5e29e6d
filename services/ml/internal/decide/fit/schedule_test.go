package fit_test

import (
	"fmt"
	"testing"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

func node(name, zone string, cores int64) fit.Node {
	return fit.Node{
		Name: name, Labels: map[string]string{fit.LabelHostname: name, fit.LabelZone: zone},
		Room: fit.Amounts{CPU: cores * 1000, Memory: cores << 32, Disk: 1 << 40, Pods: 110},
	}
}

// replicas of one app asking for a core each, changed by edit.
func replicas(n int, edit func(*fleetv1.Pod)) []*fleetv1.Pod {
	var pods []*fleetv1.Pod
	for i := range n {
		p := &fleetv1.Pod{
			Uid: fmt.Sprint(i), Name: fmt.Sprint("web-", i), Namespace: "shop", Labels: map[string]string{"app": "web"},
			Requests: &fleetv1.Resources{CpuMillicores: 1000, MemoryBytes: 1 << 30},
		}
		edit(p)
		pods = append(pods, p)
	}
	return pods
}

var web = &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}

func TestHowManyReplicasFindAPlace(t *testing.T) {
	nodes := []fit.Node{node("a1", "a", 4), node("a2", "a", 4), node("b1", "b", 4)}
	spread := func(key string, min int32) func(*fleetv1.Pod) {
		return func(p *fleetv1.Pod) {
			p.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: "DoNotSchedule", Selector: web, MinDomains: min}}
		}
	}
	cases := map[string]struct {
		edit func(*fleetv1.Pod)
		want int
	}{
		"without rules, as many as there are cores":         {func(*fleetv1.Pod) {}, 12},
		"with a port of the host, one on each node":         {func(p *fleetv1.Pod) { p.HostPorts = []int32{80} }, 3},
		"in one zone, as many as its cores":                 {func(p *fleetv1.Pod) { p.NodeSelector = map[string]string{fit.LabelZone: "a"} }, 8},
		"with a volume in a zone, as many as its cores":     {func(p *fleetv1.Pod) { p.VolumeZones = []string{"b"} }, 4},
		"spread over zones, until the smaller zone is full": {spread(fit.LabelZone, 0), 9},
		"spread over more zones than there are, one each":   {spread(fit.LabelZone, 3), 2},
		"spread over nodes, evenly":                         {spread(fit.LabelHostname, 0), 12},
		"apart by node, one on each": {func(p *fleetv1.Pod) {
			p.PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: web, TopologyKey: fit.LabelHostname}}
		}, 3},
		"apart by zone, one in each": {func(p *fleetv1.Pod) {
			p.PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: web, TopologyKey: fit.LabelZone}}
		}, 2},
		"together on a node, as many as it has cores": {func(p *fleetv1.Pod) {
			p.PodAffinity = []*fleetv1.PodAffinityTerm{{Selector: web, TopologyKey: fit.LabelHostname}}
		}, 4},
		"with affinity to no one, none": {func(p *fleetv1.Pod) {
			p.PodAffinity = []*fleetv1.PodAffinityTerm{{
				Selector: &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}, TopologyKey: fit.LabelZone,
			}}
		}, 0},
		"with a label that no node has, none": {func(p *fleetv1.Pod) { p.NodeSelector = map[string]string{"disk": "ssd"} }, 0},
		"with a device that no node has, none": {func(p *fleetv1.Pod) {
			p.Requests.Extended = map[string]int64{"nvidia.com/gpu": 1}
		}, 0},
		"bound to a node by name, as many as its cores": {func(p *fleetv1.Pod) {
			p.NodeAffinity = []*fleetv1.NodeSelectorTerm{{MatchFields: []*fleetv1.LabelRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"b1"}}}}}
		}, 4},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pods := replicas(20, c.edit)
			cluster := fit.NewCluster(fit.NewBook(pods))
			for _, n := range nodes {
				cluster.AddNode(n)
			}
			s := fit.Scheduler{Seed: 1}
			got := 0
			for i := range pods {
				if s.Schedule(cluster, i) >= 0 {
					got++
				}
			}
			if got != c.want {
				t.Errorf("%d replicas found a place, want %d", got, c.want)
			}
		})
	}
}

func TestTaintedAndCordonedNodesTakeOnlyPodsThatTolerateThem(t *testing.T) {
	tainted := node("tainted", "a", 4)
	tainted.Taints = []*fleetv1.Taint{{Key: "dedicated", Value: "db", Effect: "NoSchedule"}}
	closed := node("closed", "a", 4)
	closed.Closed = true
	for name, c := range map[string]struct {
		tolerations []*fleetv1.Toleration
		want        [2]bool
	}{
		"nothing tolerated":         {nil, [2]bool{false, false}},
		"the taint by value":        {[]*fleetv1.Toleration{{Key: "dedicated", Value: "db"}}, [2]bool{true, false}},
		"another value":             {[]*fleetv1.Toleration{{Key: "dedicated", Value: "web"}}, [2]bool{false, false}},
		"another effect":            {[]*fleetv1.Toleration{{Key: "dedicated", Operator: "Exists", Effect: "NoExecute"}}, [2]bool{false, false}},
		"everything":                {[]*fleetv1.Toleration{{Operator: "Exists"}}, [2]bool{true, true}},
		"being cordoned":            {[]*fleetv1.Toleration{{Key: "node.kubernetes.io/unschedulable", Operator: "Exists"}}, [2]bool{false, true}},
		"an empty key means a name": {[]*fleetv1.Toleration{{Operator: "Equal"}}, [2]bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			pods := replicas(1, func(p *fleetv1.Pod) { p.Tolerations = c.tolerations })
			cluster := fit.NewCluster(fit.NewBook(pods))
			a, b := cluster.AddNode(tainted), cluster.AddNode(closed)
			if got := [2]bool{cluster.Fits(0, a), cluster.Fits(0, b)}; got != c.want {
				t.Errorf("fits on tainted and cordoned = %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheSchedulerSpreadsWhereAPackerWouldFill(t *testing.T) {
	pods := replicas(2, func(*fleetv1.Pod) {})
	cluster := fit.NewCluster(fit.NewBook(pods))
	cluster.AddNode(node("a", "a", 4))
	cluster.AddNode(node("b", "b", 4))
	s := fit.Scheduler{Seed: 1}
	if s.Schedule(cluster, 0) == s.Schedule(cluster, 1) {
		t.Error("both pods are on one node, want one on each")
	}
}

func TestNodesThatATaintSpeaksAgainstAreTakenLastAndClosedToNobody(t *testing.T) {
	kept := node("kept", "a", 16)
	kept.Taints = []*fleetv1.Taint{{Key: "kept", Effect: "PreferNoSchedule"}}
	pods := replicas(6, func(*fleetv1.Pod) {})
	pods[5].Tolerations = []*fleetv1.Toleration{{Key: "kept", Operator: "Exists"}}
	cluster := fit.NewCluster(fit.NewBook(pods))
	last, first := cluster.AddNode(kept), cluster.AddNode(node("plain", "a", 4))
	s := fit.Scheduler{Seed: 1}
	for pod, want := range []int{first, first, first, first, last, last} {
		if pod == 5 { // there is room on the plain node again, but this pod does not mind the taint: the emptier node wins
			cluster.Remove(0)
		}
		if got := s.Schedule(cluster, pod); got != want {
			t.Errorf("pod %d goes to node %d, want %d", pod, got, want)
		}
	}
}

// While nodes drain, the emptied ones still count as domains: with one pod per
// node allowed beyond the emptiest, those left over would wait until the nodes are gone.
func TestPodsThatWouldWaitForTheOldNodesToGoAreStuck(t *testing.T) {
	pods := replicas(4, func(p *fleetv1.Pod) {
		p.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 1, TopologyKey: fit.LabelHostname, WhenUnsatisfiable: "DoNotSchedule", Selector: web}}
	})
	cluster := fit.NewCluster(fit.NewBook(pods))
	for i, name := range []string{"old1", "old2", "new1", "new2"} {
		n := cluster.AddNode(node(name, "a", 4))
		if i < 2 {
			cluster.Place(2*i, n)
			cluster.Place(2*i+1, n)
		}
	}
	s := fit.Scheduler{Seed: 1}
	if stuck := s.Drain(cluster, []int{0, 1}, map[int][]int{0: {0, 1}, 1: {2, 3}}); len(stuck) != 2 {
		t.Errorf("pods %v are stuck, want two", stuck)
	}
}

func TestDrainReportsPodsThatFitNowhere(t *testing.T) {
	pods := replicas(3, func(*fleetv1.Pod) {})
	cluster := fit.NewCluster(fit.NewBook(pods))
	old := cluster.AddNode(node("old", "a", 4))
	cluster.AddNode(node("new", "a", 2))
	for i := range pods {
		cluster.Place(i, old)
	}
	s := fit.Scheduler{Seed: 1}
	if stuck := s.Drain(cluster, []int{old}, map[int][]int{old: {0, 1, 2}}); len(stuck) != 1 {
		t.Errorf("%d pods are stuck, want 1", len(stuck))
	}
}
