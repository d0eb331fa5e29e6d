package drain

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// States of a pod, as PodDrain.state says them.
const (
	waiting     = "waiting"
	evicted     = "evicted"
	terminating = "terminating"
	blocked     = "blocked"
	skipped     = "skipped"
	gone        = "gone"
	forced      = "forced"
)

// systemCritical is where Kubernetes' own critical priority classes begin.
const systemCritical = 2_000_000_000

// DoNotDisrupt returns the annotation that forbids moving a pod, or "".
func DoNotDisrupt(annotations map[string]string) string {
	for _, key := range []string{"cloudoptim.io/do-not-disrupt", "karpenter.sh/do-not-disrupt"} {
		if v, ok := annotations[key]; ok && v != "false" {
			return key
		}
	}
	if annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false" {
		return "cluster-autoscaler.kubernetes.io/safe-to-evict"
	}
	return ""
}

// Mirror tells pods that the kubelet made from a file; the API server cannot
// evict those.
func Mirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// LocalStorage tells pods with a volume whose content dies with the pod.
func LocalStorage(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.EmptyDir != nil || v.Ephemeral != nil
	})
}

// Finished tells pods that will not run again.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Critical tells pods that go last because others may need them to stop.
func Critical(pod *corev1.Pod) bool {
	return pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
}

// ruling is what the rules say of a pod before anything is tried.
type ruling struct {
	state, reason string
	permanent     bool // waiting will not change it
}

// rule decides what to do with a pod. late pods came after the cordon.
func rule(pod *corev1.Pod, p parameters, late bool) ruling {
	switch {
	case Finished(pod):
		return ruling{state: skipped, reason: "finished"}
	case Mirror(pod):
		return ruling{state: skipped, reason: "mirror"}
	case ownedByDaemonSet(pod):
		return ruling{state: skipped, reason: "daemonset"}
	case pod.DeletionTimestamp != nil:
		return ruling{state: terminating}
	case late && toleratesDraining(pod):
		// Its controller puts it back on the node as often as it is evicted.
		return ruling{state: skipped, reason: "tolerates-cordon"}
	case p.GetKeepLocalStorage() && LocalStorage(pod):
		return ruling{state: blocked, reason: "local-storage", permanent: true}
	case !p.GetForce() && DoNotDisrupt(pod.Annotations) != "":
		return ruling{state: blocked, reason: "do-not-disrupt " + DoNotDisrupt(pod.Annotations)}
	}
	return ruling{state: waiting}
}

// parameters is the part of DrainNodeParameters that the rules ask for.
type parameters interface {
	GetForce() bool
	GetKeepLocalStorage() bool
}

func ownedByDaemonSet(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "DaemonSet"
}

// toleratesDraining tells pods that neither the cordon nor our taint keeps away.
func toleratesDraining(pod *corev1.Pod) bool {
	return tolerates(pod, corev1.TaintNodeUnschedulable) && tolerates(pod, DrainingTaint)
}

func tolerates(pod *corev1.Pod, key string) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
		keyFits := t.Key == key || (t.Key == "" && t.Operator == corev1.TolerationOpExists)
		return keyFits && (t.Effect == "" || t.Effect == corev1.TaintEffectNoSchedule)
	})
}
