// Package eks says what a Kubernetes node of an EC2 instance looks like on EKS.
package eks

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels that EKS and its parts put on nodes.
const (
	LabelCapacityType = "eks.amazonaws.com/capacityType"
	LabelNodegroup    = "eks.amazonaws.com/nodegroup"
	LabelKarpenter    = "karpenter.sh/capacity-type"

	OnDemand = "ON_DEMAND"
	Spot     = "SPOT"

	// ResourceGPU is what NVIDIA's device plugin offers.
	ResourceGPU = corev1.ResourceName("nvidia.com/gpu")
)

// Machine is an EC2 instance as far as its node can tell.
type Machine struct {
	Name       string
	InstanceID string
	Type       Type
	Arch       string // Kubernetes' word: amd64, arm64
	Zone       string
	Spot       bool
}

// Region cuts the letter off an availability zone's name.
func Region(zone string) string {
	return strings.TrimRight(zone, "abcdefghijklmnopqrstuvwxyz")
}

// ProviderID is the link between a Node and its instance.
func ProviderID(zone, instanceID string) string {
	return fmt.Sprintf("aws:///%s/%s", zone, instanceID)
}

// InstanceID is the last part of a provider id, or "" when it is not AWS's.
func InstanceID(providerID string) string {
	rest, ok := strings.CutPrefix(providerID, "aws:///")
	if !ok {
		return ""
	}
	return rest[strings.LastIndex(rest, "/")+1:]
}

// Node is the object that the machine's kubelet would register.
func Node(m Machine) *corev1.Node {
	capacity, allocatable := m.Type.Resources()
	node := &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: m.Name, Labels: Labels(m)},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: allocatable,
			NodeInfo:    nodeInfo(m.Arch),
			// kwok adds the InternalIP, of loopback: the API server dials it for
			// `kubectl logs`, and must never dial a real one.
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalDNS, Address: m.Name}, {Type: corev1.NodeHostName, Address: m.Name},
			},
		},
	}
	if m.InstanceID != "" {
		node.Spec.ProviderID = ProviderID(m.Zone, m.InstanceID)
	}
	return node
}

// Labels are the ones every EKS node has.
func Labels(m Machine) map[string]string {
	capacityType := OnDemand
	if m.Spot {
		capacityType = Spot
	}
	return map[string]string{
		corev1.LabelInstanceTypeStable: m.Type.Name,
		corev1.LabelTopologyZone:       m.Zone,
		corev1.LabelTopologyRegion:     Region(m.Zone),
		corev1.LabelArchStable:         m.Arch,
		corev1.LabelOSStable:           "linux",
		corev1.LabelHostname:           m.Name,
		LabelCapacityType:              capacityType,
	}
}

func nodeInfo(arch string) corev1.NodeSystemInfo {
	return corev1.NodeSystemInfo{
		Architecture: arch, OperatingSystem: "linux", OSImage: "Amazon Linux 2023",
		KernelVersion: "6.1.141-155.222.amzn2023", ContainerRuntimeVersion: "containerd://1.7.27",
		KubeletVersion: "v1.33.3-eks-3abbec1",
	}
}

// MaxPods is how many pods find an address: the VPC CNI gives each pod a
// secondary address of one of the instance's network interfaces, and two pods
// (aws-node, kube-proxy) use the host's.
func (t Type) MaxPods() int64 { return t.ENIs*(t.IPsPerENI-1) + 2 }

// Resources are the machine's capacity and what is left of it for pods.
//
// Reserved as nodeadm does on EKS's images (awslabs/amazon-eks-ami,
// nodeadm/internal/kubelet: getCPUMillicoresToReserve and
// getMemoryMebibytesToReserve): CPU 6 % of the first core, 1 % of the second,
// 0.5 % of the next two, 0.25 % of the rest; memory 255 MiB + 11 MiB for each
// pod; and the kubelet's hard eviction threshold of 100 MiB. The hypervisor's
// own share of the memory is taken as 7.5 %, Karpenter's default.
func (t Type) Resources() (capacity, allocatable corev1.ResourceList) {
	pods := t.MaxPods()
	memory := t.MemoryMiB * 925 / 1000
	capacity = t.list(t.VCPU*1000, memory, 80)
	allocatable = t.list(t.VCPU*1000-reservedCPU(t.VCPU), memory-255-11*pods-100, 71)
	return capacity, allocatable
}

func (t Type) list(cpuMilli, memoryMiB, diskGiB int64) corev1.ResourceList {
	list := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewMilliQuantity(cpuMilli, resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(memoryMiB<<20, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(t.MaxPods(), resource.DecimalSI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(diskGiB<<30, resource.BinarySI),
	}
	if t.GPUs > 0 {
		list[ResourceGPU] = *resource.NewQuantity(t.GPUs, resource.DecimalSI)
	}
	return list
}

// reservedCPU is in thousandths of a core. Fractions of one are dropped at
// the very end, as upstream does.
func reservedCPU(vcpu int64) int64 {
	perCore := []int64{600, 100, 50, 50} // in 1/10,000 core
	var reserved int64
	for core := range vcpu {
		if core < int64(len(perCore)) {
			reserved += perCore[core]
		} else {
			reserved += 25
		}
	}
	return reserved / 10
}
