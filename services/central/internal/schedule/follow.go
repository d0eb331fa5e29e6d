package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Phases of a schedule.
const (
	awake   = "awake"
	falling = "falling_asleep"
	asleep  = "asleep"
	waking  = "waking"
)

// Actions of a run.
const (
	toSleep = "sleep"
	toWake  = "wake"
)

// runs names the runs of schedules, and with them their tasks.
var runs = uuid.MustParse("2f1d8f1a-5a8e-4b53-9d1c-3f0f7f0f6a12")

// follow compares what a schedule wants with what is, and does the next thing. It
// returns when to look again.
func (s *Service) follow(ctx context.Context, id uuid.UUID) (time.Duration, error) {
	seen, err := s.Store.Schedule(ctx, id, uuid.NullUUID{})
	if err != nil {
		return 0, err
	}
	p, err := newPlan(seen)
	if err != nil {
		return 0, err
	}
	f := &following{Service: s, plan: p, now: s.Now()}
	f.wish = p.want(f.now, isAwake(seen.Phase))
	if !f.wish.awake && isAwake(seen.Phase) {
		chosen, why, err := s.choose(ctx, seen)
		if err != nil {
			return 0, err
		}
		if why != "" && seen.Phase == awake {
			return heldFor, s.holds(ctx, seen, why)
		}
		f.chosen = chosen
	}
	return s.act(ctx, seen, f)
}

// act does the next thing in one transaction, unless the schedule was changed since it was seen.
func (s *Service) act(ctx context.Context, seen *store.Schedule, f *following) (again time.Duration, err error) {
	again = f.rest(seen)
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		// The cluster first, as a disconnection does.
		if err := tx.Connected(ctx, seen.Cluster); err != nil {
			return err
		}
		one, err := tx.LockSchedule(ctx, seen.ID)
		if err != nil {
			return err
		}
		if one.Etag != seen.Etag || one.Generation != seen.Generation {
			again = 0
			return nil
		}
		before := *one
		f.tx, f.schedule = tx, one
		if err := f.step(ctx); err != nil {
			return err
		}
		if f.busy {
			again = min(again, soon)
		}
		if err := tx.SaveSchedule(ctx, one); err != nil {
			return err
		}
		return tellMove(ctx, tx, &before, one, f.run)
	})
	if err == nil && f.announce {
		s.Dispatch.Announce(ctx, seen.Cluster)
	}
	return again, err
}

// rest until there is something to do, if nothing is under way.
func (f *following) rest(seen *store.Schedule) time.Duration {
	if f.plan.off != "" && seen.Phase == awake && seen.RetryAt.IsZero() {
		return ahead // it sleeps no more, until somebody changes it
	}
	return min(lookAgain, max(f.plan.until(f.now, isAwake(seen.Phase)), 100*time.Millisecond))
}

// holds writes what keeps a schedule from acting.
func (s *Service) holds(ctx context.Context, seen *store.Schedule, why string) error {
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		if err := tx.Connected(ctx, seen.Cluster); err != nil {
			return err
		}
		one, err := tx.LockSchedule(ctx, seen.ID)
		if err != nil {
			return err
		}
		before := *one
		one.HeldBecause = why
		if err := tx.SaveSchedule(ctx, one); err != nil {
			return err
		}
		return tellMove(ctx, tx, &before, one, nil)
	})
}

func isAwake(phase string) bool { return phase == awake || phase == waking }

// following is one look at a schedule, in one transaction.
type following struct {
	*Service
	tx       *store.Store
	schedule *store.Schedule
	plan     *plan
	wish     wish
	now      time.Time
	chosen   []*store.RunWorkload

	run  *store.ScheduleRun
	work []*store.RunWorkload
	// busy: there is something to look at soon. announce: tasks were written.
	busy, announce bool
}

func (f *following) step(ctx context.Context) (err error) {
	if f.run, err = f.tx.OpenScheduleRun(ctx, f.schedule.ID); err != nil {
		return err
	}
	if f.run != nil {
		if f.work, err = f.tx.RunWorkloads(ctx, f.run.ID); err != nil {
			return err
		}
		if (f.run.Action == toWake) == f.wish.awake {
			return f.advance(ctx)
		}
		if err := f.supersede(ctx); err != nil {
			return err
		}
	}
	switch sleeps := !isAwake(f.schedule.Phase); {
	case !f.wish.awake && !sleeps:
		return f.beginSleep(ctx)
	case f.wish.awake && (sleeps || f.retries()):
		return f.beginWake(ctx)
	}
	f.schedule.HeldBecause = ""
	return nil
}

// retries says that what did not wake the last time is to be tried again.
func (f *following) retries() bool {
	return !f.schedule.RetryAt.IsZero() && !f.now.Before(f.schedule.RetryAt)
}

// beginSleep begins a run, unless something holds it.
func (f *following) beginSleep(ctx context.Context) error {
	why, err := f.barred(ctx)
	if err != nil {
		return err
	}
	f.schedule.HeldBecause = why
	if why != "" {
		f.busy = true
		return nil
	}
	sleepers, err := f.tx.Sleepers(ctx, f.schedule.ID)
	if err != nil {
		return err
	}
	// Those of an earlier run as well: one that was just being woken may be awake by now.
	work := f.chosen
	for _, one := range sleepers {
		if !slices.ContainsFunc(work, func(w *store.RunWorkload) bool { return w.WorkloadName == one.WorkloadName }) {
			work = append(work, toBePut(f.schedule.Terms.GetWakeOrder(), one.WorkloadName))
		}
	}
	f.schedule.Phase, f.schedule.RetryAt = falling, time.Time{}
	return f.begin(ctx, toSleep, work)
}

// barred is held, with new stops kept out until the transaction ends: what is written
// here either sees a stop, or is not there when it is made.
func (f *following) barred(ctx context.Context) (string, error) {
	if err := f.tx.BarStops(ctx); err != nil {
		return "", err
	}
	why, _, err := f.held(ctx, f.tx, f.schedule.Cluster)
	return why, err
}

// beginWake wakes all that sleep by the schedule, or may.
func (f *following) beginWake(ctx context.Context) error {
	sleepers, err := f.tx.Sleepers(ctx, f.schedule.ID)
	if err != nil {
		return err
	}
	stages := f.schedule.Terms.GetWakeOrder()
	var work []*store.RunWorkload
	for _, one := range sleepers {
		stage, ready := stageOf(stages, one.WorkloadName)
		work = append(work, &store.RunWorkload{WorkloadName: one.WorkloadName, Stage: stage, Ready: ready})
	}
	f.schedule.Phase, f.schedule.RetryAt, f.schedule.HeldBecause = waking, time.Time{}, ""
	return f.begin(ctx, toWake, work)
}

// begin writes a run, and does what of it can be done at once.
func (f *following) begin(ctx context.Context, action string, work []*store.RunWorkload) error {
	f.schedule.Generation++
	f.run = &store.ScheduleRun{
		ID:       uuid.NewSHA1(runs, fmt.Appendf(nil, "%s/%d/%d", f.schedule.ID, f.schedule.Generation, f.wish.due.Unix())),
		Schedule: f.schedule.ID, Action: action, Reason: f.wish.reason, DueAt: f.wish.due, StartedAt: f.now, Status: "running",
	}
	f.work = work
	if err := f.tx.BeginScheduleRun(ctx, f.run, work); err != nil {
		return err
	}
	if err := f.audit(ctx, "schedule."+action, map[string]any{
		"schedule": f.schedule.Name, "reason": f.run.Reason, "due_at": f.run.DueAt, "workloads": len(work),
	}); err != nil {
		return err
	}
	return f.advance(ctx)
}

func (f *following) audit(ctx context.Context, action string, detail map[string]any) error {
	return f.Service.audit(ctx, f.tx, f.schedule, actor, action, detail)
}
