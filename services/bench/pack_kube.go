package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// kubePod is a pending pod in Kubernetes' own terms. Volumes' zones become node
// affinity, which is what Karpenter makes of a bound volume itself.
func kubePod(p *fleetv1.Pod) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.GetName(), Namespace: p.GetNamespace(), UID: types.UID(p.GetUid()), Labels: p.GetLabels()},
		Spec:       corev1.PodSpec{NodeSelector: p.GetNodeSelector()},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable},
		}},
	}
	container := corev1.Container{Name: "main", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(p.GetRequests().GetCpuMillicores(), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(p.GetRequests().GetMemoryBytes(), resource.BinarySI),
	}}}
	for _, port := range p.GetHostPorts() {
		container.Ports = append(container.Ports, corev1.ContainerPort{ContainerPort: port, HostPort: port, Protocol: corev1.ProtocolTCP})
	}
	pod.Spec.Containers = []corev1.Container{container}
	for _, t := range p.GetTolerations() {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
			Key: t.GetKey(), Operator: corev1.TolerationOperator(t.GetOperator()), Value: t.GetValue(), Effect: corev1.TaintEffect(t.GetEffect()),
		})
	}
	for _, s := range p.GetTopologySpread() {
		pod.Spec.TopologySpreadConstraints = append(pod.Spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
			MaxSkew: s.GetMaxSkew(), TopologyKey: s.GetTopologyKey(), WhenUnsatisfiable: corev1.UnsatisfiableConstraintAction(s.GetWhenUnsatisfiable()),
			LabelSelector: kubeSelector(s.GetSelector()),
		})
	}
	pod.Spec.Affinity = kubeAffinity(p)
	return pod
}

func kubeAffinity(p *fleetv1.Pod) *corev1.Affinity {
	a := &corev1.Affinity{}
	if zones := p.GetVolumeZones(); len(zones) > 0 {
		a.NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: zoneKey, Operator: corev1.NodeSelectorOpIn, Values: zones},
			}}},
		}}
	}
	if terms := kubeTerms(p.GetPodAffinity()); len(terms) > 0 {
		a.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}
	}
	if terms := kubeTerms(p.GetPodAntiAffinity()); len(terms) > 0 {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}
	}
	return a
}

func kubeTerms(terms []*fleetv1.PodAffinityTerm) (all []corev1.PodAffinityTerm) {
	for _, t := range terms {
		all = append(all, corev1.PodAffinityTerm{LabelSelector: kubeSelector(t.GetSelector()), TopologyKey: t.GetTopologyKey()})
	}
	return all
}

func kubeSelector(s *fleetv1.LabelSelector) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: s.GetMatchLabels()}
}
