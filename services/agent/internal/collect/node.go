package collect

import (
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

const gib = 1 << 30

// nodeMetric says of a node what packing needs, its pods' requests added up.
func nodeMetric(node *corev1.Node, pods []*corev1.Pod) *fleetv1.NodeMetric {
	m := shortNodeMetric(node, pods)
	m.NodeUid = string(node.UID)
	m.ProviderId = node.Spec.ProviderID
	m.Labels = node.Labels
	m.Ready = nodeReady(node)
	m.Unschedulable = node.Spec.Unschedulable
	m.Allocatable = resources(node.Status.Allocatable)
	m.MaxPods = int32(node.Status.Allocatable.Pods().Value())
	m.Architecture = node.Labels[corev1.LabelArchStable]
	if m.Architecture == "" {
		m.Architecture = node.Status.NodeInfo.Architecture
	}
	m.CreatedAt = timestamppb.New(node.CreationTimestamp.Time)
	m.DoNotDisrupt = nodeDoNotDisrupt(node)
	for _, t := range node.Spec.Taints {
		m.Taints = append(m.Taints, &fleetv1.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	return m
}

// shortNodeMetric has only the fields that a metrics report documents.
func shortNodeMetric(node *corev1.Node, pods []*corev1.Pod) *fleetv1.NodeMetric {
	m := &fleetv1.NodeMetric{
		NodeName:            node.Name,
		InstanceType:        label(node, 50, corev1.LabelInstanceTypeStable, corev1.LabelInstanceType),
		InstanceId:          instanceID(node.Spec.ProviderID),
		AvailabilityZone:    label(node, 50, corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone),
		NodeType:            nodeType(node),
		CpuAllocatable:      node.Status.Allocatable.Cpu().AsApproximateFloat64(),
		MemoryAllocatableGb: float64(node.Status.Allocatable.Memory().Value()) / gib,
	}
	millis, bytes := int64(0), int64(0)
	for _, pod := range pods {
		if drain.Finished(pod) {
			continue
		}
		requests := podRequests(pod)
		millis += requests.Cpu().MilliValue()
		bytes += requests.Memory().Value()
		m.PodCount++
	}
	m.CpuAllocated, m.MemoryAllocatedGb = float64(millis)/1000, float64(bytes)/gib
	return m
}

// label returns the first of the labels that is set; a value longer than the
// contract takes is left out rather than cut to something that means another.
func label(node *corev1.Node, limit int, keys ...string) string {
	for _, key := range keys {
		if v := node.Labels[key]; v != "" && len(v) <= limit {
			return v
		}
	}
	return ""
}

// nodeType reads how the node was bought; ours comes first as it is the truth
// for what CloudOptim launched.
func nodeType(node *corev1.Node) string {
	for _, key := range []string{"cloudoptim.io/capacity-type", "karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType"} {
		if v, ok := node.Labels[key]; ok {
			if strings.EqualFold(v, "spot") {
				return "spot"
			}
			return "on-demand"
		}
	}
	return "on-demand"
}

// instanceID is the end of aws:///zone/i-…; Fargate and other clouds have none.
func instanceID(providerID string) string {
	id := providerID[strings.LastIndex(providerID, "/")+1:]
	if !strings.HasPrefix(providerID, "aws://") || !strings.HasPrefix(id, "i-") || len(id) > 50 {
		return ""
	}
	return id
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func nodeDoNotDisrupt(node *corev1.Node) bool {
	a := node.Annotations
	return drain.DoNotDisrupt(a) != "" || a["cluster-autoscaler.kubernetes.io/scale-down-disabled"] == "true"
}

// resources are exact; pods are counted elsewhere.
func resources(list corev1.ResourceList) *fleetv1.Resources {
	r := &fleetv1.Resources{}
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			r.CpuMillicores = q.MilliValue()
		case corev1.ResourceMemory:
			r.MemoryBytes = q.Value()
		case corev1.ResourceEphemeralStorage:
			r.EphemeralStorageBytes = q.Value()
		case corev1.ResourcePods:
		default:
			if q.IsZero() {
				continue
			}
			if r.Extended == nil {
				r.Extended = map[string]int64{}
			}
			r.Extended[string(name)] = q.Value()
		}
	}
	return r
}
