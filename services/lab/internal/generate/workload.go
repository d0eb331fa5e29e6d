package generate

import (
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

const (
	minCPU, maxCPU = 10, 4000
	maxReplicas    = 25
)

// workload is one Deployment or StatefulSet.
type workload struct {
	namespace, name string
	kind            string // ReplicaSet or StatefulSet
	owner           string // the controller's name: a ReplicaSet's has a hash
	uid             string
	replicas        int
	cpuMilli        float64
	memoryPerCore   float64 // GiB
	memoryMiB       int64

	zoneSpread, antiAffinity, onDemand, batch, doNotDisrupt, amd64 bool
	priorityClass                                                  string
	priority                                                       int32
	hash                                                           string
}

var (
	namespaces = []string{"shop", "payments", "search", "media", "data", "platform"}
	roles      = []string{"api", "web", "worker", "consumer", "gateway", "cache", "indexer", "scheduler", "reports", "sync"}
	stateful   = []string{"kafka", "postgres", "redis", "elastic", "zookeeper", "rabbit"}
)

func (g *generator) makeWorkloads() {
	for left := g.Pods; left > 0; {
		w := g.workload(len(g.workloads), min(g.replicas(), left))
		left -= w.replicas
		g.workloads = append(g.workloads, w)
	}
	// Singled out by turn, not by chance: every cluster is to have some.
	for i, index := range g.rand.Perm(len(g.workloads)) {
		switch w := g.workloads[index]; {
		case i < 2:
			w.doNotDisrupt = true
		case i < 4:
			w.onDemand = true
		}
	}
}

// replicas draws from P(r) ~ 1/r^1.5: most things run once, a few in herds.
func (g *generator) replicas() int {
	total := 0.0
	for r := 1; r <= maxReplicas; r++ {
		total += math.Pow(float64(r), -1.5)
	}
	x := g.rand.Float64() * total
	for r := 1; r < maxReplicas; r++ {
		if x -= math.Pow(float64(r), -1.5); x < 0 {
			return r
		}
	}
	return maxReplicas
}

func (g *generator) workload(index, replicas int) *workload {
	w := &workload{
		namespace: namespaces[g.rand.IntN(len(namespaces))], kind: "ReplicaSet", replicas: replicas,
		name: fmt.Sprintf("%s-%d", roles[g.rand.IntN(len(roles))], index), uid: g.uid(), hash: g.letters(10),
		cpuMilli:      math.Exp(math.Log(250) + 0.9*g.rand.NormFloat64()),
		memoryPerCore: g.memoryPerCore(),
		zoneSpread:    replicas >= 3 && g.chance(0.20),
		antiAffinity:  replicas >= 2 && replicas <= g.Nodes/2 && g.chance(0.12),
		amd64:         g.chance(0.10),
		batch:         g.chance(0.06),
	}
	w.owner = w.name + "-" + w.hash
	if index%8 == 3 {
		w.kind = "StatefulSet"
		w.name = fmt.Sprintf("%s-%d", stateful[g.rand.IntN(len(stateful))], index)
		w.owner = w.name
	}
	switch p := g.rand.Float64(); {
	case p < 0.1:
		w.priorityClass, w.priority = "business-critical", 100000
	case p < 0.2:
		w.priorityClass, w.priority = "best-effort-batch", -10
	}
	return w
}

func (g *generator) memoryPerCore() float64 {
	switch p := g.rand.Float64(); {
	case p < 0.1:
		return 1
	case p < 0.4:
		return 2
	case p < 0.8:
		return 4
	}
	return 8
}

// scale sizes all pods by one factor, so that the shape of the distribution
// stays and the fleet is as full as asked. No pod is bigger than a third of
// the smallest node: the made-up cluster must be possible.
func (g *generator) scale() {
	var have, want float64
	smallCPU, smallMemory := math.MaxFloat64, int64(math.MaxInt64)
	for _, n := range g.nodes {
		have += float64(n.allCPU)*g.Fill - daemonCPU
		smallCPU = min(smallCPU, float64(n.cpu)/3)
		smallMemory = min(smallMemory, n.memory/3)
	}
	for _, w := range g.workloads {
		want += w.cpuMilli * float64(w.replicas)
	}
	for _, w := range g.workloads {
		cpu := min(w.cpuMilli*have/want, smallCPU, maxCPU)
		w.cpuMilli = math.Round(max(cpu, minCPU)/10) * 10
		mebibytes := int64(w.cpuMilli/1000*w.memoryPerCore*1024) / 16 * 16
		w.memoryMiB = max(32, min(mebibytes, smallMemory))
	}
}

func (w *workload) labels() map[string]string {
	l := map[string]string{"app.kubernetes.io/name": w.name}
	if w.kind == "ReplicaSet" {
		l["pod-template-hash"] = w.hash
	}
	return l
}

func (w *workload) selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": w.name}}
}

func (w *workload) annotations() map[string]string {
	if w.doNotDisrupt {
		return map[string]string{"karpenter.sh/do-not-disrupt": "true"}
	}
	return nil
}

// spec is the pod template's.
func (w *workload) spec() corev1.PodSpec {
	s := corev1.PodSpec{Containers: []corev1.Container{container(int64(w.cpuMilli), w.memoryMiB)}}
	if w.priorityClass != "" {
		priority := w.priority
		s.PriorityClassName, s.Priority = w.priorityClass, &priority
	}
	if w.amd64 {
		s.NodeSelector = map[string]string{corev1.LabelArchStable: "amd64"}
	}
	if w.batch {
		s.Tolerations = []corev1.Toleration{{Key: "dedicated", Value: "batch", Effect: corev1.TaintEffectNoSchedule}}
	}
	if w.zoneSpread {
		s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone,
			WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: w.selector(),
		}}
	}
	if w.antiAffinity {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
				TopologyKey: corev1.LabelHostname, LabelSelector: w.selector(),
			}},
		}}
	}
	if w.onDemand {
		if s.Affinity == nil {
			s.Affinity = &corev1.Affinity{}
		}
		s.Affinity.NodeAffinity = onDemandOnly()
	}
	return s
}

func onDemandOnly() *corev1.NodeAffinity {
	return &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: eks.LabelCapacityType, Operator: corev1.NodeSelectorOpIn, Values: []string{eks.OnDemand},
		}}}},
	}}
}
