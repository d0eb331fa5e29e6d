package schedule

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// longestWake by hand.
	longestWake = 14 * 24 * time.Hour
	// shown transitions of a schedule.
	shown = 5
)

// Create makes a schedule of a cluster that the caller may change.
func (s *Service) Create(ctx context.Context, cluster uuid.UUID, set *adminv1.Schedule, actor string) (*adminv1.Schedule, error) {
	if err := check(set); err != nil {
		return nil, err
	}
	var made *store.Schedule
	err := s.Store.InTx(ctx, func(tx *store.Store) (err error) {
		if err := tx.Connected(ctx, cluster); err != nil {
			return err
		}
		if made, err = tx.CreateSchedule(ctx, cluster, set, actor); err != nil {
			return err
		}
		if err := tellChange(ctx, tx, made, actor, "created", "was made"); err != nil {
			return err
		}
		return s.audit(ctx, tx, made, actor, "schedule.create", told(made))
	})
	if err != nil {
		return nil, err
	}
	return s.message(made, 0)
}

// Update replaces a schedule of the customer, or of any when customer is null.
func (s *Service) Update(ctx context.Context, id uuid.UUID, customer uuid.NullUUID, set *adminv1.Schedule, actor string) (*adminv1.Schedule, error) {
	before, err := s.there(ctx, id, customer)
	if err != nil {
		return nil, err
	}
	if set.GetClusterId() != before.Cluster.String() {
		return nil, fault.Invalid("schedule.cluster_id", "must stay as it is: a schedule is of one cluster")
	}
	if err := check(set); err != nil {
		return nil, err
	}
	return s.change(ctx, before, actor, "schedule.update", nil, func(tx *store.Store) (*store.Schedule, error) {
		now, err := tx.UpdateSchedule(ctx, id, set, actor)
		if err != nil {
			return nil, err
		}
		return now, tellChange(ctx, tx, now, actor, "changed", changeText(before, now))
	})
}

// Delete wakes what sleeps by a schedule, and removes it; again: nothing.
func (s *Service) Delete(ctx context.Context, id uuid.UUID, customer uuid.NullUUID, actor string) error {
	one, err := s.Store.Schedule(ctx, id, customer)
	if err != nil {
		return err
	}
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		fresh, err := tx.DeleteSchedule(ctx, id, actor)
		if err != nil || !fresh {
			return err
		}
		if err := tellChange(ctx, tx, one, actor, "deleted", "was deleted"); err != nil {
			return err
		}
		return s.audit(ctx, tx, one, actor, "schedule.delete", map[string]any{"name": one.Name})
	})
}

// Wake keeps a schedule awake until a time; one that is over ends that.
func (s *Service) Wake(ctx context.Context, id uuid.UUID, customer uuid.NullUUID, req *adminv1.WakeScheduleRequest, actor string) (*adminv1.Schedule, error) {
	before, err := s.there(ctx, id, customer)
	if err != nil {
		return nil, err
	}
	until := req.GetUntil().AsTime()
	switch now := s.Now(); {
	case until.After(now.Add(longestWake)):
		return nil, fault.Invalid("until", "must be at most 14 days from now")
	case !until.After(now):
		until = time.Time{}
	}
	detail := map[string]any{"until": until, "reason": req.GetReason()}
	return s.change(ctx, before, actor, "schedule.wake_until", detail, func(tx *store.Store) (*store.Schedule, error) {
		now, err := tx.WakeSchedule(ctx, id, until, actor)
		if err != nil {
			return nil, err
		}
		return now, tellChange(ctx, tx, now, actor, "wake_until", wakeText(until))
	})
}

// change a schedule and say so in the audit log.
func (s *Service) change(ctx context.Context, before *store.Schedule, actor, action string, detail map[string]any,
	do func(tx *store.Store) (*store.Schedule, error),
) (*adminv1.Schedule, error) {
	var one *store.Schedule
	err := s.Store.InTx(ctx, func(tx *store.Store) (err error) {
		if err := tx.Connected(ctx, before.Cluster); err != nil {
			return err
		}
		if one, err = do(tx); err != nil {
			return err
		}
		if detail == nil {
			detail = told(one)
		}
		return s.audit(ctx, tx, one, actor, action, detail)
	})
	if err != nil {
		return nil, err
	}
	counts, err := s.Store.CountSleepers(ctx, one.ID)
	if err != nil {
		return nil, err
	}
	return s.message(one, counts[one.ID])
}

// List a page of the customer's schedules, or of all when customer is null.
func (s *Service) List(ctx context.Context, customer, cluster uuid.NullUUID, page store.Page) ([]*adminv1.Schedule, string, error) {
	found, next, err := s.Store.Schedules(ctx, customer, cluster, page)
	if err != nil {
		return nil, "", err
	}
	ids := make([]uuid.UUID, 0, len(found))
	for _, one := range found {
		ids = append(ids, one.ID)
	}
	counts, err := s.Store.CountSleepers(ctx, ids...)
	if err != nil {
		return nil, "", err
	}
	out := make([]*adminv1.Schedule, 0, len(found))
	for _, one := range found {
		msg, err := s.message(one, counts[one.ID])
		if err != nil {
			return nil, "", err
		}
		out = append(out, msg)
	}
	return out, next, nil
}

// Runs of a schedule, newest first; of a deleted one as well.
func (s *Service) Runs(ctx context.Context, id uuid.UUID, customer uuid.NullUUID, page store.Page) ([]*adminv1.ScheduleRun, string, error) {
	if _, err := s.Store.Schedule(ctx, id, customer); err != nil {
		return nil, "", err
	}
	return s.Store.ScheduleRuns(ctx, id, page)
}

// there is a schedule that was not deleted.
func (s *Service) there(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*store.Schedule, error) {
	one, err := s.Store.Schedule(ctx, id, customer)
	if err == nil && !one.DeletedAt.IsZero() {
		err = fault.NotFound("schedule", id.String())
	}
	return one, err
}

func (s *Service) audit(ctx context.Context, tx *store.Store, one *store.Schedule, actor, action string, detail map[string]any) error {
	customer, err := tx.CustomerOf(ctx, one.Cluster)
	if err != nil {
		return err
	}
	return tx.Audit(ctx, store.Act{
		Actor: actor, Action: action, Customer: uuid.NullUUID{UUID: customer, Valid: true},
		Cluster: uuid.NullUUID{UUID: one.Cluster, Valid: true}, Subject: one.ID.String(), Detail: detail,
	})
}

// told is what was set, for the audit log.
func told(one *store.Schedule) map[string]any {
	detail := map[string]any{"name": one.Name, "enabled": one.Enabled}
	if raw, err := (protojson.MarshalOptions{UseProtoNames: true}).Marshal(one.Terms); err == nil { // it was read from JSON
		detail["terms"] = json.RawMessage(raw)
	}
	return detail
}

// check what the contract cannot say.
func check(set *adminv1.Schedule) error {
	_, err := calendar.Read("schedule.calendar", set.GetCalendar())
	return err
}

// message is a schedule as people see it.
func (s *Service) message(one *store.Schedule, sleepers int32) (*adminv1.Schedule, error) {
	p, err := newPlan(one)
	if err != nil {
		return nil, err
	}
	msg := &adminv1.Schedule{
		ScheduleId: one.ID.String(), ClusterId: one.Cluster.String(), Name: one.Name, Calendar: one.Terms.GetCalendar(), Scope: one.Terms.GetScope(),
		WakeOrder: one.Terms.GetWakeOrder(), LeadMinutes: one.Terms.GetLeadMinutes(), Enabled: one.Enabled, Etag: one.Etag, State: one.Phase,
		HeldBecause: one.HeldBecause, Next: p.next(s.Now(), isAwake(one.Phase), shown), WorkloadsAsleep: sleepers,
		CreatedAt: timestamppb.New(one.CreatedAt), UpdatedBy: one.UpdatedBy,
	}
	if one.WakeUntil.After(s.Now()) {
		msg.WakeUntil = timestamppb.New(one.WakeUntil)
	}
	switch {
	case one.HeldBecause != "":
		msg.State = "held"
	case p.off != "" && one.Phase == awake:
		msg.State = "disabled"
	}
	return msg, nil
}
