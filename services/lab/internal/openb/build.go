package openb

import (
	"fmt"
	"math/rand/v2"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

// maxGroup is how many equal pods get one owner; the trace has no owners.
const maxGroup = 12

// room is what is left on a node.
type room struct {
	node                        string
	allCPU, cpu                 int64
	allMemory, memory, gpu, pod int64
	gpuNode                     bool
}

// owner is the group that the next pod of a shape goes into.
type owner struct {
	name string
	size int
	goal int
}

type builder struct {
	Config
	rand    *rand.Rand
	rooms   []*room
	owners  map[shape]*owner
	count   int
	dropped int
	out     *dump.Dump
}

func newBuilder(c Config, random *rand.Rand) *builder {
	return &builder{Config: c, rand: random, owners: map[shape]*owner{}, out: &dump.Dump{}}
}

// addNodes gives each machine the cheapest EC2 type that covers it.
func (b *builder) addNodes(machines []machine) error {
	for i, m := range machines {
		t, ok := eks.Cheapest(m.cpuMilli, m.memoryMiB, m.gpus)
		if !ok {
			return fmt.Errorf("converting %s: no known EC2 type has %dm CPU, %d MiB and %d GPUs", m.name, m.cpuMilli, m.memoryMiB, m.gpus)
		}
		node := eks.Node(eks.Machine{Name: m.name, Type: t, Arch: "amd64", Zone: b.Region + string(rune('a'+i%3))})
		b.out.Nodes = append(b.out.Nodes, *node)
		size := node.Status.Allocatable
		gpus := size[eks.ResourceGPU]
		r := &room{
			node: m.name, allCPU: size.Cpu().MilliValue(), allMemory: size.Memory().Value() >> 20,
			gpu: gpus.Value(), pod: size.Pods().Value(), gpuNode: t.GPUs > 0,
		}
		r.cpu, r.memory = r.allCPU, r.allMemory
		b.rooms = append(b.rooms, r)
	}
	return nil
}

// addPods puts each on the first node that has room and is not yet as full as
// asked; when all are, the rest of the trace is not wanted.
func (b *builder) addPods(tasks []task) {
	open := b.rooms
	for _, t := range tasks {
		var still []*room
		for _, r := range open {
			if !r.full(b.Fill) {
				still = append(still, r)
			}
		}
		if open = still; len(open) == 0 {
			return
		}
		r := firstFit(open, t)
		if r == nil {
			b.dropped++
			continue
		}
		r.cpu -= t.cpuMilli
		r.memory -= t.memoryMiB
		r.gpu -= t.gpus
		r.pod--
		b.out.Pods = append(b.out.Pods, b.pod(t, r.node))
	}
}

func (r *room) full(fill float64) bool {
	return float64(r.allCPU-r.cpu) >= fill*float64(r.allCPU) ||
		float64(r.allMemory-r.memory) >= fill*float64(r.allMemory) || r.pod == 0
}

// firstFit keeps pods without GPU off GPU nodes, which cost too much for them.
func firstFit(rooms []*room, t task) *room {
	for _, r := range rooms {
		if r.gpuNode == (t.gpus > 0) && r.cpu >= t.cpuMilli && r.memory >= t.memoryMiB && r.gpu >= t.gpus {
			return r
		}
	}
	return nil
}

func (b *builder) pod(t task, node string) corev1.Pod {
	o := b.ownerOf(t.shape())
	o.size++
	yes := true
	requests := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(t.cpuMilli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(t.memoryMiB<<20, resource.BinarySI),
	}
	limits := corev1.ResourceList{}
	if t.gpus > 0 {
		requests[eks.ResourceGPU] = *resource.NewQuantity(t.gpus, resource.DecimalSI)
		limits[eks.ResourceGPU] = requests[eks.ResourceGPU]
	}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "openb", Name: t.name,
			Labels: map[string]string{"app.kubernetes.io/name": o.name, "openb/qos": strings.ToLower(t.qos)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: o.name, UID: types.UID(o.name), Controller: &yes,
			}},
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{
			Name: "main", Image: "pause:3.10",
			Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// ownerOf groups equal pods, up to a size that is drawn anew for each group.
func (b *builder) ownerOf(s shape) *owner {
	o := b.owners[s]
	if o == nil || o.size >= o.goal {
		o = &owner{name: fmt.Sprintf("group-%04d", b.count), goal: 1 + b.rand.IntN(maxGroup)}
		b.count++
		b.owners[s] = o
	}
	return o
}
