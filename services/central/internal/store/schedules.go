package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Schedule is office hours of some workloads, and how far they are.
type Schedule struct {
	ID, Cluster uuid.UUID
	Name        string
	// Terms are what people set: calendar, scope, wake_order and lead_minutes.
	Terms   *adminv1.Schedule
	Enabled bool
	Etag    string
	// WakeUntil is until when it is awake in any case; zero: as the calendar says.
	WakeUntil time.Time
	// Phase: awake, falling_asleep, asleep, waking.
	Phase       string
	HeldBecause string
	// Generation counts runs.
	Generation int64
	// RetryAt is when a wake that failed is tried again; zero: none did.
	RetryAt                         time.Time
	CreatedAt, UpdatedAt, DeletedAt time.Time
	UpdatedBy                       string
}

// terms is what of a schedule is kept as JSON.
func terms(s *adminv1.Schedule) ([]byte, error) {
	return encode(&adminv1.Schedule{
		Calendar: s.GetCalendar(), Scope: s.GetScope(), WakeOrder: s.GetWakeOrder(), LeadMinutes: s.GetLeadMinutes(),
	})
}

// CreateSchedule writes one.
func (s *Store) CreateSchedule(ctx context.Context, cluster uuid.UUID, set *adminv1.Schedule, actor string) (*Schedule, error) {
	detail, err := terms(set)
	if err != nil {
		return nil, wrap("encoding schedule", set.GetName(), err)
	}
	row, err := s.q.ScheduleCreate(ctx, s.db, centraldb.ScheduleCreateParams{
		ClusterID: cluster, Name: set.GetName(), Detail: detail, Enabled: set.GetEnabled(), UpdatedBy: actor,
	})
	if err != nil {
		return nil, wrap("schedule", set.GetName(), err)
	}
	return schedule(row)
}

// Schedule that the customer owns, or any when customer is null; a deleted one has DeletedAt.
func (s *Store) Schedule(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*Schedule, error) {
	row, err := s.q.ScheduleByID(ctx, s.db, centraldb.ScheduleByIDParams{ScheduleID: id, CustomerID: customer})
	if err != nil {
		return nil, wrap("schedule", id.String(), err)
	}
	return schedule(row)
}

// LockSchedule reads one and keeps others from changing it until the transaction ends.
func (s *Store) LockSchedule(ctx context.Context, id uuid.UUID) (*Schedule, error) {
	row, err := s.q.ScheduleLock(ctx, s.db, id)
	if err != nil {
		return nil, wrap("schedule", id.String(), err)
	}
	return schedule(row)
}

// ScheduleOrder is how schedules are listed.
const ScheduleOrder = "name"

// Schedules lists a customer's, or all, by name.
func (s *Store) Schedules(ctx context.Context, customer, cluster uuid.NullUUID, page Page) ([]*Schedule, string, error) {
	params := centraldb.ScheduleListParams{CustomerID: customer, ClusterID: cluster, MaxRows: int32(page.Limit) + 1}
	var err error
	if params.AfterName, params.AfterID, err = page.namePlace(); err != nil {
		return nil, "", err
	}
	rows, err := s.q.ScheduleList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "schedules", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.Schedule) Cursor {
		return Cursor{Order: ScheduleOrder, Key: row.Name, ID: row.ScheduleID.String()}
	})
	if err != nil {
		return nil, "", wrap("listing", "schedules", err)
	}
	out := make([]*Schedule, 0, len(rows))
	for _, row := range rows {
		one, err := schedule(row)
		if err != nil {
			return nil, "", err
		}
		out = append(out, one)
	}
	return out, next, nil
}

// UpdateSchedule replaces what people set, of the version that they looked at; in a transaction.
func (s *Store) UpdateSchedule(ctx context.Context, id uuid.UUID, set *adminv1.Schedule, actor string) (*Schedule, error) {
	before, err := s.LockSchedule(ctx, id)
	if err != nil {
		return nil, err
	}
	if set.GetEtag() != before.Etag {
		return nil, errChanged("schedule", id.String(), before.Etag)
	}
	detail, err := terms(set)
	if err != nil {
		return nil, wrap("encoding schedule", set.GetName(), err)
	}
	row, err := s.q.ScheduleUpdate(ctx, s.db, centraldb.ScheduleUpdateParams{
		ScheduleID: id, Name: set.GetName(), Detail: detail, Enabled: set.GetEnabled(), UpdatedBy: actor,
	})
	if err != nil {
		return nil, wrap("schedule", id.String(), err)
	}
	return schedule(row)
}

// DeleteSchedule marks one, which then wakes what sleeps; false: it was deleted before.
func (s *Store) DeleteSchedule(ctx context.Context, id uuid.UUID, actor string) (bool, error) {
	n, err := s.q.ScheduleDelete(ctx, s.db, centraldb.ScheduleDeleteParams{ScheduleID: id, UpdatedBy: actor})
	return n > 0, wrap("deleting schedule", id.String(), err)
}

// WakeSchedule sets until when it is awake in any case; the zero time ends that.
func (s *Store) WakeSchedule(ctx context.Context, id uuid.UUID, until time.Time, actor string) (*Schedule, error) {
	row, err := s.q.ScheduleWake(ctx, s.db, centraldb.ScheduleWakeParams{ScheduleID: id, WakeUntil: momentOrNil(until), UpdatedBy: actor})
	if err != nil {
		return nil, wrap("schedule", id.String(), err)
	}
	return schedule(row)
}

// ClaimSchedules takes those that are to be looked at now; nobody else looks at them
// until lease is over.
func (s *Store) ClaimSchedules(ctx context.Context, lease time.Duration, limit int) ([]uuid.UUID, error) {
	ids, err := s.q.ScheduleClaim(ctx, s.db, centraldb.ScheduleClaimParams{LeaseSeconds: lease.Seconds(), MaxRows: int32(limit)})
	return ids, wrap("claiming", "schedules", err)
}

// LookAtSchedule says when it is to be looked at again.
func (s *Store) LookAtSchedule(ctx context.Context, id uuid.UUID, in time.Duration) error {
	return wrap("putting off schedule", id.String(), s.q.ScheduleLook(ctx, s.db, centraldb.ScheduleLookParams{
		ScheduleID: id, Seconds: in.Seconds(),
	}))
}

// SaveSchedule writes how far it is: phase, what holds it, generation and retry.
func (s *Store) SaveSchedule(ctx context.Context, one *Schedule) error {
	return wrap("writing schedule", one.ID.String(), s.q.ScheduleSave(ctx, s.db, centraldb.ScheduleSaveParams{
		ScheduleID: one.ID, Phase: one.Phase, HeldBecause: one.HeldBecause, Generation: one.Generation, RetryAt: momentOrNil(one.RetryAt),
	}))
}

// leftAsleep is what is said of schedules and runs of a cluster that was disconnected.
const leftAsleep = "the cluster was disconnected; what sleeps stays asleep until somebody scales it by hand, to the replicas " +
	"that its annotation cloudoptim.io/replicas-before-sleep says"

// leaveSchedules ends all schedules of a cluster, and returns how many were enabled and how many workloads sleep.
func (s *Store) leaveSchedules(ctx context.Context, cluster uuid.UUID) (schedules, asleep int, err error) {
	row, err := s.q.ScheduleLeave(ctx, s.db, centraldb.ScheduleLeaveParams{ClusterID: cluster, Why: leftAsleep})
	return int(row.Schedules), int(row.Workloads), err
}

func schedule(row centraldb.Schedule) (*Schedule, error) {
	set := &adminv1.Schedule{}
	if err := decode(row.Detail, set); err != nil {
		return nil, wrap("reading schedule", row.ScheduleID.String(), err)
	}
	return &Schedule{
		ID: row.ScheduleID, Cluster: row.ClusterID, Name: row.Name, Terms: set, Enabled: row.Enabled, Etag: row.Etag.String(),
		WakeUntil: value(row.WakeUntil), Phase: row.Phase, HeldBecause: row.HeldBecause, Generation: row.Generation, RetryAt: value(row.RetryAt),
		CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, DeletedAt: value(row.DeletedAt), UpdatedBy: row.UpdatedBy,
	}, nil
}

func momentOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
