// Package fragmented makes clusters such as a node group leaves behind: pods first
// fitted in random order, then a share of them scaled away. For tests and figures.
package fragmented

import (
	"fmt"
	"math"
	"math/rand/v2"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Shape is a node of a type, as EKS leaves it to pods.
type Shape struct {
	Type                       string
	CPUMillicores, MemoryBytes int64
	Pods                       int32
}

// M5 and other types of 8 vCPU, with EKS' reserve and 7.5 % of the memory hidden.
var (
	M5 = Shape{"m5.2xlarge", 7910, (32768 - 2457 - 255 - 11*58 - 100) * mib, 58}
	C5 = Shape{"c5.2xlarge", 7910, (16384 - 1228 - 255 - 11*58 - 100) * mib, 58}
	R5 = Shape{"r5.2xlarge", 7910, (65536 - 4915 - 255 - 11*58 - 100) * mib, 58}
	M4 = Shape{"m5.xlarge", 3920, (16384 - 1228 - 255 - 11*58 - 100) * mib, 58}
	C4 = Shape{"c5.4xlarge", 15890, (32768 - 2457 - 255 - 11*234 - 100) * mib, 234}
)

// Options of a cluster.
type Options struct {
	Seed uint64
	// Pods there were; Removed of them, a share, are gone.
	Pods    int
	Removed float64
	// Shapes of the nodes, taken in turn.
	Shapes []Shape
	// Ruled makes one deployment of five one with rules: spread over zones or nodes,
	// anti-affinity, a zone or volume's zone, a taint's toleration, a port.
	Ruled bool
	// NodeType is spot or on-demand; empty: on-demand.
	NodeType string
}

var zones = []string{"us-east-1a", "us-east-1b", "us-east-1c"}

// Cluster by the options; equal options give equal clusters.
func Cluster(o Options) *fleetv1.ClusterState {
	rng := rand.New(rand.NewPCG(o.Seed, 11))
	pods := workload(rng, o)
	rng.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	state := &fleetv1.ClusterState{
		ClusterId: "6f2f2cf0-4a0f-4c6e-8a53-6c8b8f0c1d2e", ClusterName: "fragmented", Region: "us-east-1",
	}
	b := &builder{state: state, o: o}
	for _, pod := range pods {
		at := b.fit(pod)
		b.take(at, pod)
		if rng.Float64() < o.Removed {
			continue // it ran for a while, then went: its room stays
		}
		pod.NodeName = state.Nodes[at].NodeName
		state.Nodes[at].PodCount++
		state.Pods = append(state.Pods, pod)
	}
	state.TotalNodes, state.TotalPods = int32(len(state.Nodes)), int32(len(state.Pods))
	return state
}

// workload of deployments of equal replicas, skewed to small pods.
func workload(rng *rand.Rand, o Options) []*fleetv1.Pod {
	cpus := []int64{50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 4000}
	cpuWeights := []float64{14, 18, 6, 10, 14, 4, 5, 12, 3, 7, 2, 3, 1, 1}
	ratios := []float64{0.5, 1, 2, 4, 8} // GiB for each vCPU
	ratioWeights := []float64{8, 15, 37, 30, 10}
	var pods []*fleetv1.Pod
	for d := 0; len(pods) < o.Pods; d++ {
		replicas := 1 + int(math.Min(60, rng.ExpFloat64()*6))
		cpu := cpus[pick(rng, cpuWeights)]
		memory := ratios[pick(rng, ratioWeights)] * float64(cpu) / 1000 * (0.75 + 0.5*rng.Float64())
		bytes := min(max(int64(memory*32+0.5)*32*mib, 64*mib), 16*gib)
		app := fmt.Sprintf("app-%04d", d)
		for i := 0; i < replicas && len(pods) < o.Pods; i++ {
			pod := &fleetv1.Pod{
				Uid: fmt.Sprintf("%s-%02d", app, i), Namespace: "shop", Name: fmt.Sprintf("%s-%02d", app, i), Phase: "Running", Ready: true,
				Owner: &fleetv1.Owner{Kind: "ReplicaSet", Name: app}, Labels: map[string]string{"app": app},
				Requests: &fleetv1.Resources{CpuMillicores: cpu, MemoryBytes: bytes},
			}
			if o.Ruled && d%5 == 0 {
				rule(pod, d/5, i)
			}
			pods = append(pods, pod)
		}
	}
	return pods
}

func pick(rng *rand.Rand, weights []float64) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	x := rng.Float64() * sum
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// rule of a deployment's pods. First fit knows nothing of rules between pods, so those
// are soft enough to hold wherever it puts them, or are spread out by a zone each.
func rule(pod *fleetv1.Pod, n, replica int) {
	self := &fleetv1.LabelSelector{MatchLabels: pod.Labels}
	switch n % 5 {
	case 0:
		pod.NodeSelector = map[string]string{"topology.kubernetes.io/zone": zones[replica%3]}
	case 1:
		pod.VolumeZones = []string{zones[n%3]}
	case 2:
		pod.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 5, TopologyKey: "topology.kubernetes.io/zone", WhenUnsatisfiable: "DoNotSchedule", Selector: self}}
	case 3:
		pod.PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: self, TopologyKey: "kubernetes.io/hostname"}}
	case 4:
		pod.NodeSelector = map[string]string{"kubernetes.io/arch": "amd64"}
	}
}

// builder adds nodes as pods need them.
type builder struct {
	state *fleetv1.ClusterState
	o     Options
	free  []Shape
	apps  []map[string]bool // with anti-affinity, by node
	first int               // nodes before it are full
}

func (b *builder) fit(pod *fleetv1.Pod) int {
	for i := b.first; i < len(b.free); i++ {
		if b.takes(i, pod) {
			return i
		}
	}
	zone := zones[len(b.free)%len(zones)]
	if only := pod.NodeSelector["topology.kubernetes.io/zone"]; only != "" {
		zone = only
	}
	if len(pod.VolumeZones) > 0 {
		zone = pod.VolumeZones[0]
	}
	shape := b.o.Shapes[len(b.free)%len(b.o.Shapes)]
	b.free, b.apps = append(b.free, shape), append(b.apps, map[string]bool{})
	b.state.Nodes = append(b.state.Nodes, node(len(b.free)-1, shape, zone, b.o.NodeType))
	return len(b.free) - 1
}

func (b *builder) takes(i int, pod *fleetv1.Pod) bool {
	zone := b.state.Nodes[i].AvailabilityZone
	if only := pod.NodeSelector["topology.kubernetes.io/zone"]; only != "" && only != zone {
		return false
	}
	if len(pod.VolumeZones) > 0 && pod.VolumeZones[0] != zone || len(pod.PodAntiAffinity) > 0 && b.apps[i][pod.Labels["app"]] {
		return false
	}
	f, r := b.free[i], pod.Requests
	return f.Pods > 0 && f.CPUMillicores >= r.CpuMillicores && f.MemoryBytes >= r.MemoryBytes
}

func (b *builder) take(i int, pod *fleetv1.Pod) {
	f := &b.free[i]
	f.CPUMillicores, f.MemoryBytes, f.Pods = f.CPUMillicores-pod.Requests.CpuMillicores, f.MemoryBytes-pod.Requests.MemoryBytes, f.Pods-1
	b.apps[i][pod.Labels["app"]] = true
	for b.first < len(b.free) && (b.free[b.first].CPUMillicores < 50 || b.free[b.first].Pods < 1) {
		b.first++
	}
}

func node(i int, s Shape, zone, nodeType string) *fleetv1.NodeMetric {
	name := fmt.Sprintf("node-%05d", i)
	capacity := "ON_DEMAND"
	if nodeType == "" {
		nodeType = "on-demand"
	}
	if nodeType == "spot" {
		capacity = "SPOT"
	}
	return &fleetv1.NodeMetric{
		NodeName: name, InstanceType: s.Type, InstanceId: fmt.Sprintf("i-%017x", i), AvailabilityZone: zone, NodeType: nodeType, Ready: true,
		CpuAllocatable: float64(s.CPUMillicores) / 1000, MemoryAllocatableGb: float64(s.MemoryBytes) / gib, MaxPods: s.Pods,
		Allocatable:  &fleetv1.Resources{CpuMillicores: s.CPUMillicores, MemoryBytes: s.MemoryBytes, EphemeralStorageBytes: 17 * gib},
		Architecture: "amd64",
		Labels: map[string]string{
			"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "us-east-1",
			"node.kubernetes.io/instance-type": s.Type, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
			"eks.amazonaws.com/capacityType": capacity, "karpenter.sh/capacity-type": nodeType,
		},
	}
}
