package generate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

// slot is a node while pods are put on it.
type slot struct {
	name, zone  string
	batch, spot bool
	allCPU      int64 // thousandths of a core
	cpu, memory int64 // free; memory in MiB
	pods        int64 // free
	has         map[*workload]bool
}

func newSlot(n *corev1.Node) *slot {
	size := n.Status.Allocatable
	s := &slot{
		name: n.Name, zone: n.Labels[corev1.LabelTopologyZone], batch: len(n.Spec.Taints) > 0,
		spot:   n.Labels[eks.LabelCapacityType] == eks.Spot,
		allCPU: size.Cpu().MilliValue(), cpu: size.Cpu().MilliValue() - daemonCPU,
		memory: size.Memory().Value()>>20 - daemonMemory, pods: size.Pods().Value() - int64(len(daemons)),
		has: map[*workload]bool{},
	}
	return s
}

func (g *generator) placeAll() error {
	for _, w := range g.workloads {
		zones := map[string]int{}
		for i := range w.replicas {
			s := g.place(w, zones)
			if s == nil {
				return fmt.Errorf("placing %s: no node has room; give more nodes, fewer pods or a lower fill", w.name)
			}
			s.cpu -= int64(w.cpuMilli)
			s.memory -= w.memoryMiB
			s.pods--
			s.has[w] = true
			zones[s.zone]++
			g.out.Pods = append(g.out.Pods, g.pod(w, i, s.name))
		}
		g.makePDB(w)
	}
	return nil
}

// place takes the emptiest of three nodes that would do, as a scheduler that
// spreads load and sees but a part of a big cluster.
func (g *generator) place(w *workload, zones map[string]int) *slot {
	var fit []*slot
	for _, s := range g.nodes {
		if s.takes(w) && (!w.zoneSpread || g.evens(zones, s.zone)) {
			fit = append(fit, s)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	var best *slot
	for range 3 {
		s := fit[g.rand.IntN(len(fit))]
		if best == nil || float64(s.cpu)/float64(s.allCPU) > float64(best.cpu)/float64(best.allCPU) {
			best = s
		}
	}
	return best
}

func (s *slot) takes(w *workload) bool {
	return s.cpu >= int64(w.cpuMilli) && s.memory >= w.memoryMiB && s.pods > 0 &&
		(!s.batch || w.batch) && (!s.spot || !w.onDemand) && (!w.antiAffinity || !s.has[w])
}

// evens tells whether one more pod there keeps the zones within one of each
// other.
func (g *generator) evens(zones map[string]int, zone string) bool {
	for i := range min(3, g.Nodes) {
		if zones[g.Region+string(rune('a'+i))] < zones[zone] {
			return false
		}
	}
	return true
}

// daemons run on every node.
var daemons = []struct {
	name             string
	cpuMilli, memory int64
}{{"aws-node", 50, 0}, {"kube-proxy", 100, 0}, {"node-exporter", 50, 64}}

const daemonCPU, daemonMemory = 200, 64

func (g *generator) makeDaemonPods() {
	for _, d := range daemons {
		uid := g.uid()
		for _, s := range g.nodes {
			p := g.newPod("kube-system", d.name+"-"+g.letters(5), s.name)
			p.Labels = map[string]string{"k8s-app": d.name}
			p.OwnerReferences = controller("DaemonSet", d.name, uid)
			p.Spec.PriorityClassName = "system-node-critical"
			p.Spec.Containers = []corev1.Container{container(d.cpuMilli, d.memory)}
			p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
			p.Spec.Affinity = onlyNode(s.name)
			g.out.Pods = append(g.out.Pods, p)
		}
	}
}

// onlyNode is how the DaemonSet controller ties a pod to its node.
func onlyNode(name string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
				Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name},
			}}}},
		},
	}}
}
