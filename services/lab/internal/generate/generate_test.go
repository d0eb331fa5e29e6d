package generate

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

func cluster(t *testing.T, c Config) *dump.Dump {
	t.Helper()
	d, err := Cluster(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func config(seed uint64) Config {
	return Config{Seed: seed, Nodes: 40, Pods: 300, Fill: 0.38, Region: "us-east-1"}
}

func printed(t *testing.T, d *dump.Dump) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestASeedMeansOneCluster(t *testing.T) {
	first, again := printed(t, cluster(t, config(7))), printed(t, cluster(t, config(7)))
	if !bytes.Equal(first, again) {
		t.Error("two runs with seed 7 differ")
	}
	if bytes.Equal(first, printed(t, cluster(t, config(8)))) {
		t.Error("seeds 7 and 8 make the same cluster")
	}
}

func TestWhatIsPrintedCanBeRead(t *testing.T) {
	d, err := dump.Read(bytes.NewReader(printed(t, cluster(t, config(1)))))
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Nodes) != 40 || len(d.Pods) != 300+3*40 || len(d.PDBs) == 0 {
		t.Errorf("%d nodes, %d pods, %d PDBs", len(d.Nodes), len(d.Pods), len(d.PDBs))
	}
}

func TestTheFleetIsAsFullAsAskedForAnySeed(t *testing.T) {
	for seed := range uint64(30) {
		d := cluster(t, config(seed))
		var have, want int64
		for i := range d.Nodes {
			have += d.Nodes[i].Status.Allocatable.Cpu().MilliValue()
		}
		for i := range d.Pods {
			want += cpuOf(&d.Pods[i])
		}
		if fill := float64(want) / float64(have); fill < 0.30 || fill > 0.45 {
			t.Errorf("seed %d: %.0f %% of CPU requested", seed, fill*100)
		}
	}
}

func TestNoNodeHoldsMoreThanItHas(t *testing.T) {
	for seed := range uint64(30) {
		d := cluster(t, config(seed))
		cpu, memory := map[string]int64{}, map[string]int64{}
		for i := range d.Pods {
			p := &d.Pods[i]
			cpu[p.Spec.NodeName] += cpuOf(p)
			memory[p.Spec.NodeName] += p.Spec.Containers[0].Resources.Requests.Memory().Value()
		}
		for _, n := range d.Nodes {
			if a := n.Status.Allocatable; cpu[n.Name] > a.Cpu().MilliValue() || memory[n.Name] > a.Memory().Value() {
				t.Errorf("seed %d: %s is over-full", seed, n.Name)
			}
		}
	}
}

func TestPodsObeyTheirOwnRules(t *testing.T) {
	for seed := range uint64(30) {
		d := cluster(t, config(seed))
		nodes := map[string]*corev1.Node{}
		for i := range d.Nodes {
			nodes[d.Nodes[i].Name] = &d.Nodes[i]
		}
		perZone, perNode := map[string]map[string]int{}, map[string]int{}
		for _, p := range d.Pods {
			app, node := p.Labels["app.kubernetes.io/name"], nodes[p.Spec.NodeName]
			if len(node.Spec.Taints) > 0 && len(p.Spec.Tolerations) == 0 {
				t.Errorf("seed %d: %s is on a tainted node", seed, p.Name)
			}
			if a := p.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
				if perNode[app+node.Name]++; perNode[app+node.Name] > 1 {
					t.Errorf("seed %d: two of %s on one node", seed, app)
				}
			}
			if len(p.Spec.TopologySpreadConstraints) > 0 {
				if perZone[app] == nil {
					perZone[app] = map[string]int{"us-east-1a": 0, "us-east-1b": 0, "us-east-1c": 0}
				}
				perZone[app][node.Labels[corev1.LabelTopologyZone]]++
			}
		}
		for app, zones := range perZone {
			if skew := max(zones["us-east-1a"], zones["us-east-1b"], zones["us-east-1c"]) -
				min(zones["us-east-1a"], zones["us-east-1b"], zones["us-east-1c"]); skew > 1 {
				t.Errorf("seed %d: %s is spread %v", seed, app, zones)
			}
		}
	}
}

// Over many seeds the stated distributions must show.
func TestDistributionsAreAsStated(t *testing.T) {
	var cpus []float64
	workloads, single, stateful, budgets, held, onDemand := 0, 0, 0, 0, 0, 0
	for seed := range uint64(40) {
		d := cluster(t, config(seed))
		budgets += len(d.PDBs)
		replicas, first := map[string]int{}, map[string]*corev1.Pod{}
		for i := range d.Pods {
			p := &d.Pods[i]
			if owner := metav1.GetControllerOf(p); owner.Kind != "DaemonSet" {
				replicas[owner.Name]++
				first[owner.Name] = p
			}
		}
		workloads += len(replicas)
		for name, p := range first {
			if replicas[name] == 1 {
				single++
			}
			if metav1.GetControllerOf(p).Kind == "StatefulSet" {
				stateful++
			}
			if p.Annotations["karpenter.sh/do-not-disrupt"] == "true" {
				held++
			}
			if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil {
				onDemand++
			}
			cpus = append(cpus, math.Log(float64(cpuOf(p))))
		}
	}
	within(t, "share of single-replica workloads", share(single, workloads), 0.38, 0.52)
	within(t, "share of StatefulSets", share(stateful, workloads), 0.10, 0.15)
	within(t, "share of workloads with a PDB", share(budgets, workloads), 0.40, 0.60)
	within(t, "do-not-disrupt workloads in a cluster", float64(held)/40, 2, 2)
	within(t, "on-demand-only workloads in a cluster", float64(onDemand)/40, 2, 2)
	slices.Sort(cpus)
	// The middle half of a normal distribution is 1.35 sigma wide.
	within(t, "sigma of log CPU", (cpus[len(cpus)*3/4]-cpus[len(cpus)/4])/1.349, 0.7, 1.1)
}

func TestTheAskedShareOfNodesIsSpotAndHoldsNoPodThatMustNotBe(t *testing.T) {
	d, err := Cluster(Config{Seed: 3, Nodes: 20, Pods: 200, Fill: 0.3, Spot: 0.75, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	spot := map[string]bool{}
	for _, n := range d.Nodes {
		spot[n.Name] = n.Labels[eks.LabelCapacityType] == eks.Spot
	}
	held := 0
	for _, p := range d.Pods {
		if !spot[p.Spec.NodeName] {
			continue
		}
		held++
		if p.Spec.Affinity != nil && cmp.Equal(p.Spec.Affinity.NodeAffinity, onDemandOnly()) {
			t.Errorf("pod %s is on a spot node", p.Name)
		}
	}
	n := 0
	for _, is := range spot {
		if is {
			n++
		}
	}
	if n != 15 || held < 100 {
		t.Errorf("%d of 20 nodes are spot, with %d pods", n, held)
	}
}

func TestNodesAreOnDemandInThreeZones(t *testing.T) {
	zones := map[string]int{}
	for _, n := range cluster(t, config(1)).Nodes {
		if n.Labels[eks.LabelCapacityType] != eks.OnDemand {
			t.Errorf("%s is %s", n.Name, n.Labels[eks.LabelCapacityType])
		}
		zones[n.Labels[corev1.LabelTopologyZone]]++
	}
	if len(zones) != 3 || zones["us-east-1a"] != 14 {
		t.Errorf("zones are %v", zones)
	}
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	for _, c := range []Config{{Nodes: 0, Pods: 1, Fill: 0.3}, {Nodes: 1, Pods: 0, Fill: 0.3}, {Nodes: 1, Pods: 1, Fill: 1.5}} {
		if _, err := Cluster(c); err == nil {
			t.Errorf("%+v gave a cluster", c)
		}
	}
	// One node takes 58 pods, as it has no more addresses.
	if _, err := Cluster(Config{Nodes: 1, Pods: 5000, Fill: 0.3, Region: "us-east-1"}); err == nil {
		t.Error("5,000 pods fit on one node")
	}
}

func cpuOf(p *corev1.Pod) int64 { return p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue() }

func share(part, all int) float64 { return float64(part) / float64(all) }

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s is %.3f, want %.3f to %.3f", what, got, low, high)
	}
}
