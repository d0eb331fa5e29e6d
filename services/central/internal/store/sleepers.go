package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// WorkloadName names a workload of a cluster.
type WorkloadName struct{ Namespace, Kind, Name string }

// String is namespace/name.
func (w WorkloadName) String() string { return w.Namespace + "/" + w.Name }

// Sleeper is a workload that sleeps by a schedule, or may.
type Sleeper struct {
	WorkloadName
	// Replicas that it had, 0 when it is not known to sleep.
	Replicas int32
}

// Sleepers of a schedule.
func (s *Store) Sleepers(ctx context.Context, id uuid.UUID) ([]Sleeper, error) {
	rows, err := s.q.SleeperList(ctx, s.db, id)
	out := make([]Sleeper, 0, len(rows))
	for _, row := range rows {
		out = append(out, Sleeper{WorkloadName{row.Namespace, row.Kind, row.Name}, row.Replicas})
	}
	return out, wrap("reading the sleepers of schedule", id.String(), err)
}

// CountSleepers counts those that sleep for sure, by schedule.
func (s *Store) CountSleepers(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]int32, error) {
	rows, err := s.q.SleeperCount(ctx, s.db, ids)
	counts := map[uuid.UUID]int32{}
	for _, row := range rows {
		counts[row.ScheduleID] = row.Workloads
	}
	return counts, wrap("counting the sleepers of", "schedules", err)
}

// NoteSleeper says that a workload may sleep from now on.
func (s *Store) NoteSleeper(ctx context.Context, id uuid.UUID, w WorkloadName) error {
	return wrap("noting a sleeper of schedule", id.String(), s.q.SleeperNote(ctx, s.db, centraldb.SleeperNoteParams{
		ScheduleID: id, Namespace: w.Namespace, Kind: w.Kind, Name: w.Name,
	}))
}

// SleeperSleeps says that it does, and how many replicas it had.
func (s *Store) SleeperSleeps(ctx context.Context, id uuid.UUID, w WorkloadName, replicas int32) error {
	return wrap("noting a sleeper of schedule", id.String(), s.q.SleeperAsleep(ctx, s.db, centraldb.SleeperAsleepParams{
		ScheduleID: id, Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Replicas: max(replicas, 0),
	}))
}

// SleeperWoke says that it does not sleep by the schedule any more.
func (s *Store) SleeperWoke(ctx context.Context, id uuid.UUID, w WorkloadName) error {
	return wrap("forgetting a sleeper of schedule", id.String(), s.q.SleeperGone(ctx, s.db, centraldb.SleeperGoneParams{
		ScheduleID: id, Namespace: w.Namespace, Kind: w.Kind, Name: w.Name,
	}))
}

// ScheduleRun is one sleep or wake under way.
type ScheduleRun struct {
	ID, Schedule   uuid.UUID
	Action, Reason string
	// DueAt is when it should have been, StartedAt when it was begun; FinishedAt is zero while it runs.
	DueAt, StartedAt, FinishedAt time.Time
	// Status: running, completed, failed.
	Status    string
	Workloads int32
	Problems  []string
}

// RunWorkload is what a run does to a workload.
type RunWorkload struct {
	WorkloadName
	// Stage from 0; Ready is how long a wake waits for it.
	Stage   int32
	Ready   time.Duration
	Attempt int32
	// Task of the attempt; null: its stage has not come, or it is tried again at RetryAt.
	Task    uuid.NullUUID
	RetryAt time.Time
	// Outcome is empty until it is done.
	Outcome string
}

// BeginScheduleRun writes a run and what it will do; one at a time runs in a schedule.
func (s *Store) BeginScheduleRun(ctx context.Context, run *ScheduleRun, workloads []*RunWorkload) error {
	err := s.q.ScheduleRunCreate(ctx, s.db, centraldb.ScheduleRunCreateParams{
		RunID: run.ID, ScheduleID: run.Schedule, Action: run.Action, Reason: run.Reason, DueAt: run.DueAt, StartedAt: run.StartedAt,
	})
	if err != nil {
		return wrap("beginning a run of schedule", run.Schedule.String(), err)
	}
	for _, w := range workloads {
		err := s.q.RunWorkloadCreate(ctx, s.db, centraldb.RunWorkloadCreateParams{
			RunID: run.ID, Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Stage: w.Stage, ReadySeconds: int32(w.Ready.Seconds()),
		})
		if err != nil {
			return wrap("beginning a run of schedule", run.Schedule.String(), err)
		}
	}
	return nil
}

// OpenScheduleRun is the run under way; nil: none is.
func (s *Store) OpenScheduleRun(ctx context.Context, id uuid.UUID) (*ScheduleRun, error) {
	row, err := s.q.ScheduleRunOpen(ctx, s.db, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, wrap("reading the run of schedule", id.String(), err)
	}
	return &ScheduleRun{
		ID: row.RunID, Schedule: row.ScheduleID, Action: row.Action, Reason: row.Reason, DueAt: row.DueAt, StartedAt: row.StartedAt,
		FinishedAt: value(row.FinishedAt), Status: row.Status, Workloads: row.Workloads, Problems: row.Problems,
	}, nil
}

// SaveScheduleRun writes how far it is.
func (s *Store) SaveScheduleRun(ctx context.Context, run *ScheduleRun) error {
	problems := run.Problems
	if problems == nil {
		problems = []string{}
	}
	return wrap("writing schedule run", run.ID.String(), s.q.ScheduleRunSave(ctx, s.db, centraldb.ScheduleRunSaveParams{
		RunID: run.ID, Status: run.Status, FinishedAt: momentOrNil(run.FinishedAt), Workloads: run.Workloads, Problems: problems,
	}))
}

// RunWorkloads are what a run does, by stage and name.
func (s *Store) RunWorkloads(ctx context.Context, run uuid.UUID) ([]*RunWorkload, error) {
	rows, err := s.q.RunWorkloadList(ctx, s.db, run)
	out := make([]*RunWorkload, 0, len(rows))
	for _, row := range rows {
		out = append(out, &RunWorkload{
			WorkloadName: WorkloadName{row.Namespace, row.Kind, row.Name}, Stage: row.Stage, Ready: time.Duration(row.ReadySeconds) * time.Second,
			Attempt: row.Attempt, Task: row.TaskID, RetryAt: value(row.RetryAt), Outcome: row.Outcome,
		})
	}
	return out, wrap("reading schedule run", run.String(), err)
}

// SaveRunWorkload writes how far a run is with a workload.
func (s *Store) SaveRunWorkload(ctx context.Context, run uuid.UUID, w *RunWorkload) error {
	return wrap("writing schedule run", run.String(), s.q.RunWorkloadSave(ctx, s.db, centraldb.RunWorkloadSaveParams{
		RunID: run, Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Attempt: w.Attempt, TaskID: w.Task, RetryAt: momentOrNil(w.RetryAt),
		Outcome: w.Outcome,
	}))
}

// ScheduleRunOrder is how runs are listed.
const ScheduleRunOrder = "started_at desc"

// ScheduleRuns lists the newest first.
func (s *Store) ScheduleRuns(ctx context.Context, id uuid.UUID, page Page) ([]*adminv1.ScheduleRun, string, error) {
	after, last, err := page.timePlace()
	if err != nil {
		return nil, "", err
	}
	rows, err := s.q.ScheduleRunList(ctx, s.db, centraldb.ScheduleRunListParams{
		ScheduleID: id, AfterAt: after, AfterID: last, MaxRows: int32(page.Limit) + 1,
	})
	if err != nil {
		return nil, "", wrap("listing runs of schedule", id.String(), err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.ScheduleRun) Cursor {
		return dated(ScheduleRunOrder, row.StartedAt, row.RunID.String())
	})
	if err != nil {
		return nil, "", wrap("listing runs of schedule", id.String(), err)
	}
	out := make([]*adminv1.ScheduleRun, 0, len(rows))
	for _, row := range rows {
		out = append(out, &adminv1.ScheduleRun{
			RunId: row.RunID.String(), Action: row.Action, StartedAt: timestamppb.New(row.StartedAt), FinishedAt: stamp(row.FinishedAt),
			Status: row.Status, Reason: row.Reason, Workloads: row.Workloads, Problems: row.Problems,
		})
	}
	return out, next, nil
}
