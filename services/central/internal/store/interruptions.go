package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// Interruption is the row of work about one instance that AWS takes away.
type Interruption struct {
	ID, Cluster uuid.UUID
	InstanceID  string
	// Nth counts drains of the instance, from 0.
	Nth                                        int
	Node, Region, Zone, InstanceType, NodeType string
	// State rises only: at_risk, draining, drained, gone, dismissed.
	State string
	// Urgency is the worst that was said, 0 to 5.
	Urgency int
	// Action of AWS: terminate, stop, hibernate, or its code.
	Action string
	// Causes are event types and states, Sources how they came; both sorted.
	Causes, Sources []string
	// Deadline is when AWS acts, the earliest that was said; zero: unknown.
	Deadline time.Time

	DrainTask    uuid.NullUUID
	DrainOutcome string
	DrainError   string

	// Replacement: "" while it is not decided, pending, launched, failed, unneeded.
	Replacement         string
	ReplacementNote     string
	ReplacementInstance string
	ReplacementPool     string

	HookGroup, HookName, HookToken string
	HookBeatAt, HookCompletedAt    time.Time

	// TerminatedAt is when we asked EC2 to end the instance.
	TerminatedAt time.Time
	Traceparent  string
	// Wake: it is to be looked at now, by the database's clock.
	Wake                                  bool
	OpenedAt, DrainedAt, GoneAt, ClosedAt time.Time
}

// Open tells whether there is something left to do.
func (i *Interruption) Open() bool { return i.ClosedAt.IsZero() }

// LockInstances keeps others from hearing about the same instances of any
// cluster until the transaction ends.
func (s *Store) LockInstances(ctx context.Context, ids []string) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for _, id := range ids {
		if err := s.q.InstanceLock(ctx, s.db, "instance:"+id); err != nil {
			return wrap("locking instance", id, err)
		}
	}
	return nil
}

// LatestInterruption of an instance, locked; nil: there was none.
func (s *Store) LatestInterruption(ctx context.Context, cluster uuid.UUID, instance string) (*Interruption, error) {
	row, err := s.q.InterruptionLatest(ctx, s.db, centraldb.InterruptionLatestParams{ClusterID: cluster, InstanceID: instance})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("interruption of instance", instance, err)
	}
	return interruption(row), nil
}

// AddInterruption opens one, at risk.
func (s *Store) AddInterruption(ctx context.Context, i *Interruption) (*Interruption, error) {
	// Whoever read its nodes before it was disconnected comes again and finds them gone.
	if err := s.Connected(ctx, i.Cluster); err != nil {
		return nil, err
	}
	row, err := s.q.InterruptionCreate(ctx, s.db, centraldb.InterruptionCreateParams{
		ClusterID: i.Cluster, InstanceID: i.InstanceID, Nth: int32(i.Nth), NodeName: i.Node, Region: i.Region,
		AvailabilityZone: i.Zone, InstanceType: i.InstanceType, NodeType: i.NodeType, Traceparent: i.Traceparent,
	})
	if err != nil {
		return nil, wrap("opening an interruption of instance", i.InstanceID, err)
	}
	return interruption(row), nil
}

// Interruption reads one.
func (s *Store) Interruption(ctx context.Context, id uuid.UUID) (*Interruption, error) {
	row, err := s.q.InterruptionByID(ctx, s.db, id)
	if err != nil {
		return nil, wrap("interruption", id.String(), err)
	}
	return interruption(row), nil
}

// LockInterruption reads one and keeps it until the transaction ends.
func (s *Store) LockInterruption(ctx context.Context, id uuid.UUID) (*Interruption, error) {
	row, err := s.q.InterruptionLocked(ctx, s.db, id)
	if err != nil {
		return nil, wrap("interruption", id.String(), err)
	}
	return interruption(row), nil
}

// SaveInterruption writes what may change of one that is locked. A state that
// would fall is an error.
func (s *Store) SaveInterruption(ctx context.Context, i *Interruption) error {
	n, err := s.q.InterruptionSave(ctx, s.db, centraldb.InterruptionSaveParams{
		Nth: int32(i.Nth), State: i.State, Urgency: int32(i.Urgency), AwsAction: i.Action, Causes: orEmpty(i.Causes),
		Sources: orEmpty(i.Sources), Deadline: moment(i.Deadline), DrainTaskID: i.DrainTask, DrainOutcome: i.DrainOutcome,
		DrainError: i.DrainError, Replacement: i.Replacement, ReplacementNote: i.ReplacementNote,
		ReplacementInstanceID: i.ReplacementInstance, ReplacementPool: i.ReplacementPool, HookGroup: i.HookGroup,
		HookName: i.HookName, HookToken: i.HookToken, HookBeatAt: moment(i.HookBeatAt), HookCompletedAt: moment(i.HookCompletedAt),
		TerminatedAt: moment(i.TerminatedAt), Wake: i.Wake, DrainedAt: moment(i.DrainedAt), GoneAt: moment(i.GoneAt),
		ClosedAt: moment(i.ClosedAt), InterruptionID: i.ID,
	})
	if err == nil && n == 0 {
		err = errors.New("its state would fall to " + i.State)
	}
	if err == nil && i.ReplacementInstance != "" {
		err = s.q.SwapFromInterruption(ctx, s.db, i.ID)
	}
	return wrap("writing interruption", i.ID.String(), err)
}

// ClaimInterruptions takes at most limit whose time has come; for the length of
// lease nobody else gets them.
func (s *Store) ClaimInterruptions(ctx context.Context, lease time.Duration, limit int) ([]uuid.UUID, error) {
	ids, err := s.q.InterruptionClaim(ctx, s.db, centraldb.InterruptionClaimParams{LeaseSeconds: lease.Seconds(), MaxRows: int32(limit)})
	return ids, wrap("claiming", "interruptions", err)
}

// WakeInterruption says when it is to be looked at next.
func (s *Store) WakeInterruption(ctx context.Context, id uuid.UUID, in time.Duration) error {
	return wrap("waking interruption", id.String(), s.q.InterruptionWake(ctx, s.db,
		centraldb.InterruptionWakeParams{Seconds: in.Seconds(), InterruptionID: id}))
}

// TakeTurn tells whether it is the caller who makes the next round of that name;
// the one after is due every later.
func (s *Store) TakeTurn(ctx context.Context, name string, every time.Duration) (bool, error) {
	n, err := s.q.TurnTake(ctx, s.db, centraldb.TurnTakeParams{Name: name, Seconds: every.Seconds()})
	return n > 0, wrap("taking the turn", name, err)
}

func interruption(row centraldb.Interruption) *Interruption {
	return &Interruption{
		ID: row.InterruptionID, Cluster: row.ClusterID, InstanceID: row.InstanceID, Nth: int(row.Nth), Node: row.NodeName,
		Region: row.Region, Zone: row.AvailabilityZone, InstanceType: row.InstanceType, NodeType: row.NodeType, State: row.State,
		Urgency: int(row.Urgency), Action: row.AwsAction, Causes: row.Causes, Sources: row.Sources, Deadline: value(row.Deadline),
		DrainTask: row.DrainTaskID, DrainOutcome: row.DrainOutcome, DrainError: row.DrainError, Replacement: row.Replacement,
		ReplacementNote: row.ReplacementNote, ReplacementInstance: row.ReplacementInstanceID, ReplacementPool: row.ReplacementPool,
		HookGroup: row.HookGroup, HookName: row.HookName, HookToken: row.HookToken, HookBeatAt: value(row.HookBeatAt),
		HookCompletedAt: value(row.HookCompletedAt), TerminatedAt: value(row.TerminatedAt), Traceparent: row.Traceparent,
		OpenedAt: row.OpenedAt, DrainedAt: value(row.DrainedAt), GoneAt: value(row.GoneAt), ClosedAt: value(row.ClosedAt),
	}
}

// moment is a time as a column that may be null.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
