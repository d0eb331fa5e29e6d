package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Verdict is what somebody says of a plan or an optimization.
type Verdict struct{ Actor, Reason string }

// LockOptimization keeps others from deciding on an optimization until the transaction
// ends, and returns it without steps, and whose it is.
func (s *Store) LockOptimization(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*adminv1.Optimization, uuid.UUID, error) {
	owner, err := s.q.OptimizationLock(ctx, s.db, centraldb.OptimizationLockParams{OptimizationID: id, CustomerID: customer})
	if err != nil {
		return nil, uuid.Nil, wrap("optimization", id.String(), err)
	}
	row, err := s.q.OptimizationByID(ctx, s.db, centraldb.OptimizationByIDParams{OptimizationID: id})
	if err != nil {
		return nil, uuid.Nil, wrap("optimization", id.String(), err)
	}
	msg, err := s.optimizationMessage(ctx, row, false)
	return msg, owner, err
}

// SetPlan stores what a plan does; content is the same for plans that do the same.
func (s *Store) SetPlan(ctx context.Context, id uuid.UUID, plan *adminv1.PlanSummary, content string, confidence float64) error {
	raw, err := encode(plan)
	if err != nil {
		return wrap("encoding the plan of optimization", id.String(), err)
	}
	return wrap("writing the plan of optimization", id.String(), s.q.OptimizationPlanSet(ctx, s.db, centraldb.OptimizationPlanSetParams{
		Plan: raw, PlanContent: content, ConfidenceScore: confidence, OptimizationID: id,
	}))
}

// SetApproval says whether a plan runs (not_needed, approved), awaits approval, or is only
// recommended. message says what for; expires is how long it awaits.
func (s *Store) SetApproval(ctx context.Context, id uuid.UUID, approval, message string, expires time.Duration) error {
	_, err := s.q.OptimizationApprovalSet(ctx, s.db, centraldb.OptimizationApprovalSetParams{
		Approval: approval, ExpiresSeconds: expires.Seconds(), Message: message, OptimizationID: id,
	})
	if err == nil && (approval == "awaiting" || approval == "recommended") {
		err = s.q.SwapForget(ctx, s.db, id)
	}
	return wrap("writing the approval of optimization", id.String(), err)
}

// Approve lets a plan run and returns the generation of its job. It is refused while
// another optimization of the cluster runs.
func (s *Store) Approve(ctx context.Context, id, cluster uuid.UUID, v Verdict) (int, error) {
	generation, err := s.q.OptimizationApprove(ctx, s.db, centraldb.OptimizationApproveParams{
		DecidedBy: v.Actor, DecisionReason: v.Reason, OptimizationID: id,
	})
	return int(generation), running(cluster, wrap("approving optimization", id.String(), err))
}

// Snooze puts a plan off.
func (s *Store) Snooze(ctx context.Context, id uuid.UUID, until time.Time, v Verdict) error {
	n, err := s.q.OptimizationSnooze(ctx, s.db, centraldb.OptimizationSnoozeParams{
		Until: until, DecidedBy: v.Actor, DecisionReason: v.Reason, OptimizationID: id,
	})
	if err == nil && n == 0 {
		return fault.New(faultv1.Reason_REASON_CONFLICT, "the optimization does not await approval")
	}
	return wrap("snoozing optimization", id.String(), err)
}

// DropPlans ends plans that nobody has let run: rejected, expired or superseded. An empty
// verdict is nobody's. It returns their clusters.
func (s *Store) DropPlans(ctx context.Context, ids []uuid.UUID, approval, message string, v Verdict) (map[uuid.UUID]uuid.UUID, error) {
	rows, err := s.q.OptimizationDrop(ctx, s.db, centraldb.OptimizationDropParams{
		Approval: approval, DecidedBy: v.Actor, DecisionReason: v.Reason, ErrorMessage: text(message), OptimizationIds: ids,
	})
	if err != nil {
		return nil, wrap("dropping", "plans", err)
	}
	clusters := make(map[uuid.UUID]uuid.UUID, len(rows))
	for _, row := range rows {
		clusters[row.OptimizationID] = row.ClusterID
		if err := s.q.OptimizationStepsSkip(ctx, s.db, row.OptimizationID); err != nil {
			return nil, wrap("skipping steps of optimization", row.OptimizationID.String(), err)
		}
	}
	return clusters, nil
}

// Undecided is a plan that nobody has let run.
type Undecided struct {
	ID           uuid.UUID
	Approval     string
	Content      string
	CreatedAt    time.Time
	SnoozedUntil *time.Time
}

// UndecidedPlans of an engine in a cluster, but not except, locked until the transaction ends.
func (s *Store) UndecidedPlans(ctx context.Context, cluster uuid.UUID, engine string, except uuid.UUID) ([]Undecided, error) {
	rows, err := s.q.OptimizationUndecided(ctx, s.db, centraldb.OptimizationUndecidedParams{
		ClusterID: cluster, OptimizationType: engine, ExceptID: except,
	})
	out := make([]Undecided, 0, len(rows))
	for _, row := range rows {
		out = append(out, Undecided{
			ID: row.OptimizationID, Approval: row.Approval, Content: row.PlanContent, CreatedAt: row.CreatedAt, SnoozedUntil: row.SnoozedUntil,
		})
	}
	return out, wrap("reading plans of cluster", cluster.String(), err)
}

// HideOptimization leaves it out of lists, as dry runs are.
func (s *Store) HideOptimization(ctx context.Context, id uuid.UUID) error {
	return wrap("hiding optimization", id.String(), s.q.OptimizationHide(ctx, s.db, id))
}

// EndSnoozes brings snoozed plans back whose time has come, by id with their clusters.
func (s *Store) EndSnoozes(ctx context.Context, expires time.Duration) (map[uuid.UUID]uuid.UUID, error) {
	rows, err := s.q.OptimizationSnoozeOver(ctx, s.db, expires.Seconds())
	back := make(map[uuid.UUID]uuid.UUID, len(rows))
	for _, row := range rows {
		back[row.OptimizationID] = row.ClusterID
	}
	return back, wrap("bringing back", "snoozed plans", err)
}

// ExpiredPlans are those that nobody decided upon in time, locked until the transaction ends.
func (s *Store) ExpiredPlans(ctx context.Context) ([]uuid.UUID, error) {
	ids, err := s.q.OptimizationExpired(ctx, s.db)
	return ids, wrap("looking for", "expired plans", err)
}

// AskCancel asks a running optimization to end and returns the generation of the job that sees to it.
func (s *Store) AskCancel(ctx context.Context, id uuid.UUID, v Verdict) (int, error) {
	generation, err := s.q.OptimizationCancelAsk(ctx, s.db, centraldb.OptimizationCancelAskParams{
		DecidedBy: v.Actor, DecisionReason: v.Reason, OptimizationID: id,
	})
	return int(generation), wrap("cancelling optimization", id.String(), err)
}

// ClusterUsage is what decides how much may be disrupted in a cluster now.
type ClusterUsage struct {
	Customer                  uuid.UUID
	CustomerName, ClusterName string
	// SeenAt is when its agent was last heard of; zero: never.
	SeenAt time.Time
	// Nodes there are; Draining are those that are being drained.
	Nodes, Draining int
	// Began has when the drains of the last hour began, the oldest first.
	Began []time.Time
}

// Usage of a cluster.
func (s *Store) Usage(ctx context.Context, cluster uuid.UUID) (*ClusterUsage, error) {
	row, err := s.q.OptimizationUsage(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("cluster", cluster.String(), err)
	}
	usage := &ClusterUsage{
		Customer: row.CustomerID, CustomerName: row.CompanyName, ClusterName: row.ClusterName, Nodes: int(row.Nodes), Draining: int(row.Draining),
		Began: row.Began,
	}
	if row.LastSeenAt != nil {
		usage.SeenAt = *row.LastSeenAt
	}
	return usage, nil
}

// TakePlanRound tells whether it is the caller who plans for a purpose (policy, estimate)
// with an engine now; false: the last time is less than every ago.
func (s *Store) TakePlanRound(ctx context.Context, cluster uuid.UUID, purpose, engine string, every time.Duration) (bool, error) {
	n, err := s.q.PlanRoundTake(ctx, s.db, centraldb.PlanRoundTakeParams{
		ClusterID: cluster, Purpose: purpose, Engine: engine, EverySeconds: every.Seconds(),
	})
	return n > 0, wrap("planning for cluster", cluster.String(), err)
}

// DuePlanRounds are clusters that can be planned for, where fewer than so many engines did
// for the purpose within every; those that wait longest first.
func (s *Store) DuePlanRounds(ctx context.Context, purpose string, engines int, every time.Duration, limit int) ([]uuid.UUID, error) {
	ids, err := s.q.PlanRoundsDue(ctx, s.db, centraldb.PlanRoundsDueParams{
		Purpose: purpose, EverySeconds: every.Seconds(), Engines: int32(engines), MaxRows: int32(limit),
	})
	return ids, wrap("looking for", "clusters to plan for", err)
}

// PlanCandidates are clusters for which plans may be kept, by id, behind after.
func (s *Store) PlanCandidates(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	ids, err := s.q.PlanCandidates(ctx, s.db, centraldb.PlanCandidatesParams{After: after, MaxRows: int32(limit)})
	return ids, wrap("looking for", "clusters to plan for", err)
}

// PlanRound is an engine that plans for a cluster.
type PlanRound struct {
	Cluster uuid.UUID
	Engine  string
}

// PlanRounds tells when plans for a purpose were last made for clusters.
func (s *Store) PlanRounds(ctx context.Context, purpose string, clusters []uuid.UUID) (map[PlanRound]time.Time, error) {
	rows, err := s.q.PlanRounds(ctx, s.db, centraldb.PlanRoundsParams{Purpose: purpose, ClusterIds: clusters})
	began := make(map[PlanRound]time.Time, len(rows))
	for _, row := range rows {
		began[PlanRound{row.ClusterID, row.Engine}] = row.BeganAt
	}
	return began, wrap("reading", "rounds of planning", err)
}

// BackdatePlanRound makes a round look as if it had begun so long ago, so that it is due sooner.
func (s *Store) BackdatePlanRound(ctx context.Context, round PlanRound, purpose string, ago time.Duration) error {
	return wrap("planning for cluster", round.Cluster.String(), s.q.PlanRoundSoonAgain(ctx, s.db, centraldb.PlanRoundSoonAgainParams{
		AgoSeconds: ago.Seconds(), ClusterID: round.Cluster, Purpose: purpose, Engine: round.Engine,
	}))
}

// PruneDryRuns deletes what CloudOptim planned by itself and did not do, when it is older
// than keep, but for the newest of each kind.
func (s *Store) PruneDryRuns(ctx context.Context, keep time.Duration) error {
	_, err := s.q.OptimizationPruneDryRuns(ctx, s.db, keep.Seconds())
	return wrap("deleting", "old dry runs", err)
}
