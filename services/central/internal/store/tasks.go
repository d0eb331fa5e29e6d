package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// AddTask writes a task; false: it was there already.
func (s *Store) AddTask(ctx context.Context, task *fleetv1.Task) (bool, error) {
	parameters, err := encode(task.GetParameters())
	if err != nil {
		return false, wrap("encoding task", task.TaskId, err)
	}
	id, err := uuid.Parse(task.TaskId)
	if err != nil {
		return false, wrap("reading the id of task", task.TaskId, err)
	}
	cluster, err := uuid.Parse(task.ClusterId)
	if err != nil {
		return false, wrap("reading the cluster of task", task.TaskId, err)
	}
	n, err := s.q.TaskCreate(ctx, s.db, centraldb.TaskCreateParams{
		TaskID: id, ClusterID: cluster, TaskType: task.TaskType, Parameters: parameters, Priority: task.Priority,
		Deadline: task.GetDeadline().AsTime(), CreatedBy: task.CreatedBy, Traceparent: task.Traceparent, Cause: task.Cause,
		RequestID: rpc.RequestID(ctx),
	})
	return n > 0, wrap("task", task.TaskId, err)
}

// LeaseTasks hands at most limit waiting tasks to a session, most urgent first.
// A session that another has superseded gets none: its line may be dead.
func (s *Store) LeaseTasks(ctx context.Context, cluster uuid.UUID, epoch int64, lease time.Duration, limit int) ([]*fleetv1.Task, error) {
	return s.LeaseUrgentTasks(ctx, cluster, epoch, lease, limit, leastUrgent)
}

// leastUrgent is the last priority that tasks may have.
const leastUrgent = 10

// LeaseUrgentTasks is LeaseTasks for tasks with at most the priority least; 1 is most urgent.
func (s *Store) LeaseUrgentTasks(ctx context.Context, cluster uuid.UUID, epoch int64, lease time.Duration, limit int, least int32) ([]*fleetv1.Task, error) {
	rows, err := s.q.TaskLease(ctx, s.db, centraldb.TaskLeaseParams{
		SessionEpoch: epoch, LeaseSeconds: lease.Seconds(), ClusterID: cluster, MaxTasks: int32(limit), LeastUrgent: least,
	})
	if err != nil {
		return nil, wrap("leasing tasks of cluster", cluster.String(), err)
	}
	if len(rows) > 0 {
		return taskMessages(rows, lease)
	}
	row, err := s.q.ClusterByID(ctx, s.db, centraldb.ClusterByIDParams{ClusterID: cluster})
	if err != nil {
		return nil, wrap("cluster", cluster.String(), err)
	}
	if row.SessionEpoch != epoch {
		return nil, errSuperseded()
	}
	return nil, nil
}

// PollTasks returns every open task and leases the waiting ones.
func (s *Store) PollTasks(ctx context.Context, cluster uuid.UUID, lease time.Duration) ([]*fleetv1.Task, error) {
	rows, err := s.q.TaskPoll(ctx, s.db, centraldb.TaskPollParams{LeaseSeconds: lease.Seconds(), ClusterID: cluster})
	if err != nil {
		return nil, wrap("polling tasks of cluster", cluster.String(), err)
	}
	return taskMessages(rows, lease)
}

// AcceptTask notes that the agent will see the attempt through; false: it is not its any more.
func (s *Store) AcceptTask(ctx context.Context, cluster, task uuid.UUID, attempt int32, lease time.Duration) (bool, error) {
	n, err := s.q.TaskAccept(ctx, s.db, centraldb.TaskAcceptParams{
		LeaseSeconds: lease.Seconds(), TaskID: task, ClusterID: cluster, Attempt: attempt,
	})
	return n > 0, wrap("accepting task", task.String(), err)
}

// ResumeTask keeps a task with the agent that still runs it; false: central no longer wants it.
func (s *Store) ResumeTask(ctx context.Context, cluster, task uuid.UUID, epoch int64, attempt int32, lease time.Duration) (bool, error) {
	_, err := s.q.TaskResume(ctx, s.db, centraldb.TaskResumeParams{
		SessionEpoch: epoch, Attempt: attempt, LeaseSeconds: lease.Seconds(), TaskID: task, ClusterID: cluster,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, wrap("resuming task", task.String(), err)
}

// ProgressTask renews the lease. It returns why the agent should stop, "" to
// go on, and false when the task has ended.
func (s *Store) ProgressTask(ctx context.Context, cluster, task uuid.UUID, progress *fleetv1.TaskProgress, lease time.Duration) (string, bool, error) {
	raw, err := encode(progress)
	if err != nil {
		return "", false, wrap("encoding progress of task", task.String(), err)
	}
	reason, err := s.q.TaskProgress(ctx, s.db, centraldb.TaskProgressParams{
		Progress: raw, LeaseSeconds: lease.Seconds(), TaskID: task, ClusterID: cluster,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	return value(reason), err == nil, wrap("renewing task", task.String(), err)
}

// FinishTask is FinishTaskOf for a result that came without a session.
func (s *Store) FinishTask(ctx context.Context, cluster, task uuid.UUID, result *fleetv1.TaskResult) (*fleetv1.Task, error) {
	return s.FinishTaskOf(ctx, cluster, task, 0, result)
}

// FinishTaskOf ends a task with its first result, which came over the session
// epoch. A later one is kept as evidence and nil is returned, and so is one of an
// earlier attempt once the newer one runs elsewhere; a task that is not the
// cluster's is not found.
func (s *Store) FinishTaskOf(ctx context.Context, cluster, task uuid.UUID, epoch int64, result *fleetv1.TaskResult) (*fleetv1.Task, error) {
	raw, err := encode(result)
	if err != nil {
		return nil, wrap("encoding result of task", task.String(), err)
	}
	var ended *fleetv1.Task
	err = s.InTx(ctx, func(tx *Store) error {
		row, err := tx.q.TaskFinish(ctx, tx.db, centraldb.TaskFinishParams{
			Status: result.Status, Result: raw, TaskID: task, ClusterID: cluster, Attempt: result.Attempt, SessionEpoch: epoch,
		})
		if err == nil {
			ended, err = taskMessage(row, 0)
			return errors.Join(err, tx.auditTasks(ctx, "agent", result.Status, task))
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return wrap("finishing task", task.String(), err)
		}
		before, err := tx.q.TaskByID(ctx, tx.db, centraldb.TaskByIDParams{TaskID: task, ClusterID: cluster})
		if err != nil {
			return wrap("task", task.String(), err)
		}
		first := &fleetv1.TaskResult{}
		if err := decode(before.Result, first); err != nil {
			return wrap("reading the result of task", task.String(), err)
		}
		if first.Status != result.Status || first.Attempt != result.Attempt {
			return wrap("keeping evidence of task", task.String(), tx.q.TaskLateResult(ctx, tx.db, centraldb.TaskLateResultParams{
				TaskID: task, Attempt: result.Attempt, Result: raw,
			}))
		}
		return nil // the same again
	})
	return ended, err
}

// TaskStatus is the status of a cluster's task.
func (s *Store) TaskStatus(ctx context.Context, cluster, task uuid.UUID) (string, error) {
	row, err := s.q.TaskByID(ctx, s.db, centraldb.TaskByIDParams{TaskID: task, ClusterID: cluster})
	return row.Status, wrap("task", task.String(), err)
}

// TaskOutcome is how far a task is.
type TaskOutcome struct {
	Status   string
	Result   *fleetv1.TaskResult
	Progress *fleetv1.TaskProgress
	// CancelReason is why it was to end early; empty: nobody wanted that.
	CancelReason string
}

// Done tells whether the task has ended.
func (o TaskOutcome) Done() bool {
	return o.Status != "" && o.Status != "pending" && o.Status != "leased" && o.Status != "running"
}

// TaskOutcomes returns the tasks that exist, by id.
func (s *Store) TaskOutcomes(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]TaskOutcome, error) {
	rows, err := s.q.TaskByIDs(ctx, s.db, ids)
	if err != nil {
		return nil, wrap("reading", "tasks", err)
	}
	out := make(map[uuid.UUID]TaskOutcome, len(rows))
	for _, row := range rows {
		result, progress := &fleetv1.TaskResult{}, &fleetv1.TaskProgress{}
		if err := errors.Join(decode(row.Result, result), decode(row.Progress, progress)); err != nil {
			return nil, wrap("reading task", row.TaskID.String(), err)
		}
		out[row.TaskID] = TaskOutcome{Status: row.Status, Result: result, Progress: progress, CancelReason: value(row.CancelReason)}
	}
	return out, nil
}

// ReleaseTasks makes tasks whose lease ran out wait again, and returns the clusters that have waiting tasks.
func (s *Store) ReleaseTasks(ctx context.Context) ([]uuid.UUID, error) {
	if _, err := s.q.TaskRelease(ctx, s.db); err != nil {
		return nil, wrap("releasing", "tasks", err)
	}
	waiting, err := s.q.TaskWaitingClusters(ctx, s.db)
	return waiting, wrap("looking for", "waiting tasks", err)
}

// ExpireTasks ends tasks that are past their deadline and grace.
func (s *Store) ExpireTasks(ctx context.Context, grace time.Duration) ([]*fleetv1.Task, error) {
	var rows []centraldb.Task
	err := s.InTx(ctx, func(tx *Store) (err error) {
		if rows, err = tx.q.TaskExpire(ctx, tx.db, grace.Seconds()); err != nil {
			return err
		}
		return tx.auditTasks(ctx, "central", "expired", idsOf(rows)...)
	})
	if err != nil {
		return nil, wrap("expiring", "tasks", err)
	}
	return taskMessages(rows, 0)
}

// CancelTasks ends waiting tasks and asks for the end of those an agent has.
func (s *Store) CancelTasks(ctx context.Context, ids []uuid.UUID, reason string) error {
	err := s.InTx(ctx, func(tx *Store) error {
		rows, err := tx.q.TaskCancel(ctx, tx.db, centraldb.TaskCancelParams{CancelReason: text(reason), TaskIds: ids})
		if err != nil {
			return err
		}
		return tx.auditTasks(ctx, "central", "cancel", idsOf(rows)...)
	})
	return wrap("cancelling", "tasks", err)
}

// auditTasks notes how tasks ended, or that they are to end.
func (s *Store) auditTasks(ctx context.Context, actor, outcome string, ids ...uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	return s.q.TaskAudit(ctx, s.db, centraldb.TaskAuditParams{Actor: actor, Outcome: outcome, RequestID: rpc.RequestID(ctx), TaskIds: ids})
}

func idsOf(rows []centraldb.Task) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.TaskID)
	}
	return ids
}

// CancelledTask is one that its agent should stop.
type CancelledTask struct {
	ID      uuid.UUID
	Attempt int32
	Reason  string
}

// CancelledTasks are open tasks of a cluster that its agent should stop.
func (s *Store) CancelledTasks(ctx context.Context, cluster uuid.UUID) ([]CancelledTask, error) {
	rows, err := s.q.TaskCancelled(ctx, s.db, cluster)
	out := make([]CancelledTask, 0, len(rows))
	for _, row := range rows {
		out = append(out, CancelledTask{ID: row.TaskID, Attempt: row.Attempt, Reason: value(row.CancelReason)})
	}
	return out, wrap("reading cancelled tasks of cluster", cluster.String(), err)
}

// PendingTasks counts tasks that wait.
func (s *Store) PendingTasks(ctx context.Context, cluster uuid.UUID) (int32, error) {
	n, err := s.q.TaskPending(ctx, s.db, cluster)
	return n, wrap("counting tasks of cluster", cluster.String(), err)
}

// taskMessages are most urgent first: RETURNING promises no order.
func taskMessages(rows []centraldb.Task, lease time.Duration) ([]*fleetv1.Task, error) {
	slices.SortFunc(rows, func(a, b centraldb.Task) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.TaskID[:], b.TaskID[:]))
	})
	tasks := make([]*fleetv1.Task, 0, len(rows))
	for _, row := range rows {
		task, err := taskMessage(row, lease)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
}

func taskMessage(row centraldb.Task, lease time.Duration) (*fleetv1.Task, error) {
	parameters := &structpb.Struct{}
	if err := decode(row.Parameters, parameters); err != nil {
		return nil, wrap("reading task", row.TaskID.String(), err)
	}
	return &fleetv1.Task{
		TaskId: row.TaskID.String(), ClusterId: row.ClusterID.String(), TaskType: row.TaskType, Parameters: parameters,
		Priority: row.Priority, Deadline: timestamppb.New(row.Deadline), CreatedAt: timestamppb.New(row.CreatedAt),
		CreatedBy: row.CreatedBy, Attempt: row.Attempt, LeaseSeconds: lease.Seconds(),
		RemainingSeconds: max(time.Until(row.Deadline).Seconds(), 0), Status: row.Status, Traceparent: row.Traceparent,
		Cause: row.Cause,
	}, nil
}
