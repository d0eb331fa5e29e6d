package collect

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/resource"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

// podRequests counts as the scheduler does: the largest of init and main
// containers, sidecars, overhead, and what a resize in place still holds.
func podRequests(pod *corev1.Pod) corev1.ResourceList {
	return resource.PodRequests(pod, resource.PodResourcesOptions{
		UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true,
	})
}

// podMessage says where a pod can go and whether it may be moved.
func podMessage(pod *corev1.Pod, zones []string) *fleetv1.Pod {
	m := &fleetv1.Pod{
		Uid: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name,
		NodeName: pod.Spec.NodeName, Phase: string(pod.Status.Phase),
		Ready: podReady(pod), Terminating: pod.DeletionTimestamp != nil,
		Labels: pod.Labels, Requests: resources(podRequests(pod)),
		NodeSelector:  pod.Spec.NodeSelector,
		PriorityClass: pod.Spec.PriorityClassName,
		VolumeZones:   zones, LocalStorage: drain.LocalStorage(pod),
		DoNotDisrupt: drain.DoNotDisrupt(pod.Annotations), Mirror: drain.Mirror(pod),
		HostPorts: hostPorts(pod), CreatedAt: timestamppb.New(pod.CreationTimestamp.Time),
		GracePeriodSeconds: corev1.DefaultTerminationGracePeriodSeconds,
	}
	if pod.Spec.Priority != nil {
		m.Priority = *pod.Spec.Priority
	}
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		m.GracePeriodSeconds = int32(max(0, min(*g, 1<<31-1)))
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		m.Owner = &fleetv1.Owner{Kind: owner.Kind, Name: owner.Name, Uid: string(owner.UID)}
	}
	for _, t := range pod.Spec.Tolerations {
		m.Tolerations = append(m.Tolerations, &fleetv1.Toleration{
			Key: t.Key, Operator: string(t.Operator), Value: t.Value, Effect: string(t.Effect),
		})
	}
	setAffinity(m, pod.Spec.Affinity)
	for _, s := range pod.Spec.TopologySpreadConstraints {
		m.TopologySpread = append(m.TopologySpread, topologySpread(pod, s))
	}
	return m
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func hostPorts(pod *corev1.Pod) []int32 {
	var ports []int32
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				ports = append(ports, p.HostPort)
			}
		}
	}
	return ports
}

// setAffinity takes over what is required; preferences bind nobody.
func setAffinity(m *fleetv1.Pod, a *corev1.Affinity) {
	if a == nil {
		return
	}
	if n := a.NodeAffinity; n != nil && n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range n.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			m.NodeAffinity = append(m.NodeAffinity, &fleetv1.NodeSelectorTerm{
				MatchExpressions: nodeRequirements(term.MatchExpressions),
				MatchFields:      nodeRequirements(term.MatchFields),
			})
		}
	}
	if p := a.PodAffinity; p != nil {
		m.PodAffinity = affinityTerms(p.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		m.PodAntiAffinity = affinityTerms(p.RequiredDuringSchedulingIgnoredDuringExecution)
	}
}

func nodeRequirements(in []corev1.NodeSelectorRequirement) []*fleetv1.LabelRequirement {
	var out []*fleetv1.LabelRequirement
	for _, r := range in {
		out = append(out, &fleetv1.LabelRequirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
	}
	return out
}

func affinityTerms(in []corev1.PodAffinityTerm) []*fleetv1.PodAffinityTerm {
	var out []*fleetv1.PodAffinityTerm
	for _, t := range in {
		out = append(out, &fleetv1.PodAffinityTerm{
			Selector: selector(t.LabelSelector), TopologyKey: t.TopologyKey,
			Namespaces: t.Namespaces, NamespaceSelector: t.NamespaceSelector != nil,
		})
	}
	return out
}

// topologySpread folds matchLabelKeys in: they mean "with this pod's value".
func topologySpread(pod *corev1.Pod, s corev1.TopologySpreadConstraint) *fleetv1.TopologySpread {
	m := &fleetv1.TopologySpread{
		MaxSkew: s.MaxSkew, TopologyKey: s.TopologyKey,
		WhenUnsatisfiable: string(s.WhenUnsatisfiable), Selector: selector(s.LabelSelector),
	}
	if s.MinDomains != nil {
		m.MinDomains = *s.MinDomains
	}
	for _, key := range s.MatchLabelKeys {
		if v, ok := pod.Labels[key]; ok && m.Selector != nil {
			m.Selector.MatchExpressions = append(m.Selector.MatchExpressions,
				&fleetv1.LabelRequirement{Key: key, Operator: "In", Values: []string{v}})
		}
	}
	return m
}

// selector keeps the difference between none (selects nothing) and empty
// (selects everything).
func selector(s *metav1.LabelSelector) *fleetv1.LabelSelector {
	if s == nil {
		return nil
	}
	m := &fleetv1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, r := range s.MatchExpressions {
		m.MatchExpressions = append(m.MatchExpressions,
			&fleetv1.LabelRequirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
	}
	return m
}

// budgetMessage is a budget with the status that decides evictions.
func budgetMessage(b *policyv1.PodDisruptionBudget) *fleetv1.PodDisruptionBudget {
	m := &fleetv1.PodDisruptionBudget{
		Uid: string(b.UID), Namespace: b.Namespace, Name: b.Name, Selector: selector(b.Spec.Selector),
		ExpectedPods: b.Status.ExpectedPods, CurrentHealthy: b.Status.CurrentHealthy,
		DesiredHealthy: b.Status.DesiredHealthy, DisruptionsAllowed: b.Status.DisruptionsAllowed,
	}
	if b.Spec.MinAvailable != nil {
		m.MinAvailable = b.Spec.MinAvailable.String()
	}
	if b.Spec.MaxUnavailable != nil {
		m.MaxUnavailable = b.Spec.MaxUnavailable.String()
	}
	return m
}
