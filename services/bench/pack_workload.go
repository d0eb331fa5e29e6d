package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// packWorkload is pods and what may be bought for them; both engines get the same.
type packWorkload struct {
	types    json.RawMessage
	capacity []string
	pools    []packPool
	pods     []*fleetv1.Pod
	daemons  []*fleetv1.Pod
}

type packPool struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Taints []packTaint       `json:"taints,omitempty"`
}

type packTaint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

const (
	hostname = "kubernetes.io/hostname"
	zoneKey  = "topology.kubernetes.io/zone"
	archKey  = "kubernetes.io/arch"
	capKey   = "karpenter.sh/capacity-type"
	teamKey  = "team"
)

// ruled is a workload of deployments of which most have rules about where they go,
// as platform teams write them: affinity, anti-affinity, spread, taints, zones,
// DaemonSets, architecture. onDemand is the share that must not run on spot.
func ruled(n int, seed uint64, onDemand float64) *packWorkload {
	rng := rand.New(rand.NewPCG(seed, 11))
	w := &packWorkload{capacity: []string{"on-demand"}, daemons: daemonSets()}
	if onDemand > 0 {
		w.capacity = []string{"spot", "on-demand"}
	}
	batch := packPool{Name: "batch", Labels: map[string]string{teamKey: "batch"}, Taints: []packTaint{{Key: teamKey, Value: "batch", Effect: "NoSchedule"}}}
	w.pools = []packPool{{Name: "default"}, batch}
	for app := 0; len(w.pods) < n; app++ {
		w.pods = append(w.pods, ruledDeployment(rng, app, onDemand)...)
	}
	w.pods = w.pods[:n]
	rng.Shuffle(n, func(i, j int) { w.pods[i], w.pods[j] = w.pods[j], w.pods[i] })
	return w
}

func ruledDeployment(rng *rand.Rand, app int, onDemand float64) []*fleetv1.Pod {
	name := fmt.Sprintf("app-%04d", app)
	cpu := []int64{50, 100, 100, 150, 200, 250, 250, 300, 500, 500, 750, 1000, 1500, 2000, 4000}[rng.IntN(15)]
	memory := float64(cpu) / 1000 * []float64{0.5, 1, 2, 2, 4, 4, 8}[rng.IntN(7)] * (0.75 + 0.5*rng.Float64())
	model := &fleetv1.Pod{
		Namespace: "default", Phase: "Pending", Labels: map[string]string{"app": name},
		Requests: &fleetv1.Resources{CpuMillicores: cpu, MemoryBytes: max(2, int64(memory*32)) << 25},
	}
	replicas := 1 + min(40, int(rng.ExpFloat64()*6))
	replicas = rule(rng, model, replicas)
	selector := map[string]string{}
	switch x := rng.Float64(); {
	case x < 0.5:
		selector[archKey] = "amd64"
	case x < 0.65:
		selector[archKey] = "arm64"
	}
	if rng.Float64() < onDemand {
		selector[capKey] = "on-demand"
	}
	if rng.Float64() < 0.1 {
		selector[teamKey] = "batch"
		model.Tolerations = []*fleetv1.Toleration{{Key: teamKey, Value: "batch", Effect: "NoSchedule"}}
	}
	if len(selector) > 0 {
		model.NodeSelector = selector
	}
	stateful := rng.Float64() < 0.08 // each replica has its volume in a zone
	var pods []*fleetv1.Pod
	for i := range replicas {
		pod := proto.CloneOf(model)
		pod.Name = fmt.Sprintf("%s-%02d", name, i)
		pod.Uid = pod.Name
		if stateful && len(pod.PodAffinity) == 0 && len(pod.TopologySpread) == 0 && len(pod.PodAntiAffinity) == 0 {
			pod.VolumeZones = []string{"us-east-1" + string(rune('a'+i%3))}
		}
		pods = append(pods, pod)
	}
	return pods
}

// rule about other pods, for two deployments of five. It returns how many replicas
// there can be.
func rule(rng *rand.Rand, pod *fleetv1.Pod, replicas int) int {
	self := &fleetv1.LabelSelector{MatchLabels: pod.Labels}
	spread := func(key string) {
		pod.TopologySpread = []*fleetv1.TopologySpread{{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: "DoNotSchedule", Selector: self}}
	}
	term := func(key string) []*fleetv1.PodAffinityTerm {
		return []*fleetv1.PodAffinityTerm{{Selector: self, TopologyKey: key}}
	}
	switch x := rng.Float64(); {
	case x < 0.12:
		spread(zoneKey)
	case x < 0.18:
		spread(hostname)
		return min(replicas, 12)
	case x < 0.26:
		pod.PodAntiAffinity = term(hostname)
		return min(replicas, 9)
	case x < 0.29:
		pod.PodAntiAffinity = term(zoneKey)
		return min(replicas, 3)
	case x < 0.34:
		pod.PodAffinity = term(zoneKey)
	case x < 0.37:
		pod.PodAffinity = term(hostname)
		return min(replicas, 4)
	case x < 0.40: // apart from the pods of another deployment
		other := &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprintf("app-%04d", rng.IntN(40))}}
		pod.PodAntiAffinity = []*fleetv1.PodAffinityTerm{{Selector: other, TopologyKey: hostname}}
	}
	return replicas
}

// daemonSets that EKS clusters run.
func daemonSets() (pods []*fleetv1.Pod) {
	for _, d := range []struct {
		name        string
		cpu, memory int64
		port        int32
	}{{"aws-node", 50, 128, 0}, {"kube-proxy", 100, 64, 0}, {"ebs-csi-node", 30, 120, 0}, {"node-exporter", 50, 64, 9100}, {"log-agent", 100, 256, 0}} {
		pod := &fleetv1.Pod{
			Uid: d.name, Name: d.name, Namespace: "kube-system", Labels: map[string]string{"k8s-app": d.name},
			Requests:    &fleetv1.Resources{CpuMillicores: d.cpu, MemoryBytes: d.memory << 20},
			Tolerations: []*fleetv1.Toleration{{Operator: "Exists"}},
		}
		if d.port > 0 {
			pod.HostPorts = []int32{d.port}
		}
		pods = append(pods, pod)
	}
	return pods
}

// write the workload for our packer, in fleet.v1, and for Karpenter, in Kubernetes' own terms.
func (w *packWorkload) write(ours, theirs string) error {
	type file struct {
		Types    json.RawMessage `json:"types"`
		Capacity []string        `json:"capacity"`
		Pools    []packPool      `json:"pools"`
		Pods     any             `json:"pods"`
		Daemons  any             `json:"daemons"`
	}
	fleet := func(pods []*fleetv1.Pod) (all []json.RawMessage, err error) {
		for _, pod := range pods {
			raw, err := protojson.Marshal(pod)
			if err != nil {
				return nil, fmt.Errorf("writing pod %s: %w", pod.GetName(), err)
			}
			all = append(all, raw)
		}
		return all, nil
	}
	kube := func(pods []*fleetv1.Pod) (all []*corev1.Pod) {
		for _, pod := range pods {
			all = append(all, kubePod(pod))
		}
		return all
	}
	pods, err := fleet(w.pods)
	if err != nil {
		return err
	}
	daemons, err := fleet(w.daemons)
	if err != nil {
		return err
	}
	if err := writeJSON(ours, file{w.types, w.capacity, w.pools, pods, daemons}); err != nil {
		return err
	}
	return writeJSON(theirs, file{w.types, w.capacity, w.pools, kube(w.pods), kube(w.daemons)})
}

func writeJSON(file string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}
