package dump

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// placeholder is never pulled: kwok runs nothing.
	placeholder = "pause:3.10"
	// maxGrace keeps a drain in the lab from taking as long as in production.
	maxGrace = 30
)

// keptAnnotations are those that scaling and disruption decisions read; all
// others may say something about the cluster's owner that is none of ours.
var keptAnnotations = []string{
	"karpenter.sh/", "cluster-autoscaler.kubernetes.io/", "cloudoptim.io/", "lab.cloudoptim.io/",
	"kwok.x-k8s.io/", "controller.kubernetes.io/pod-deletion-cost",
}

func annotations(all map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range all {
		if slices.ContainsFunc(keptAnnotations, func(p string) bool { return strings.HasPrefix(key, p) }) {
			kept[key] = value
		}
	}
	return kept
}

// Pod keeps of a pod what decides where it may run and how it may be moved,
// and drops what could hold a secret or stop it from running in the lab:
// images, commands, environment, probes, volumes, service account, runtime
// class, scheduler name and security context.
func Pod(p *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace,
			Labels: copyOf(p.Labels), Annotations: annotations(p.Annotations),
		},
		Spec: podSpec(&p.Spec),
	}
}

func podSpec(s *corev1.PodSpec) corev1.PodSpec {
	none, grace := false, int64(maxGrace)
	if g := s.TerminationGracePeriodSeconds; g != nil && *g < grace {
		grace = *g
	}
	clean := corev1.PodSpec{
		NodeName:                      s.NodeName,
		NodeSelector:                  copyOf(s.NodeSelector),
		Affinity:                      affinity(s.Affinity.DeepCopy()),
		Tolerations:                   tolerations(s.Tolerations),
		TopologySpreadConstraints:     spread(s.TopologySpreadConstraints),
		PriorityClassName:             s.PriorityClassName, // its value follows from the class
		TerminationGracePeriodSeconds: &grace,
		HostNetwork:                   s.HostNetwork,
		Resources:                     s.Resources.DeepCopy(),
		AutomountServiceAccountToken:  &none,
		EnableServiceLinks:            &none,
		InitContainers:                containers(s.InitContainers),
		Containers:                    containers(s.Containers),
	}
	for _, v := range s.Volumes {
		if v.EmptyDir != nil {
			clean.Volumes = append(clean.Volumes, *v.DeepCopy())
		}
	}
	return clean
}

func containers(all []corev1.Container) []corev1.Container {
	var clean []corev1.Container
	for i := range all {
		c := &all[i]
		k := corev1.Container{
			Name: c.Name, Image: placeholder,
			RestartPolicy: c.RestartPolicy, // marks a sidecar, whose requests count for good
			Resources:     corev1.ResourceRequirements{Requests: known(c.Resources.Requests), Limits: known(c.Resources.Limits)},
		}
		for _, port := range c.Ports {
			if port.HostPort != 0 { // one such pod to a node: it decides placement
				k.Ports = append(k.Ports, port)
			}
		}
		clean = append(clean, k)
	}
	return clean
}

// known drops nothing but zero extended resources, which a copy of the API
// server would refuse.
func known(list corev1.ResourceList) corev1.ResourceList {
	kept := corev1.ResourceList{}
	for name, quantity := range list {
		if strings.Contains(string(name), "/") && quantity.Cmp(resource.Quantity{}) <= 0 {
			continue
		}
		kept[name] = quantity.DeepCopy()
	}
	return kept
}

// tolerations drops what the API server adds by itself to every pod.
func tolerations(all []corev1.Toleration) []corev1.Toleration {
	var kept []corev1.Toleration
	for _, t := range all {
		automatic := t.TolerationSeconds != nil && *t.TolerationSeconds == 300 &&
			(t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
		if !automatic {
			kept = append(kept, *t.DeepCopy())
		}
	}
	return kept
}

// spread takes out of matchLabelKeys what the API server merged into the
// selector when the pod was made: it refuses a key in both.
func spread(all []corev1.TopologySpreadConstraint) []corev1.TopologySpreadConstraint {
	var kept []corev1.TopologySpreadConstraint
	for _, c := range all {
		k := *c.DeepCopy()
		k.MatchLabelKeys = notIn(k.LabelSelector, k.MatchLabelKeys)
		kept = append(kept, k)
	}
	return kept
}

func affinity(a *corev1.Affinity) *corev1.Affinity {
	if a == nil {
		return nil
	}
	if p := a.PodAffinity; p != nil {
		podTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		podTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return a
}

func podTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
	clean := func(t *corev1.PodAffinityTerm) {
		t.MatchLabelKeys = notIn(t.LabelSelector, t.MatchLabelKeys)
		t.MismatchLabelKeys = notIn(t.LabelSelector, t.MismatchLabelKeys)
	}
	for i := range required {
		clean(&required[i])
	}
	for i := range preferred {
		clean(&preferred[i].PodAffinityTerm)
	}
}

func notIn(selector *metav1.LabelSelector, keys []string) []string {
	if selector == nil {
		return keys
	}
	return slices.DeleteFunc(keys, func(key string) bool {
		_, plain := selector.MatchLabels[key]
		return plain || slices.ContainsFunc(selector.MatchExpressions,
			func(e metav1.LabelSelectorRequirement) bool { return e.Key == key })
	})
}

// Node keeps labels, taints and size; conditions and the address are kwok's.
func Node(n *corev1.Node) *corev1.Node {
	clean := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: copyOf(n.Labels), Annotations: annotations(n.Annotations)},
		Spec:       corev1.NodeSpec{Unschedulable: n.Spec.Unschedulable},
		Status: corev1.NodeStatus{
			Capacity: n.Status.Capacity.DeepCopy(), Allocatable: n.Status.Allocatable.DeepCopy(),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalDNS, Address: n.Name}, {Type: corev1.NodeHostName, Address: n.Name},
			},
			NodeInfo: corev1.NodeSystemInfo{
				Architecture: n.Status.NodeInfo.Architecture, OperatingSystem: n.Status.NodeInfo.OperatingSystem,
				OSImage: n.Status.NodeInfo.OSImage, KernelVersion: n.Status.NodeInfo.KernelVersion,
				ContainerRuntimeVersion: n.Status.NodeInfo.ContainerRuntimeVersion,
				KubeletVersion:          n.Status.NodeInfo.KubeletVersion,
			},
		},
	}
	for _, t := range n.Spec.Taints {
		if !strings.HasPrefix(t.Key, "node.kubernetes.io/") { // the controllers' own: states, not wishes
			clean.Spec.Taints = append(clean.Spec.Taints, corev1.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
		}
	}
	return clean
}

func copyOf(m map[string]string) map[string]string {
	c := make(map[string]string, len(m)+1)
	for k, v := range m {
		c[k] = v
	}
	return c
}
