package drain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podState is where one pod stands.
type podState struct {
	pod       *corev1.Pod
	state     string
	reason    string
	permanent bool // only the pod's end or its owner changes it
	ruled     bool // the state comes from the rules, not from an answer
	late      bool
	inCall    bool
	cut       bool // a forced delete was accepted
	over      bool // one without grace was: nothing more can be done
	attempts  int32
	next      time.Time // next eviction
	cutNext   time.Time // next forced delete, after one that did not work
	backoff   callBackoff
}

func (s *podState) final() bool { return s.state == skipped || s.state == gone }

func (s *podState) leaving() bool {
	return s.state == evicted || s.state == terminating || s.state == forced
}

// refresh takes over what the informers know now.
func (d *Drain) refresh(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[types.UID]bool{}
	for _, pod := range d.exec.View.PodsOn(d.name()) {
		seen[pod.UID] = true
		st, known := d.pods[pod.UID]
		if !known {
			st = &podState{late: d.looked, ruled: true, next: now}
			d.pods[pod.UID] = st
			d.order = append(d.order, st)
		}
		st.pod = pod
		d.apply(st)
	}
	for uid, st := range d.pods {
		if !seen[uid] && !st.final() {
			st.state, st.reason, st.permanent = gone, keepForced(st), false
		}
	}
	d.looked = true
	d.kubelet = d.kubeletState(now)
	slices.SortStableFunc(d.order, func(a, b *podState) int { return cmp.Compare(priority(a.pod), priority(b.pod)) })
	if node, ok := d.exec.View.Node(d.name()); ok && node.UID == d.node.UID {
		d.vetoed = d.cordonSeen && !node.Spec.Unschedulable
		d.cordonSeen = d.cordonSeen || node.Spec.Unschedulable
	}
}

func keepForced(st *podState) string {
	if st.cut {
		return "forced"
	}
	return ""
}

func priority(pod *corev1.Pod) int32 {
	if pod.Spec.Priority == nil {
		return 0
	}
	return *pod.Spec.Priority
}

// rule is the general one, after the agent's own pod.
func (d *Drain) rule(pod *corev1.Pod, late bool) ruling {
	if d.exec.Self.Name != "" && pod.Name == d.exec.Self.Name && pod.Namespace == d.exec.Self.Namespace {
		return ruling{state: skipped, reason: "own"}
	}
	r := rule(pod, d.req.Parameters, late)
	if r.state == waiting && d.req.Parameters.GetKeepLocalStorage() && d.exec.View.Local(pod) {
		return ruling{state: blocked, reason: "local-storage", permanent: true}
	}
	return r
}

// apply lets the rules override what was known: annotations, phases and
// deletion change under way.
func (d *Drain) apply(st *podState) {
	if st.state == gone || st.cut {
		return
	}
	r := d.rule(st.pod, st.late)
	if r.state == waiting && !st.ruled {
		return // an answer of the API server says more
	}
	if r.state == blocked && r.reason != st.reason {
		d.req.Note("pod %s/%s stays: %s", st.pod.Namespace, st.pod.Name, r.reason)
	}
	st.state, st.reason, st.permanent, st.ruled = r.state, r.reason, r.permanent, true
}

// launch starts the calls that are due. Forced deletes come first and know no
// pause: their time does not come again.
func (d *Drain) launch(ctx context.Context, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, st := range d.order {
		if at, ok := d.cutAt(st); ok && !st.inCall && !now.Before(at) && d.calls < maxParallel {
			d.call(ctx, st, d.deletePod, d.lastGrace(st.pod, now))
		}
	}
	for _, st := range d.order {
		if d.calls >= d.parallel || now.Before(d.pause) {
			return
		}
		if st.evictable() && !st.inCall && !now.Before(st.next) && d.turn(st) {
			d.call(ctx, st, d.evictPod, d.grace(st.pod, now))
		}
	}
}

func (s *podState) evictable() bool {
	return !s.cut && (s.state == waiting || (s.state == blocked && !s.ruled))
}

// turn holds critical pods back until every other pod has gone.
func (d *Drain) turn(st *podState) bool {
	if !Critical(st.pod) {
		return true
	}
	return !slices.ContainsFunc(d.order, func(o *podState) bool { return !o.final() && !Critical(o.pod) })
}

// stuck tells that nothing on the node will move any more.
func (d *Drain) stuck() bool {
	permanent := false
	for _, st := range d.order {
		switch {
		case st.final():
		case st.permanent:
			permanent = true
		case Critical(st.pod) && st.state == waiting && st.attempts == 0:
			// waits for the others
		default:
			return false
		}
	}
	return permanent
}

// confirmedGone asks the API server before a node counts as gone: an informer may
// not know a new node yet.
func (d *Drain) confirmedGone(ctx context.Context, now time.Time) bool {
	if now.Before(d.confirmGone) {
		return false
	}
	d.confirmGone = now.Add(time.Second)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := d.exec.Client.CoreV1().Nodes().Get(ctx, d.name(), metav1.GetOptions{})
	return apierrors.IsNotFound(err) || (err == nil && node.UID != d.node.UID)
}

// emptied confirms with one live look that no pod was missed: a pod bound just
// before the cordon may not have reached the informers.
func (d *Drain) emptied(ctx context.Context, now time.Time) bool {
	if now.Before(d.confirmEmpty) {
		return false
	}
	d.confirmEmpty = now.Add(time.Second)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := d.exec.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{FieldSelector: "spec.nodeName=" + d.name()})
	if err != nil {
		d.log.Warn("confirming that the node is empty", "error", err)
		return false
	}
	return !slices.ContainsFunc(list.Items, func(pod corev1.Pod) bool {
		st, known := d.pods[pod.UID]
		return d.rule(&pod, known && st.late).state != skipped
	})
}

// remaining names the pods that did not go, for the error of the result.
func (d *Drain) remaining() string {
	var names []string
	more := 0
	for _, st := range d.order {
		if st.final() {
			continue
		}
		if len(names) == 10 {
			more++
			continue
		}
		why := st.reason
		if why == "" {
			why = st.state
		}
		names = append(names, fmt.Sprintf("%s/%s (%s)", st.pod.Namespace, st.pod.Name, why))
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
