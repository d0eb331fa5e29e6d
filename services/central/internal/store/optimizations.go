package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// NewOptimization is one to be made.
type NewOptimization struct {
	Request            *adminv1.TriggerOptimizationRequest
	Cluster            uuid.UUID
	Actor, Traceparent string
	// Mode of the policy that it begins under.
	Mode string
	// DryRun: it only makes the plan.
	DryRun bool
	// Steps to come, by name.
	Steps []string
}

// AddOptimization writes an optimization with its steps to come.
func (s *Store) AddOptimization(ctx context.Context, n NewOptimization) (*adminv1.Optimization, error) {
	cluster, steps := n.Cluster, n.Steps
	options, err := encode(n.Request.GetOptions())
	if err != nil {
		return nil, wrap("encoding options for cluster", cluster.String(), err)
	}
	if err := s.Connected(ctx, cluster); err != nil {
		return nil, err
	}
	params := centraldb.OptimizationCreateParams{
		ClusterID: cluster, OptimizationType: n.Request.GetOptimizationType(), Options: options, RequestedBy: n.Actor, Traceparent: n.Traceparent,
		Approval: "planning", Mode: n.Mode, DryRun: n.DryRun, Reason: n.Request.GetReason(),
	}
	if n.DryRun {
		params.Approval = "not_needed"
	}
	row, err := s.q.OptimizationCreate(ctx, s.db, params)
	if err != nil {
		return nil, running(cluster, wrap("optimization of cluster", cluster.String(), err))
	}
	positions := make([]int32, len(steps))
	for i := range steps {
		positions[i] = int32(i) + 1
	}
	err = s.q.OptimizationStepsCreate(ctx, s.db, centraldb.OptimizationStepsCreateParams{
		OptimizationID: row.OptimizationID, Positions: positions, Names: steps,
	})
	if err != nil {
		return nil, wrap("writing steps of optimization", row.OptimizationID.String(), err)
	}
	return s.Optimization(ctx, row.OptimizationID, uuid.NullUUID{})
}

// running says it plainly when another optimization holds the cluster.
func running(cluster uuid.UUID, err error) error {
	if fault.ReasonOf(err) != faultv1.Reason_REASON_CONFLICT {
		return err
	}
	return fault.New(faultv1.Reason_REASON_OPTIMIZATION_RUNNING, "another optimization of this cluster is still running").
		With("cluster_id", cluster.String()).Because(err)
}

// OptimizationFilter says which optimizations are listed; what is empty is any.
type OptimizationFilter struct {
	Customer, Cluster      uuid.NullUUID
	Status, Type, Approval string
	// DryRuns, too.
	DryRuns bool
	// Order: created_at or estimated_savings, each also with " desc"; empty: created_at desc.
	Order string
}

// By is the order that the filter asks for.
func (f OptimizationFilter) By() string {
	if f.Order == "" {
		return "created_at desc"
	}
	return f.Order
}

// Optimizations lists those that a filter lets through, without steps.
func (s *Store) Optimizations(ctx context.Context, f OptimizationFilter, page Page) ([]*adminv1.Optimization, string, error) {
	params := centraldb.OptimizationListParams{
		CustomerID: f.Customer, ClusterID: f.Cluster, Status: f.Status, OptimizationType: f.Type, Approval: f.Approval, IncludeDryRuns: f.DryRuns,
		By: f.By(), MaxRows: int32(page.Limit) + 1,
	}
	bySavings := strings.HasPrefix(f.By(), "estimated_savings")
	if page.After != nil {
		var err, unknown error
		params.HasAfter = true
		params.AfterID, unknown = uuid.Parse(page.After.ID)
		if bySavings {
			params.AfterSavings, err = strconv.ParseFloat(page.After.Key, 64)
		} else {
			params.AfterAt, err = time.Parse(time.RFC3339Nano, page.After.Key)
		}
		if errors.Join(err, unknown) != nil {
			return nil, "", badToken()
		}
	}
	rows, err := s.q.OptimizationList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "optimizations", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.OptimizationListRow) Cursor {
		o := row.Optimization
		if bySavings {
			return Cursor{Order: f.By(), Key: strconv.FormatFloat(value(o.EstimatedSavings), 'f', 2, 64), ID: o.OptimizationID.String()}
		}
		return dated(f.By(), o.CreatedAt, o.OptimizationID.String())
	})
	if err != nil {
		return nil, "", wrap("listing", "optimizations", err)
	}
	out := make([]*adminv1.Optimization, 0, len(rows))
	for _, row := range rows {
		msg, err := s.optimizationMessage(ctx, optimizationRow(row), false)
		if err != nil {
			return nil, "", err
		}
		out = append(out, msg)
	}
	return out, next, nil
}

// LastDryRuns are the newest dry runs of each kind in a cluster, and the newest of each
// that ended well.
func (s *Store) LastDryRuns(ctx context.Context, cluster uuid.UUID) ([]*adminv1.Optimization, error) {
	rows, err := s.q.OptimizationLastDryRuns(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("reading dry runs of cluster", cluster.String(), err)
	}
	out := make([]*adminv1.Optimization, 0, len(rows))
	for _, row := range rows {
		msg, err := s.optimizationMessage(ctx, optimizationRow(row), false)
		if err != nil {
			return nil, err
		}
		out = append(out, msg)
	}
	return out, nil
}

// optimizationRow is an optimization with the name and the owner of its cluster.
type optimizationRow = centraldb.OptimizationByIDRow

// Optimization returns one with its steps and launches.
func (s *Store) Optimization(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*adminv1.Optimization, error) {
	row, err := s.q.OptimizationByID(ctx, s.db, centraldb.OptimizationByIDParams{OptimizationID: id, CustomerID: customer})
	if err != nil {
		return nil, wrap("optimization", id.String(), err)
	}
	return s.optimizationMessage(ctx, row, true)
}

// OptimizationOwned refuses an optimization that the customer does not have; any is found when customer is null.
func (s *Store) OptimizationOwned(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) error {
	owned, err := s.q.OptimizationOwned(ctx, s.db, centraldb.OptimizationOwnedParams{OptimizationID: id, CustomerID: customer})
	if err == nil && !owned {
		err = fault.NotFound("optimization", id.String())
	}
	return wrap("optimization", id.String(), err)
}

// SetRequest stores what ml will be asked, and the cost then.
func (s *Store) SetRequest(ctx context.Context, id uuid.UUID, req *mlv1.DecisionRequest, costBefore float64) error {
	raw, err := encode(req)
	if err != nil {
		return wrap("encoding the request of optimization", id.String(), err)
	}
	return wrap("writing the request of optimization", id.String(), s.q.OptimizationRequested(ctx, s.db,
		centraldb.OptimizationRequestedParams{RequestData: raw, CostBefore: &costBefore, OptimizationID: id}))
}

// SetDecision stores ml's answer.
func (s *Store) SetDecision(ctx context.Context, id uuid.UUID, decision *mlv1.DecisionResponse) error {
	recommendations, err := encodeList(decision.GetRecommendations())
	if err != nil {
		return wrap("encoding the decision of optimization", id.String(), err)
	}
	plan, err := encodeList(decision.GetExecutionPlan())
	if err != nil {
		return wrap("encoding the decision of optimization", id.String(), err)
	}
	whole, err := encode(decision)
	if err != nil {
		return wrap("encoding the decision of optimization", id.String(), err)
	}
	return wrap("writing the decision of optimization", id.String(), errors.Join(
		s.q.OptimizationDecided(ctx, s.db, centraldb.OptimizationDecidedParams{
			Recommendations: recommendations, ExecutionPlan: plan, EstimatedSavings: &decision.EstimatedSavings, OptimizationID: id,
		}),
		s.q.OptimizationDecisionSet(ctx, s.db, centraldb.OptimizationDecisionSetParams{OptimizationID: id, Decision: whole}),
	))
}

// Decision is ml's whole answer for an optimization; not found before it has decided.
func (s *Store) Decision(ctx context.Context, id uuid.UUID) (*mlv1.DecisionResponse, error) {
	raw, err := s.q.OptimizationDecision(ctx, s.db, id)
	if err != nil {
		return nil, wrap("decision of optimization", id.String(), err)
	}
	decision := &mlv1.DecisionResponse{}
	return decision, wrap("reading the decision of optimization", id.String(), decode(raw, decision))
}

// DecidedState is the cluster as ml was asked about it; not found before it was.
func (s *Store) DecidedState(ctx context.Context, id uuid.UUID) (*fleetv1.ClusterState, error) {
	raw, err := s.q.OptimizationRequest(ctx, s.db, id)
	if err == nil && len(raw) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return nil, wrap("request of optimization", id.String(), err)
	}
	request := &mlv1.DecisionRequest{}
	err = wrap("reading the request of optimization", id.String(), decode(raw, request))
	return request.GetCurrentState(), err
}

// FinishOptimization ends it, once; false: it had ended.
func (s *Store) FinishOptimization(ctx context.Context, id uuid.UUID, status, message string, actualSavings, costAfter float64) (bool, error) {
	n, err := s.q.OptimizationFinish(ctx, s.db, centraldb.OptimizationFinishParams{
		Status: status, ErrorMessage: message, ActualSavings: &actualSavings, CostAfter: &costAfter, OptimizationID: id,
	})
	if err != nil {
		return false, wrap("finishing optimization", id.String(), err)
	}
	return n > 0, wrap("skipping steps of optimization", id.String(), s.q.OptimizationStepsSkip(ctx, s.db, id))
}

func (s *Store) optimizationMessage(ctx context.Context, joined optimizationRow, whole bool) (*adminv1.Optimization, error) {
	row := joined.Optimization
	id := row.OptimizationID.String()
	msg := &adminv1.Optimization{
		OptimizationId: id, ClusterId: row.ClusterID.String(), OptimizationType: row.OptimizationType, Status: row.Status,
		EstimatedSavings: value(row.EstimatedSavings), ActualSavings: value(row.ActualSavings), CreatedAt: timestamppb.New(row.CreatedAt),
		ExecutedAt: stamp(row.ExecutedAt), CompletedAt: stamp(row.CompletedAt), ErrorMessage: value(row.ErrorMessage),
		CostBeforePerHour: value(row.CostBeforePerHour), CostAfterPerHour: value(row.CostAfterPerHour),
		Approval: row.Approval, Mode: row.Mode, DryRun: row.DryRun, RequestedBy: row.RequestedBy, DecidedBy: row.DecidedBy,
		DecidedAt: stamp(row.DecidedAt), DecisionReason: row.DecisionReason, SnoozedUntil: stamp(row.SnoozedUntil), WaitingFor: waitingMessage(row),
		ClusterName: joined.ClusterName, ConfidenceScore: row.ConfidenceScore, Reason: row.Reason,
	}
	if row.PlanEtag.Valid {
		msg.Plan, msg.Etag = &adminv1.PlanSummary{}, row.PlanEtag.UUID.String()
		if err := decode(row.Plan, msg.Plan); err != nil {
			return nil, wrap("reading optimization", id, err)
		}
	}
	var err error
	if msg.Recommendations, err = decodeList[mlv1.Recommendation](row.Recommendations); err != nil {
		return nil, wrap("reading optimization", id, err)
	}
	if msg.ExecutionPlan, err = decodeList[mlv1.ExecutionStep](row.ExecutionPlan); err != nil {
		return nil, wrap("reading optimization", id, err)
	}
	if !whole {
		return msg, nil
	}
	steps, err := s.q.OptimizationSteps(ctx, s.db, row.OptimizationID)
	if err != nil {
		return nil, wrap("reading steps of optimization", id, err)
	}
	for _, step := range steps {
		detail := &structpb.Struct{}
		if err := decode(step.Detail, detail); err != nil {
			return nil, wrap("reading steps of optimization", id, err)
		}
		msg.Steps = append(msg.Steps, &adminv1.OptimizationStep{
			Position: step.Position, Name: step.Name, Status: step.Status, StartedAt: stamp(step.StartedAt),
			FinishedAt: stamp(step.FinishedAt), Detail: detail, Error: step.Error,
		})
	}
	if msg.Nodes, err = s.plannedMessages(ctx, row.OptimizationID); err != nil {
		return nil, err
	}
	msg.Launched, err = s.launchedMessages(ctx, row.OptimizationID)
	return msg, err
}

func waitingMessage(row centraldb.Optimization) *adminv1.Waiting {
	if row.WaitingCode == "" {
		return nil
	}
	return &adminv1.Waiting{Code: row.WaitingCode, Message: row.WaitingMessage, Since: stamp(row.WaitingSince), Until: stamp(row.WaitingUntil)}
}
