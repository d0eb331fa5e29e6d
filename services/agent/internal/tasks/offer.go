package tasks

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Offer takes a task from central. It returns an error when the message cannot
// be answered with a result.
func (r *Runner) Offer(offer *fleetv1.Task) error {
	if uuid.Validate(offer.GetTaskId()) != nil {
		return fmt.Errorf("task_id %q is not a UUID", offer.GetTaskId())
	}
	if offer.GetClusterId() != r.cfg.ClusterID {
		return fmt.Errorf("task %s is for cluster %q", offer.GetTaskId(), offer.GetClusterId())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t, seen := r.tasks[offer.GetTaskId()]; seen {
		r.again(t, offer)
		return nil
	}
	r.arrive(offer, false)
	return nil
}

// Local starts a task that the agent decided itself, under the id that central
// will give it. Central is told of it by its result, or when it offers the task:
// then it is the same run, with the earlier of both deadlines.
func (r *Runner) Local(ctx context.Context, wanted *fleetv1.Task) error {
	if uuid.Validate(wanted.GetTaskId()) != nil {
		return fmt.Errorf("task_id %q is not a UUID", wanted.GetTaskId())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("starting task %s: %w", wanted.GetTaskId(), err)
	}
	if t, seen := r.tasks[wanted.GetTaskId()]; seen {
		r.hasten(t, deadlineOf(wanted))
		return nil
	}
	wanted = proto.CloneOf(wanted)
	wanted.ClusterId = r.cfg.ClusterID
	r.arrive(wanted, true)
	return nil
}

// arrive makes a task of an offer, which Run then writes down.
func (r *Runner) arrive(offer *fleetv1.Task, local bool) {
	until := deadlineOf(offer)
	t := &task{Record: Record{Task: proto.CloneOf(offer), Deadline: until.Round(0), Local: local}, until: until, arrival: r.arrivals}
	r.arrivals++
	t.job, t.broken = r.prepare(t)
	if t.job != nil && r.busy[t.job.subject()] == nil {
		t.Started = time.Now() // it starts right away, which saves a second write
	}
	r.arrived = append(r.arrived, t)
	r.kick()
}

// takeIn writes down what arrived, many at once: each write waits for the disk.
func (r *Runner) takeIn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.arrived {
		r.steps.Go(func() {
			r.writes <- struct{}{}
			err := r.cfg.Journal.Put(&t.Record)
			<-r.writes
			r.takeOver(t, err)
		})
	}
	r.arrived = nil
}

func (r *Runner) takeOver(t *task, unwritten error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if unwritten != nil {
		r.cfg.Log.Error("a task cannot be written down", "task_id", t.Task.GetTaskId(), "error", unwritten)
		if !t.Local {
			// Unaccepted, it is offered again; run without a trace it might run twice.
			return
		}
		// The node is about to go, and its drain leaves a trace there.
	}
	if before, seen := r.tasks[t.Task.GetTaskId()]; seen {
		// Offered twice, or cancelled meanwhile: what came first counts, also on disk.
		r.write(before)
		if !t.Local {
			r.again(before, t.Task)
		}
		return
	}
	if !t.Local {
		r.accepted(t.Task)
	}
	if err := r.stopped(t); err != nil && t.job != nil {
		r.tasks[t.Task.GetTaskId()] = t
		r.finish(t, outcome{status: "cancelled", err: err.Error()})
		return
	}
	r.begin(t)
}

// begin puts a task in hand; one that is not understood ends as failed.
func (r *Runner) begin(t *task) {
	r.tasks[t.Task.GetTaskId()] = t
	if t.broken != nil {
		r.finish(t, outcome{status: "failed", err: t.broken.Error()})
		return
	}
	r.supersede(t)
	r.kick()
}

// again answers an offer of a task that is known: a newer attempt takes the
// running step or the finished result over, as nothing is done twice.
func (r *Runner) again(t *task, offer *fleetv1.Task) {
	if t.Local {
		t.Local = false // from now on central knows it
		r.write(t)
	}
	r.hasten(t, deadlineOf(offer))
	if offer.GetAttempt() > t.Task.GetAttempt() {
		t.Task.Attempt = offer.GetAttempt()
		if t.Result != nil {
			t.Result.Attempt = offer.GetAttempt()
		}
		r.write(t)
	}
	if t.Result == nil {
		r.accepted(t.Task)
		return
	}
	r.cfg.Outbox.Control(resultMessage(t.Result))
}

// hasten moves a task's deadline up; it is never put off.
func (r *Runner) hasten(t *task, until time.Time) {
	if t.Result != nil || !until.Before(t.until) {
		return
	}
	// Each offer says how long is left, so a delivery's delay makes differences.
	if t.until.Sub(until) > time.Second {
		t.Deadline = until.Round(0)
		r.write(t)
	}
	t.until = until
	if j, ok := t.job.(*drainJob); ok {
		j.drain.Hurry(until)
	}
	r.kick()
}

// add takes up a task of an earlier process.
func (r *Runner) add(rec Record, until time.Time) {
	t := &task{Record: rec, until: until, arrival: r.arrivals, resumed: true}
	r.arrivals++
	if t.Result != nil {
		r.tasks[rec.Task.GetTaskId()] = t
		return
	}
	t.job, t.broken = r.prepare(t)
	r.begin(t)
}
