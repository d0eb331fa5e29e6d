package catalogue

import "strings"

// Type is an EC2 instance type.
type Type struct {
	// Name, e.g. m5.large.
	Name string
	// Family, e.g. m5.
	Family string
	// Category as AWS words it: General purpose, Compute optimized, …
	Category string
	// Current generation.
	Current bool
	// VCPU count.
	VCPU int
	// MemoryMiB is the nominal memory.
	MemoryMiB int64
	// Architecture as in kubernetes.io/arch.
	Architecture string
	// GPUs or other accelerators.
	GPUs int
	// GPU is their name.
	GPU string
	// Burstable types earn CPU credits; sustained use is throttled or billed extra.
	Burstable bool
	// BareMetal types have no hypervisor and take long to start.
	BareMetal bool
	// MaxPods that the network interfaces have addresses for.
	MaxPods int
}

// Family of a type by its name: m5 of m5.large.
func Family(name string) string {
	family, _, _ := strings.Cut(name, ".")
	return family
}

// Allocatable is what the pods of a node can use.
type Allocatable struct {
	CPUMillicores int64
	MemoryBytes   int64
	Pods          int64
	// Accelerator is the extended resource's name and Accelerators the count; empty for none.
	Accelerator  string
	Accelerators int64
}

const (
	mib = 1 << 20
	// Memory that EKS' bootstrap keeps for the kubelet: 255 MiB and 11 MiB for each
	// pod the node may run (awslabs/amazon-eks-ami, nodeadm, kubelet config).
	reservedMiB       = 255
	reservedPerPodMiB = 11
	// evictionMiB is the kubelet's hard eviction threshold on EKS, memory.available<100Mi.
	evictionMiB = 100
	// hiddenShare of the nominal memory is taken by the hypervisor and the kernel before
	// the kubelet counts. It differs by type; 7.5 % is Karpenter's default estimate
	// (VM_MEMORY_OVERHEAD_PERCENT) and errs on the side of room.
	hiddenShare = 0.075
)

// Allocatable computes what EKS leaves to pods on a node of this type. It is a
// little less than the truth on most types, so that a plan made with it fits.
func (t Type) Allocatable() Allocatable {
	memory := t.MemoryMiB - int64(float64(t.MemoryMiB)*hiddenShare) - reservedMiB - reservedPerPodMiB*int64(t.MaxPods) - evictionMiB
	name, count := t.accelerator()
	return Allocatable{
		CPUMillicores: int64(t.VCPU)*1000 - reservedMillicores(t.VCPU),
		MemoryBytes:   max(0, memory) * mib,
		Pods:          int64(t.MaxPods),
		Accelerator:   name,
		Accelerators:  count,
	}
}

// reservedMillicores is what EKS keeps for the kubelet: 6 % of the first core, 1 %
// of the second, 0.5 % of the next two and 0.25 % of each further one.
func reservedMillicores(cores int) int64 {
	tenths := 0 // of a millicore, so that the quarter percents stay whole
	for core := range cores {
		switch {
		case core == 0:
			tenths += 600
		case core == 1:
			tenths += 100
		case core < 4:
			tenths += 50
		default:
			tenths += 25
		}
	}
	return int64(tenths+9) / 10
}

// accelerator is the extended resource the device plugin of the type advertises.
func (t Type) accelerator() (string, int64) {
	switch {
	case t.GPUs == 0:
		return "", 0
	case strings.HasPrefix(t.GPU, "NVIDIA"):
		return "nvidia.com/gpu", int64(t.GPUs)
	case strings.HasPrefix(t.GPU, "AMD"):
		return "amd.com/gpu", int64(t.GPUs)
	case strings.HasPrefix(t.GPU, "AWS"):
		return "aws.amazon.com/neuron", int64(t.GPUs)
	}
	return "", 0
}
