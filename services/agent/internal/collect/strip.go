package collect

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podAnnotations are the ones that anything here reads.
var podAnnotations = []string{
	corev1.MirrorPodAnnotationKey,
	"cloudoptim.io/do-not-disrupt", "karpenter.sh/do-not-disrupt", "cluster-autoscaler.kubernetes.io/safe-to-evict",
}

// strip keeps of an object what is used here, before the cache takes it: most
// of a pod is environment, probes, mounts and status.
func strip(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return stripPod(o), nil
	case *corev1.Node:
		o.ManagedFields = nil
		o.Status.Images = nil
		o.Status.VolumesInUse, o.Status.VolumesAttached = nil, nil
		return o, nil
	case metav1.Object:
		o.SetManagedFields(nil)
		return o, nil
	}
	return obj, nil
}

func stripPod(p *corev1.Pod) *corev1.Pod {
	kept := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace, UID: p.UID, ResourceVersion: p.ResourceVersion,
			CreationTimestamp: p.CreationTimestamp, DeletionTimestamp: p.DeletionTimestamp,
			Labels: p.Labels, OwnerReferences: p.OwnerReferences,
		},
		Spec: corev1.PodSpec{
			NodeName: p.Spec.NodeName, NodeSelector: p.Spec.NodeSelector, Affinity: p.Spec.Affinity,
			Tolerations: p.Spec.Tolerations, TopologySpreadConstraints: p.Spec.TopologySpreadConstraints,
			Priority: p.Spec.Priority, PriorityClassName: p.Spec.PriorityClassName,
			Overhead: p.Spec.Overhead, Resources: p.Spec.Resources,
			TerminationGracePeriodSeconds: p.Spec.TerminationGracePeriodSeconds,
			Containers:                    stripContainers(p.Spec.Containers),
			InitContainers:                stripContainers(p.Spec.InitContainers),
			Volumes:                       stripVolumes(p.Spec.Volumes),
		},
		Status: corev1.PodStatus{
			Phase: p.Status.Phase, Resources: p.Status.Resources, AllocatedResources: p.Status.AllocatedResources,
			ContainerStatuses:     stripStatuses(p.Status.ContainerStatuses),
			InitContainerStatuses: stripStatuses(p.Status.InitContainerStatuses),
		},
	}
	for _, key := range podAnnotations {
		if v, ok := p.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&kept.ObjectMeta, key, v)
		}
	}
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady || cond.Type == corev1.PodResizePending {
			kept.Status.Conditions = append(kept.Status.Conditions, cond)
		}
	}
	return kept
}

func stripContainers(in []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, 0, len(in))
	for _, c := range in {
		kept := corev1.Container{Name: c.Name, Resources: c.Resources, RestartPolicy: c.RestartPolicy}
		for _, port := range c.Ports {
			if port.HostPort != 0 {
				kept.Ports = append(kept.Ports, port)
			}
		}
		out = append(out, kept)
	}
	return out
}

// stripVolumes keeps the volumes that tie a pod down: claims and local storage.
func stripVolumes(in []corev1.Volume) []corev1.Volume {
	var out []corev1.Volume
	for _, v := range in {
		switch {
		case v.EmptyDir != nil:
			out = append(out, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		case v.Ephemeral != nil:
			out = append(out, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}})
		case v.PersistentVolumeClaim != nil:
			out = append(out, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: v.PersistentVolumeClaim}})
		}
	}
	return out
}

// stripStatuses keeps what a resize in place left behind, as the scheduler counts
// the larger of spec and status, and restarts.
func stripStatuses(in []corev1.ContainerStatus) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, s := range in {
		if s.Resources == nil && len(s.AllocatedResources) == 0 && s.RestartCount == 0 {
			continue
		}
		kept := corev1.ContainerStatus{Name: s.Name, Resources: s.Resources, AllocatedResources: s.AllocatedResources, RestartCount: s.RestartCount}
		if ended := s.LastTerminationState.Terminated; ended != nil && ended.Reason == oomKilled {
			kept.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: ended.Reason, FinishedAt: ended.FinishedAt}
		}
		out = append(out, kept)
	}
	return out
}
