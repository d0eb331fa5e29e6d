package drain

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// nodeCheck is how often the loop looks at the node and the clock when nothing
// else happens.
const nodeCheck = time.Second

// ended says whether the drain is over and how; nil: go on.
func (d *Drain) ended(ctx context.Context, now time.Time) *Outcome {
	if node, ok := d.exec.View.Node(d.name()); (!ok || node.UID != d.node.UID) && d.confirmedGone(ctx, now) {
		return d.endNodeGone("it was deleted during the drain")
	}
	if d.calls == 0 && d.allFinal() && (!d.detachBy.IsZero() || d.emptied(ctx, now)) && d.detached(now) {
		d.setPhase("drained")
		return &Outcome{Status: Success}
	}
	if d.calls == 0 && d.stuck() {
		d.setPhase("blocked")
		return &Outcome{Status: Failed, Error: "pods that may not be moved are left: " + d.remaining()}
	}
	if d.vetoed && !d.force() {
		d.setPhase("blocked")
		return &Outcome{Status: Failed, Error: "somebody uncordoned the node while it was drained; left: " + d.remaining()}
	}
	if now.Before(d.req.Deadline) {
		return nil
	}
	if d.count(blocked)+d.count(waiting) > 0 {
		d.setPhase("blocked")
	}
	return &Outcome{Status: Timeout, Error: "deadline passed with pods left: " + d.remaining()}
}

func (d *Drain) allFinal() bool {
	for _, st := range d.order {
		if !st.final() {
			return false
		}
	}
	return true
}

func (d *Drain) count(state string) int32 {
	n := int32(0)
	for _, st := range d.order {
		if st.state == state {
			n++
		}
	}
	return n
}

// untilNext is how long the loop may sleep.
func (d *Drain) untilNext(now time.Time) time.Duration {
	next := now.Add(nodeCheck)
	// What is due already waits for an answer, which wakes the loop.
	consider := func(t time.Time) {
		if t.After(now) {
			next = sooner(next, t)
		}
	}
	consider(d.req.Deadline)
	for _, st := range d.order {
		if st.final() || st.inCall {
			continue
		}
		if st.evictable() && d.turn(st) {
			consider(later(st.next, d.pause))
		}
		if at, ok := d.cutAt(st); ok {
			consider(at)
		}
	}
	return next.Sub(now)
}

// Report is the state of the drain, pod by pod.
func (d *Drain) Report() *fleetv1.DrainReport {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &fleetv1.DrainReport{NodeName: d.name(), Phase: d.phase, AttachedVolumes: d.attached}
	if !d.cordoned.IsZero() {
		r.CordonedAt = timestamppb.New(d.cordoned)
	}
	if !d.evicted.IsZero() {
		r.FirstEvictionAt = timestamppb.New(d.evicted)
	}
	for _, st := range d.order {
		r.Pods = append(r.Pods, &fleetv1.PodDrain{
			Namespace: st.pod.Namespace, Name: st.pod.Name, Uid: string(st.pod.UID),
			State: st.state, Reason: st.reason, Attempts: st.attempts,
		})
		if st.cut {
			r.Forced++
		}
		switch {
		case st.state == gone:
			r.Evicted++
		case st.state == skipped:
			r.Skipped++
		case st.state == blocked:
			r.Blocked++
		case st.leaving():
			r.Terminating++
		}
	}
	return r
}

// Progress is the report as a fraction and a line for people.
func (d *Drain) Progress() (fraction float64, line string, report *fleetv1.DrainReport) {
	r := d.Report()
	total := int32(len(r.Pods)) - r.Skipped
	if total > 0 {
		fraction = float64(r.Evicted) / float64(total)
	}
	line = fmt.Sprintf("%d of %d pods gone, %d terminating, %d blocked", r.Evicted, total, r.Terminating, r.Blocked)
	for _, pod := range r.Pods {
		if pod.State == blocked {
			line += fmt.Sprintf(" (%s/%s by %s)", pod.Namespace, pod.Name, pod.Reason)
			break
		}
	}
	return fraction, line, r
}
