package spotoptimize

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// embedded is loaded once: it takes longer than most decisions here.
var embedded = sync.OnceValues(market.New)

func testMarket(tb testing.TB) *market.Snapshot {
	tb.Helper()
	m, err := embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return m.Snapshot()
}

// sizes a generated cluster is made of.
type sizes struct {
	seed        uint64
	nodes, pods int
	types       []string
	plain       bool // pods without any constraints
}

// generate a cluster whose pods all run by the scheduler's rules: nodes with
// DaemonSets, and deployments of pods put on them by the scheduler's own choice.
func generate(tb testing.TB, prices *market.Snapshot, s sizes) *fleetv1.ClusterState {
	tb.Helper()
	rng := rand.New(rand.NewPCG(s.seed, 7))
	state := &fleetv1.ClusterState{ClusterId: "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", ClusterName: "generated", Region: "us-east-1", LastUpdated: timestamppb.New(testNow)}
	if len(s.types) == 0 {
		s.types = []string{"m5.xlarge", "m5.2xlarge", "c5.2xlarge", "r5.xlarge"}
	}
	for i := range s.nodes {
		n := testNode(tb, prices, fmt.Sprintf("ip-10-0-%d-%d", i/250, i%250), s.types[rng.IntN(len(s.types))], "us-east-1"+string(rune('a'+i%3)))
		state.Nodes = append(state.Nodes, n)
		for _, d := range []string{"aws-node", "kube-proxy", "ebs-csi-node"} {
			state.Pods = append(state.Pods, &fleetv1.Pod{
				Uid: d + n.NodeName, Namespace: "kube-system", Name: d + "-" + n.NodeName, NodeName: n.NodeName, Phase: "Running", Ready: true,
				Owner: &fleetv1.Owner{Kind: "DaemonSet", Name: d}, Labels: map[string]string{"k8s-app": d},
				Requests:    &fleetv1.Resources{CpuMillicores: 50, MemoryBytes: 64 << 20},
				Tolerations: []*fleetv1.Toleration{{Operator: "Exists"}},
				NodeAffinity: []*fleetv1.NodeSelectorTerm{{MatchFields: []*fleetv1.LabelRequirement{
					{Key: "metadata.name", Operator: "In", Values: []string{n.NodeName}},
				}}},
			})
		}
	}
	var wanted []*fleetv1.Pod
	for app := 0; len(wanted) < s.pods; app++ {
		wanted = append(wanted, deployment(rng, app, s.plain)...)
	}
	land(tb, state, wanted[:s.pods])
	return state
}

func testNode(tb testing.TB, prices *market.Snapshot, name, typeName, zone string) *fleetv1.NodeMetric {
	tb.Helper()
	kind, ok := prices.Type(typeName)
	if !ok {
		tb.Fatalf("no type %s", typeName)
	}
	left := kind.Allocatable()
	return &fleetv1.NodeMetric{
		NodeName: name, InstanceType: typeName, InstanceId: "i-" + name, AvailabilityZone: zone, NodeType: "on-demand", Ready: true,
		CpuAllocatable: float64(left.CPUMillicores) / 1000, MemoryAllocatableGb: float64(left.MemoryBytes) / gib, MaxPods: int32(left.Pods),
		Allocatable:  &fleetv1.Resources{CpuMillicores: left.CPUMillicores, MemoryBytes: left.MemoryBytes, EphemeralStorageBytes: 17 << 30},
		Architecture: kind.Architecture,
		Labels: map[string]string{
			"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "us-east-1",
			"node.kubernetes.io/instance-type": typeName, "kubernetes.io/arch": kind.Architecture, "kubernetes.io/os": "linux",
			"eks.amazonaws.com/capacityType": "ON_DEMAND", "karpenter.sh/capacity-type": "on-demand",
		},
	}
}

// deployment of some pods, one in three with a rule about where they go.
func deployment(rng *rand.Rand, app int, plain bool) []*fleetv1.Pod {
	name := fmt.Sprintf("app-%03d", app)
	labels := map[string]string{"app": name}
	model := &fleetv1.Pod{
		Namespace: "default", Phase: "Running", Ready: true, Owner: &fleetv1.Owner{Kind: "ReplicaSet", Name: name}, Labels: labels,
		Requests: &fleetv1.Resources{
			CpuMillicores: []int64{50, 100, 250, 250, 500, 1000, 2000}[rng.IntN(7)],
			MemoryBytes:   []int64{64, 128, 256, 512, 1024, 2048, 4096}[rng.IntN(7)] << 20,
		},
	}
	self := &fleetv1.LabelSelector{MatchLabels: labels}
	replicas := 1 + rng.IntN(9)
	rule := rng.IntN(18)
	if plain {
		rule = 17
	}
	switch rule {
	case 0:
		replicas = min(replicas, 3)
		model.PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: self, TopologyKey: fit.LabelHostname}}
	case 1:
		model.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 1, TopologyKey: fit.LabelZone, WhenUnsatisfiable: "DoNotSchedule", Selector: self}}
	case 2:
		model.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 2, TopologyKey: fit.LabelHostname, WhenUnsatisfiable: "DoNotSchedule", Selector: self}}
	case 3:
		model.NodeSelector = map[string]string{fit.LabelZone: "us-east-1" + string(rune('a'+rng.IntN(3)))}
	case 4:
		model.NodeSelector = map[string]string{"eks.amazonaws.com/capacityType": "ON_DEMAND"}
	case 5:
		replicas, model.HostPorts = min(replicas, 3), []int32{int32(8000 + app)}
	case 6:
		model.VolumeZones, replicas = []string{"us-east-1" + string(rune('a'+rng.IntN(3)))}, 1
	}
	var pods []*fleetv1.Pod
	for i := range replicas {
		pod := proto.CloneOf(model)
		pod.Name = fmt.Sprintf("%s-%d", name, i)
		pod.Uid = "uid-" + pod.Name
		pods = append(pods, pod)
	}
	return pods
}

// land the pods where the scheduler puts them; those without a place are left out.
func land(tb testing.TB, state *fleetv1.ClusterState, wanted []*fleetv1.Pod) {
	tb.Helper()
	all := append(append([]*fleetv1.Pod{}, state.Pods...), wanted...)
	book := fit.NewBook(all)
	c := fit.NewCluster(book)
	index := map[string]int{}
	for _, n := range state.Nodes {
		room := book.Amounts(n.Allocatable)
		room.Pods = int64(n.MaxPods)
		index[n.NodeName] = c.AddNode(fit.Node{Name: n.NodeName, Labels: n.Labels, Taints: n.Taints, Room: room, Closed: n.Unschedulable || !n.Ready})
	}
	for i := range state.Pods {
		c.Place(i, index[all[i].NodeName])
	}
	s := fit.Scheduler{Seed: 9, Noise: 20}
	for i := len(state.Pods); i < len(all); i++ {
		if n := s.Schedule(c, i); n >= 0 {
			all[i].NodeName = c.Node(n).Name
			state.Pods = append(state.Pods, all[i])
		}
	}
	for _, n := range state.Nodes {
		n.PodCount = 0
	}
	for _, p := range state.Pods {
		if i, ok := index[p.NodeName]; ok {
			state.Nodes[i].PodCount++
		}
	}
}

func request(state *fleetv1.ClusterState, constraints map[string]any) *mlv1.DecisionRequest {
	c, err := structpb.NewStruct(constraints)
	if err != nil {
		return nil // Decide refuses it, and the test fails
	}
	return &mlv1.DecisionRequest{RequestId: "req-1", ClusterId: state.ClusterId, CurrentState: state, Constraints: c}
}
