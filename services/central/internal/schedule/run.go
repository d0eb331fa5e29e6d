package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// scaleWithin is how long a task has, beside the time that a wake waits.
	scaleWithin = 5 * time.Minute
	// mostAttempts at a workload in a run.
	mostAttempts = 5
	// retryAfter a failed attempt, times the number of the attempt.
	retryAfter = 20 * time.Second
	// wakeAgain is when what did not wake is tried anew.
	wakeAgain = 10 * time.Minute
	// mostProblems that are told of; the rest is counted.
	mostProblems = 50
	priority     = 5
)

// advance takes in what tasks came to and writes those whose turn it is.
func (f *following) advance(ctx context.Context) error {
	if err := f.collect(ctx); err != nil {
		return err
	}
	why := ""
	if f.run.Action == toSleep {
		var err error
		if why, err = f.barred(ctx); err != nil {
			return err
		}
	}
	if why != "" {
		if err := f.recall(ctx, why); err != nil {
			return err
		}
	}
	f.schedule.HeldBecause = why
	if f.run.Action == toWake {
		waits, err := f.unheard(ctx)
		if err != nil {
			return err
		}
		f.schedule.HeldBecause = waits // its tasks are there for the agent when it is back
	}
	if why == "" {
		if err := f.give(ctx); err != nil {
			return err
		}
	}
	return f.conclude(ctx)
}

// unheard says that a wake waits for its agent; nothing else holds one.
func (f *following) unheard(ctx context.Context) (string, error) {
	seen, err := f.tx.LastSeen(ctx, f.schedule.Cluster)
	if err != nil || f.now.Sub(seen) <= offlineAfter {
		return "", err
	}
	return offline, nil
}

// collect reads the results of the run's tasks.
func (f *following) collect(ctx context.Context) error {
	var ids []uuid.UUID
	for _, w := range f.work {
		if w.Outcome == "" && w.Task.Valid {
			ids = append(ids, w.Task.UUID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	outcomes, err := f.tx.TaskOutcomes(ctx, ids)
	if err != nil {
		return err
	}
	for _, w := range f.work {
		if w.Outcome != "" || !w.Task.Valid {
			continue
		}
		if out := outcomes[w.Task.UUID]; out.Done() {
			if err := f.take(ctx, w, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// take one result. What was refused or timed out is tried again.
func (f *following) take(ctx context.Context, w *store.RunWorkload, out store.TaskOutcome) error {
	report := &fleetv1.ScaleReport{}
	if raw, err := out.Result.GetMetadata().MarshalJSON(); err == nil {
		_ = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, report) // an agent that says less did it all the same
	}
	switch {
	case out.Status == "success":
		if err := f.done(ctx, w, report); err != nil {
			return err
		}
	case out.Status == "failed" && w.Attempt >= mostAttempts:
		w.Outcome = "failed"
		f.problem("%s: %s", w.WorkloadName, out.Result.GetError())
	default:
		w.Task, w.RetryAt = uuid.NullUUID{}, f.now.Add(time.Duration(w.Attempt)*retryAfter)
		if out.Status != "failed" {
			w.Attempt-- // refused because of a stop, or nobody was there: that is no failure
			w.RetryAt = f.now.Add(soon)
		}
	}
	return f.tx.SaveRunWorkload(ctx, f.run.ID, w)
}

// done notes what the agent did.
func (f *following) done(ctx context.Context, w *store.RunWorkload, report *fleetv1.ScaleReport) error {
	w.Outcome = report.GetOutcome()
	if w.Outcome == "" {
		w.Outcome = map[string]string{toSleep: "slept", toWake: "woken"}[f.run.Action]
	}
	switch w.Outcome {
	case "slept":
		f.run.Workloads++
		return f.tx.SleeperSleeps(ctx, f.schedule.ID, w.WorkloadName, report.GetReplicas())
	case "woken":
		f.run.Workloads++
		if report.GetReady() < report.GetReplicas() && w.Ready > 0 {
			f.problem("%s: %d of %d replicas were ready after %s", w.WorkloadName, report.GetReady(), report.GetReplicas(), w.Ready)
		}
	case "scaled_by_hand":
		f.problem("%s: somebody scaled it to %d while it slept; it is left so", w.WorkloadName, report.GetReplicas())
	case "gone":
		f.problem("%s: there is no such %s any more", w.WorkloadName, w.Kind)
	}
	return f.tx.SleeperWoke(ctx, f.schedule.ID, w.WorkloadName)
}

// recall takes back sleeps that wait for the agent while something holds the schedule.
func (f *following) recall(ctx context.Context, why string) error {
	var ids []uuid.UUID
	for _, w := range f.work {
		if w.Outcome == "" && w.Task.Valid {
			ids = append(ids, w.Task.UUID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	f.announce = true
	return f.tx.CancelTasks(ctx, ids, why)
}

// give writes the tasks of the first stage that is not done.
func (f *following) give(ctx context.Context) error {
	stage := int32(-1)
	for _, w := range f.work {
		if w.Outcome == "" && (stage < 0 || w.Stage < stage) {
			stage = w.Stage
		}
	}
	for _, w := range f.work {
		if w.Outcome != "" || w.Task.Valid || w.Stage != stage || f.now.Before(w.RetryAt) {
			continue
		}
		if err := f.write(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// write a task. Its name is the run's, the workload's and the try's.
func (f *following) write(ctx context.Context, w *store.RunWorkload) error {
	cause := "schedule"
	if f.run.Action == toWake {
		cause = "undo" // it gives back what was taken: no stop holds it up
	}
	parameters, err := asStruct(&fleetv1.ScaleWorkloadParameters{
		Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Action: f.run.Action, ScheduleId: f.schedule.ID.String(),
		ReadyWithinSeconds: int32(w.Ready.Seconds()),
	})
	if err != nil {
		return err
	}
	w.Attempt++
	// Tries that were no failures are counted by the time, or they would share a name.
	id := uuid.NewSHA1(f.run.ID, fmt.Appendf(nil, "%s/%s/%s/%d/%d", w.Namespace, w.Kind, w.Name, w.Attempt, f.now.UnixMilli()))
	w.Task, w.RetryAt = uuid.NullUUID{UUID: id, Valid: true}, time.Time{}
	if f.run.Action == toSleep { // first: what the agent may do must be known to be undone
		if err := f.tx.NoteSleeper(ctx, f.schedule.ID, w.WorkloadName); err != nil {
			return err
		}
	}
	f.announce = true
	err = f.Dispatch.Add(ctx, f.tx, &fleetv1.Task{
		TaskId: id.String(), ClusterId: f.schedule.Cluster.String(), TaskType: "scale_workload", Parameters: parameters, Priority: priority,
		Deadline: timestamppb.New(f.now.Add(scaleWithin + w.Ready)), CreatedBy: actor, Cause: cause,
	})
	if err != nil {
		return err
	}
	return f.tx.SaveRunWorkload(ctx, f.run.ID, w)
}

// conclude ends the run when everything is done.
func (f *following) conclude(ctx context.Context) error {
	failed := false
	for _, w := range f.work {
		if w.Outcome == "" {
			f.busy = true
			return f.tx.SaveScheduleRun(ctx, f.run)
		}
		failed = failed || w.Outcome == "failed"
	}
	f.run.Status, f.run.FinishedAt, f.schedule.HeldBecause = "completed", f.now, ""
	if failed {
		f.run.Status = "failed"
	}
	if f.run.Action == toSleep {
		f.schedule.Phase = asleep
	} else {
		f.schedule.Phase = awake
		if failed {
			f.schedule.RetryAt = f.now.Add(wakeAgain)
		}
	}
	if err := f.tx.SaveScheduleRun(ctx, f.run); err != nil {
		return err
	}
	return f.audit(ctx, "schedule."+f.run.Action+"."+f.run.Status, map[string]any{
		"schedule": f.schedule.Name, "workloads": f.run.Workloads, "problems": f.run.Problems,
	})
}

// supersede ends a run that is no longer wanted. What its tasks may have done is
// known by the sleepers, which the next run wakes.
func (f *following) supersede(ctx context.Context) error {
	if err := f.collect(ctx); err != nil {
		return err
	}
	if err := f.recall(ctx, "the schedule wants the opposite by now"); err != nil {
		return err
	}
	for _, w := range f.work {
		if w.Outcome == "" {
			w.Outcome = "abandoned"
			if err := f.tx.SaveRunWorkload(ctx, f.run.ID, w); err != nil {
				return err
			}
		}
	}
	f.problem("broken off: the schedule wanted the opposite before it was done")
	f.run.Status, f.run.FinishedAt = "failed", f.now
	if err := f.tx.SaveScheduleRun(ctx, f.run); err != nil {
		return err
	}
	// As far as it got: what it did is what the next run undoes.
	if f.run.Action == toSleep {
		f.schedule.Phase = asleep
	} else {
		// Should the sleep that is wanted now be held until waking is wanted again, that is not forgotten.
		f.schedule.Phase, f.schedule.RetryAt = awake, f.now
	}
	f.run, f.work = nil, nil
	return nil
}

func (f *following) problem(format string, args ...any) {
	if len(f.run.Problems) == mostProblems {
		f.run.Problems = append(f.run.Problems, "… and more")
	}
	if len(f.run.Problems) < mostProblems {
		f.run.Problems = append(f.run.Problems, fmt.Sprintf(format, args...))
	}
}

func asStruct(p *fleetv1.ScaleWorkloadParameters) (*structpb.Struct, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding parameters: %w", err)
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(raw)
}
