package drain

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// kubelet is what is known of the node's own hand.
type kubelet int

const (
	alive  kubelet = iota // it stops what is deleted
	silent                // not heard of; its pods may run or not
	dead                  // the instance is stopped or gone: nothing runs there
)

const (
	// defaultMargin is safety_margin_seconds where the task names none.
	defaultMargin = 5 * time.Second
	// silence is how long a node has been unknown to Kubernetes, which itself
	// waits for about 40 s, before its kubelet counts as silent.
	silence = 10 * time.Second
)

// shutDown are the taints by which a cloud provider, or a person, says that a
// node's instance does not run.
var shutDown = []string{"node.cloudprovider.kubernetes.io/shutdown", corev1.TaintNodeOutOfService}

func (d *Drain) kubeletState(now time.Time) kubelet {
	node, ok := d.exec.View.Node(d.name())
	if !ok {
		return alive // or not known yet; a node that is gone ends the drain
	}
	if slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return slices.Contains(shutDown, t.Key) }) {
		return dead
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown && now.Sub(c.LastTransitionTime.Time) >= silence {
			return silent
		}
	}
	return alive
}

// margin is what is kept in hand before the deadline.
func (d *Drain) margin() time.Duration {
	if s := d.req.Parameters.GetSafetyMarginSeconds(); s > 0 {
		return time.Duration(s) * time.Second
	}
	return defaultMargin
}

// grace is what an eviction allows the pod: its own, unless the task or, where
// the node is lost anyway, the clock allows less. nil leaves it to the pod.
func (d *Drain) grace(pod *corev1.Pod, now time.Time) *int64 {
	limit := d.wantedGrace(pod)
	if d.force() {
		limit = min(limit, d.left(now))
	}
	if limit >= ownGrace(pod) {
		return nil
	}
	limit = max(limit, 1)
	return &limit
}

func ownGrace(pod *corev1.Pod) int64 {
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		return corev1.DefaultTerminationGracePeriodSeconds
	}
	return *pod.Spec.TerminationGracePeriodSeconds
}

// wantedGrace is the pod's own within the task's limit.
func (d *Drain) wantedGrace(pod *corev1.Pod) int64 {
	if g := int64(d.req.Parameters.GetGracePeriod()); g > 0 {
		return min(ownGrace(pod), g)
	}
	return ownGrace(pod)
}

// left is how many seconds a pod may take that is asked to go now.
func (d *Drain) left(now time.Time) int64 {
	return int64((d.req.Deadline.Sub(now) - d.margin()) / time.Second)
}

// cutAt is when the pod is to be deleted past its budgets; false: as things
// stand, never.
func (d *Drain) cutAt(st *podState) (time.Time, bool) {
	if !d.force() || st.permanent || st.over || st.final() {
		return time.Time{}, false
	}
	at := d.cutTime(st.pod)
	switch {
	case d.kubelet == dead:
		at = d.started // nobody would ever end it
	case d.kubelet == silent && st.pod.DeletionTimestamp != nil:
		// A kubelet that lives would have ended it by then.
		at = sooner(at, st.pod.DeletionTimestamp.Time)
	case st.cut, st.leaving() && !d.outlives(st.pod):
		return time.Time{}, false
	}
	return later(at, st.cutNext), true
}

// cutTime is late enough to give eviction its chance, early enough for the pod's
// grace to fit, and takes at most half of the drain's time where the grace is
// longer than that.
func (d *Drain) cutTime(pod *corev1.Pod) time.Time {
	grace := time.Duration(d.wantedGrace(pod)) * time.Second
	return d.req.Deadline.Add(-min(grace, d.req.Deadline.Sub(d.started)/2) - d.margin())
}

// outlives tells pods on their way out whose grace ends after the deadline.
// The API server sets deletionTimestamp to the end of the grace.
func (d *Drain) outlives(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && pod.DeletionTimestamp.After(d.req.Deadline)
}

// lastGrace is what a forced delete allows: what is left, at least a second.
// Zero would drop the pod from the API while it may still run, so only where
// no kubelet is there to end it.
func (d *Drain) lastGrace(pod *corev1.Pod, now time.Time) *int64 {
	grace := int64(0)
	if d.kubelet == alive {
		grace = max(1, min(d.wantedGrace(pod), d.left(now)))
	}
	return &grace
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func sooner(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
