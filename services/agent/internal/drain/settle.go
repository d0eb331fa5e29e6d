package drain

import (
	"cmp"
	"time"
)

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
		d.leave(st, ans, name, now)
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

func (d *Drain) leave(st *podState, ans answer, name string, now time.Time) {
	st.permanent = false
	why := st.reason
	st.reason = ""
	if ans.force {
		st.cut, st.over, st.state, st.ruled = true, ans.final, forced, false
		st.cutNext = now.Add(maxFailedBackoff)
		d.req.Note("deleted pod %s past its budgets", name)
		d.tellPod(st.pod, "Forced", "CloudOptim deleted the pod, as its node is about to go: %s", cmp.Or(why, "it did not stop in time"))
		return
	}
	if d.evicted.IsZero() {
		d.evicted = now
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
		d.tellPod(st.pod, "EvictionBlocked", "CloudOptim cannot evict the pod yet: %s", reason)
	}
	st.state, st.reason, st.ruled = blocked, reason, false
	// A role that is being granted heals; one that is missing does not.
	st.permanent = ans.kind == forbidden && st.attempts >= 5
	st.next = now.Add(max(st.backoff.next(), ans.rest))
}
