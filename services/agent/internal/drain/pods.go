package drain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	cut       bool // the forced delete was accepted
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
	for _, pod := range d.exec.View.PodsOn(d.node()) {
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
	slices.SortStableFunc(d.order, func(a, b *podState) int { return cmp.Compare(priority(a.pod), priority(b.pod)) })
	if node, ok := d.exec.View.Node(d.node()); ok && node.UID == d.nodeUID {
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

// apply lets the rules override what was known: annotations, phases and
// deletion change under way.
func (d *Drain) apply(st *podState) {
	if st.state == gone || st.cut {
		return
	}
	r := rule(st.pod, d.req.Parameters, st.late)
	if r.state == waiting && !st.ruled {
		return // an answer of the API server says more
	}
	if r.state == blocked && r.reason != st.reason {
		d.req.Note("pod %s/%s stays: %s", st.pod.Namespace, st.pod.Name, r.reason)
	}
	st.state, st.reason, st.permanent, st.ruled = r.state, r.reason, r.permanent, true
}

// launch starts the calls that are due.
func (d *Drain) launch(ctx context.Context, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, st := range d.order {
		if d.calls >= d.parallel || now.Before(d.pause) {
			return
		}
		if st.inCall || st.final() || st.cut {
			continue
		}
		switch {
		case d.cutDue(st, now):
			d.call(ctx, st, d.deletePod, d.lastGrace(st.pod, now))
		case st.evictable() && !now.Before(st.next) && d.turn(st):
			d.call(ctx, st, d.evictPod, d.grace(st.pod, now))
		}
	}
}

func (s *podState) evictable() bool {
	return s.state == waiting || (s.state == blocked && !s.ruled)
}

// call runs one request beside the loop; its answer comes back by channel.
// The pod is passed by value of the pointer: the loop replaces st.pod meanwhile.
func (d *Drain) call(ctx context.Context, st *podState,
	ask func(context.Context, *corev1.Pod, *int64) answer, grace *int64) {
	st.inCall = true
	st.attempts++
	d.calls++
	pod := st.pod
	go func() {
		ans := ask(ctx, pod, grace)
		count(ctx, ans)
		d.answers <- ans
	}()
}

// turn holds critical pods back until every other pod has gone.
func (d *Drain) turn(st *podState) bool {
	if !Critical(st.pod) {
		return true
	}
	return !slices.ContainsFunc(d.order, func(o *podState) bool { return !o.final() && !Critical(o.pod) })
}

// grace is what an eviction allows the pod: its own, unless the task or, where
// the node is lost anyway, the clock allows less. nil leaves it to the pod.
func (d *Drain) grace(pod *corev1.Pod, now time.Time) *int64 {
	own := ownGrace(pod)
	limit := own
	if g := int64(d.req.Parameters.GetGracePeriod()); g > 0 {
		limit = min(limit, g)
	}
	if d.req.Parameters.GetForce() {
		limit = min(limit, int64((d.req.Deadline.Sub(now)-reserve)/time.Second))
	}
	if limit >= own {
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

// cutDue says whether a forced delete is due: late enough to give eviction its
// chance, early enough for the pod's grace to fit, at most half of the drain's
// time where the grace is longer than that.
func (d *Drain) cutDue(st *podState, now time.Time) bool {
	if !d.req.Parameters.GetForce() || st.permanent || now.Before(st.cutNext) {
		return false
	}
	if st.leaving() && !d.outlives(st.pod) && !d.kubeletDead() {
		return false
	}
	return !now.Before(d.cutTime(st.pod))
}

func (d *Drain) cutTime(pod *corev1.Pod) time.Time {
	grace := time.Duration(ownGrace(pod)) * time.Second
	return d.req.Deadline.Add(-min(grace, d.req.Deadline.Sub(d.started)/2) - reserve)
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
	if !d.kubeletDead() {
		left := int64((d.req.Deadline.Sub(now) - reserve) / time.Second)
		grace = max(1, min(ownGrace(pod), left))
	}
	return &grace
}

func (d *Drain) kubeletDead() bool {
	node, ok := d.exec.View.Node(d.node())
	if !ok {
		return true
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionUnknown
		}
	}
	return false
}

// settle takes an answer over into the pod's state.
func (d *Drain) settle(ans answer, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls--
	st := d.pods[ans.uid]
	st.inCall = false
	name := st.pod.Namespace + "/" + st.pod.Name
	switch ans.kind {
	case accepted:
		d.parallel = min(d.parallel+1, maxParallel)
		d.leave(st, ans, name)
	case vanished:
		st.state, st.reason = gone, keepForced(st)
	case pressure:
		// Says nothing of the pod: ask less, and later.
		d.parallel = max(d.parallel/2, 1)
		d.pause = now.Add(ans.rest)
		st.next = d.pause
		if st.state == waiting {
			st.reason, st.ruled = ans.reason, false
		}
	default:
		d.refuse(st, ans, name, now)
	}
}

func (d *Drain) leave(st *podState, ans answer, name string) {
	st.permanent = false
	st.reason = ""
	if ans.force {
		st.cut, st.state, st.ruled = true, forced, false
		d.req.Note("deleted pod %s past its budgets", name)
		return
	}
	if st.state != terminating && st.state != gone {
		st.state, st.ruled = evicted, false
	}
	d.req.Note("evicted pod %s", name)
}

// refuse books a pod that did not go this time.
func (d *Drain) refuse(st *podState, ans answer, name string, now time.Time) {
	reason := ans.reason
	if ans.force {
		reason = "delete: " + reason
		st.cutNext = now.Add(max(minBackoff, ans.rest))
		if ans.kind == forbidden { // eviction may still move it before the deadline
			d.req.Note("pod %s may not be deleted: %s", name, ans.reason)
			st.cutNext = d.req.Deadline
			return
		}
	}
	if st.leaving() || st.final() {
		st.reason = reason
		return
	}
	st.backoff.limit = maxBlockedBackoff
	if ans.kind == broken {
		st.backoff.limit = maxFailedBackoff
	}
	if st.state != blocked || st.reason != reason {
		d.req.Note("pod %s is blocked: %s", name, reason)
	}
	st.state, st.reason, st.ruled = blocked, reason, false
	// A role that is being granted heals; one that is missing does not.
	st.permanent = ans.kind == forbidden && st.attempts >= 5
	st.next = now.Add(max(st.backoff.next(), ans.rest))
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

// emptied confirms with one live look that no pod was missed: a pod bound just
// before the cordon may not have reached the informers.
func (d *Drain) emptied(ctx context.Context, now time.Time) bool {
	if now.Before(d.confirm) {
		return false
	}
	d.confirm = now.Add(time.Second)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := d.exec.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{FieldSelector: "spec.nodeName=" + d.node()})
	if err != nil {
		d.log.Warn("confirming that the node is empty", "error", err)
		return false
	}
	return !slices.ContainsFunc(list.Items, func(pod corev1.Pod) bool {
		st, known := d.pods[pod.UID]
		return rule(&pod, d.req.Parameters, known && st.late).state != skipped
	})
}

// left names the pods that did not go, for the error of the result.
func (d *Drain) left() string {
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
