package tasks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

// Run starts tasks as nodes and slots get free, reports progress, and forgets
// old ones, until ctx ends. Steps then stop where they are, without a result:
// the journal resumes them.
func (r *Runner) Run(ctx context.Context) error {
	steps, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer func() {
		stop(errStopping)
		r.steps.Wait()
	}()
	defer r.cfg.Drains.Announce(steps, r.cfg.Client)()
	r.steps.Go(func() { r.tidy(steps) })
	forget := time.NewTicker(time.Hour)
	defer forget.Stop()
	lastReport := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-forget.C:
			r.forgetOld(time.Now())
		case <-r.wake:
		case <-timer.C:
		}
		now := time.Now()
		r.takeIn()
		r.expireWaiting(now)
		r.startDue(steps)
		if now.Sub(lastReport) >= r.progressEvery() {
			lastReport = now
			r.reportProgress()
		}
		// Counted from the last report, or frequent wake-ups would put it off for ever.
		timer.Reset(min(r.progressEvery()-time.Since(lastReport), r.untilExpiry()))
	}
}

func (r *Runner) progressEvery() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// expireWaiting ends what waited past its deadline.
func (r *Runner) expireWaiting(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.tasks {
		if t.Result == nil && t.job != nil && !t.running && r.busy[t.job.subject()] != nil && !now.Before(t.until) {
			r.finish(t, outcome{status: "timeout", err: "its deadline passed while another task had the node"})
		}
	}
}

// tidy looks through the nodes now and then: for marks of drains that ended, and
// for drains that a leader before this one began as it lost the lease.
func (r *Runner) tidy(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.cfg.Drains.Tidy(ctx)
			r.Adopt(r.cfg.Drains.View.Nodes())
		}
	}
}

// startDue starts the most urgent task of each node that is free. A task that is
// late already is started too: its step says what is left undone.
func (r *Runner) startDue(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[string]*task{}
	for _, t := range r.tasks {
		if t.job == nil || t.Result != nil || t.running || r.busy[t.job.subject()] != nil {
			continue
		}
		if before(t, next[t.job.subject()]) {
			next[t.job.subject()] = t
		}
	}
	for _, t := range next {
		r.start(ctx, t)
	}
}

func before(a, b *task) bool {
	if b == nil || a.Task.GetPriority() != b.Task.GetPriority() {
		return b == nil || a.Task.GetPriority() < b.Task.GetPriority()
	}
	return a.arrival < b.arrival
}

func (r *Runner) start(ctx context.Context, t *task) {
	ctx, t.cancel = context.WithCancelCause(ctx)
	t.running = true
	if err := r.stopped(t); err != nil {
		t.cancel(err)
	}
	r.busy[t.job.subject()] = t
	if t.Started.IsZero() {
		t.Started = time.Now()
		r.write(t)
	}
	r.cfg.Log.Info("starting task", "task_id", t.Task.GetTaskId(), "task_type", t.Task.GetTaskType(),
		"subject", t.job.subject(), "attempt", t.Task.GetAttempt(), "remaining", time.Until(t.until).Round(time.Second),
		"traceparent", t.Task.GetTraceparent())
	rank := drain.Rank{Deadline: t.until, Priority: t.Task.GetPriority()}
	r.steps.Go(func() {
		defer t.cancel(nil)
		out := r.do(ctx, t, rank)
		r.mu.Lock()
		defer r.mu.Unlock()
		t.running = false
		delete(r.busy, t.job.subject())
		if !errors.Is(context.Cause(ctx), errStopping) || out.status == "success" {
			r.finish(t, out)
		}
		r.kick()
	})
}

// do runs the step; a panic in it fails the task, not the agent.
func (r *Runner) do(ctx context.Context, t *task, rank drain.Rank) (out outcome) {
	ctx, span := traced(ctx, t)
	defer func() { endTrace(span, out) }()
	defer func() {
		if p := recover(); p != nil {
			r.cfg.Log.Error("panic in a task", "task_id", t.Task.GetTaskId(), "panic", p, "stack", string(debug.Stack()))
			out = outcome{status: "failed", err: fmt.Sprintf("panic: %v", p)}
		}
	}()
	if ctx.Err() != nil {
		return t.job.do(ctx) // which undoes what an earlier process did
	}
	wait := t.job.prepare(ctx)
	span.AddEvent("prepared")
	if wait {
		// Who gets no turn is over, and says so itself.
		waited, stop := context.WithDeadline(ctx, rank.Deadline)
		defer stop()
		if r.turns.Enter(waited, rank) == nil {
			defer r.turns.Leave()
		}
	}
	return t.job.do(ctx)
}

// finish writes the result down and sends it. Callers hold r.mu.
func (r *Runner) finish(t *task, out outcome) {
	started := t.Started
	if started.IsZero() {
		started = time.Now()
	}
	t.Result = &fleetv1.TaskResult{
		TaskId: t.Task.GetTaskId(), Attempt: t.Task.GetAttempt(), Status: out.status,
		ExecutedAt: timestamppb.New(started), DurationSeconds: max(0, time.Since(started).Seconds()),
		Logs: clip(out.logs, 256<<10), Metadata: out.metadata,
	}
	if out.status != "success" {
		t.Result.Error = proto.String(clip(out.err, 16<<10))
	}
	r.write(t)
	observe(t.Task, t.Result)
	r.cfg.Outbox.Control(resultMessage(t.Result))
	r.cfg.Log.Info("task ended", "task_id", t.Task.GetTaskId(), "task_type", t.Task.GetTaskType(),
		"status", out.status, "seconds", t.Result.GetDurationSeconds(), "error", out.err)
}

// write is for changes after acceptance: without them on disk the task is at
// worst done or reported again, which is harmless, so the agent goes on.
func (r *Runner) write(t *task) {
	if err := r.cfg.Journal.Put(&t.Record); err != nil {
		r.cfg.Log.Error("writing the task journal", "error", err)
	}
}

func (r *Runner) accepted(t *fleetv1.Task) {
	r.cfg.Outbox.Control(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskAccepted{
		TaskAccepted: &agentv1.TaskAccepted{TaskId: t.GetTaskId(), Attempt: t.GetAttempt()},
	}})
}

// reportProgress speaks for every task in hand, waiting ones included: their
// leases run too.
func (r *Runner) reportProgress() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.tasks {
		if t.Result != nil || t.job == nil || t.Local {
			continue
		}
		p := &fleetv1.TaskProgress{TaskId: id, Attempt: t.Task.GetAttempt(), Message: "waiting for its turn"}
		if t.running {
			p.Fraction, p.Message, p.Drain = t.job.progress()
			p.Message = clip(p.Message, 4096)
		}
		r.cfg.Outbox.Control(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskProgress{TaskProgress: p}})
	}
}

// untilExpiry is the time to the nearest deadline of a task that waits for its node.
func (r *Runner) untilExpiry() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	nearest := time.Hour
	for _, t := range r.tasks {
		if t.Result == nil && t.job != nil && !t.running && r.busy[t.job.subject()] != nil {
			nearest = min(nearest, time.Until(t.until))
		}
	}
	return max(nearest, 10*time.Millisecond)
}

// forgetOld drops results that central has had for long enough.
func (r *Runner) forgetOld(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.tasks {
		if t.Acked.IsZero() || now.Sub(t.Acked) < keepAcked {
			continue
		}
		if err := r.cfg.Journal.Delete(id); err != nil {
			r.cfg.Log.Error("compacting the task journal", "error", err)
			continue
		}
		delete(r.tasks, id)
	}
}

func resultMessage(result *fleetv1.TaskResult) *agentv1.ConnectRequest {
	return &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: proto.CloneOf(result)}}
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const mark = "\n… cut"
	return toValid(s[:limit-len(mark)]) + mark
}
