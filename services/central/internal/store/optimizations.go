package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Story is an optimization as the job that carries it on sees it.
type Story struct {
	ID, Cluster uuid.UUID
	Type        string
	Status      string
	// Step is the position of the step in hand, from 1.
	Step        int
	Generation  int
	Steps       []StoryStep
	Options     *adminv1.OptimizationOptions
	Request     *mlv1.DecisionRequest
	RequestedBy string
	Traceparent string
	CreatedAt   time.Time
	CostBefore  float64
}

// StoryStep is one step of a story.
type StoryStep struct {
	Name      string
	Status    string
	StartedAt *time.Time
	Detail    map[string]any
	Error     string
}

// Ended tells whether the story is over.
func (s *Story) Ended() bool {
	return s.Status == "completed" || s.Status == "failed" || s.Status == "cancelled"
}

// AddOptimization writes an optimization with its steps to come.
func (s *Store) AddOptimization(ctx context.Context, cluster uuid.UUID, req *adminv1.TriggerOptimizationRequest, actor, traceparent string, steps []string) (*adminv1.Optimization, error) {
	options, err := encode(req.GetOptions())
	if err != nil {
		return nil, wrap("encoding options for cluster", cluster.String(), err)
	}
	if err := s.Connected(ctx, cluster); err != nil {
		return nil, err
	}
	row, err := s.q.OptimizationCreate(ctx, s.db, centraldb.OptimizationCreateParams{
		ClusterID: cluster, OptimizationType: req.GetOptimizationType(), Options: options, RequestedBy: actor, Traceparent: traceparent,
	})
	if err != nil {
		wrapped := wrap("optimization of cluster", cluster.String(), err)
		if fault.ReasonOf(wrapped) == faultv1.Reason_REASON_CONFLICT {
			return nil, fault.New(faultv1.Reason_REASON_OPTIMIZATION_RUNNING, "another optimization of this cluster is still running").
				With("cluster_id", cluster.String()).Because(err)
		}
		return nil, wrapped
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
	return s.optimizationMessage(ctx, row, true)
}

// Optimizations lists the newest first, without steps.
func (s *Store) Optimizations(ctx context.Context, cluster, customer uuid.NullUUID, limit int) ([]*adminv1.Optimization, error) {
	rows, err := s.q.OptimizationList(ctx, s.db, centraldb.OptimizationListParams{
		CustomerID: customer, ClusterID: cluster, MaxRows: int32(limit),
	})
	if err != nil {
		return nil, wrap("listing", "optimizations", err)
	}
	out := make([]*adminv1.Optimization, 0, len(rows))
	for _, row := range rows {
		msg, err := s.optimizationMessage(ctx, row, false)
		if err != nil {
			return nil, err
		}
		out = append(out, msg)
	}
	return out, nil
}

// Optimization returns one with its steps and launches.
func (s *Store) Optimization(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*adminv1.Optimization, error) {
	row, err := s.q.OptimizationByID(ctx, s.db, centraldb.OptimizationByIDParams{OptimizationID: id, CustomerID: customer})
	if err != nil {
		return nil, wrap("optimization", id.String(), err)
	}
	return s.optimizationMessage(ctx, row, true)
}

// Story reads an optimization for its job.
func (s *Store) Story(ctx context.Context, id uuid.UUID) (*Story, error) {
	row, err := s.q.OptimizationByID(ctx, s.db, centraldb.OptimizationByIDParams{OptimizationID: id})
	if err != nil {
		return nil, wrap("optimization", id.String(), err)
	}
	story := &Story{
		ID: id, Cluster: row.ClusterID, Type: row.OptimizationType, Status: row.Status, Step: int(row.CurrentStep),
		Generation: int(row.Generation), Options: &adminv1.OptimizationOptions{}, Request: &mlv1.DecisionRequest{},
		RequestedBy: row.RequestedBy, Traceparent: row.Traceparent, CreatedAt: row.CreatedAt, CostBefore: value(row.CostBeforePerHour),
	}
	if err := errors.Join(decode(row.Options, story.Options), decode(row.RequestData, story.Request)); err != nil {
		return nil, wrap("reading optimization", id.String(), err)
	}
	steps, err := s.q.OptimizationSteps(ctx, s.db, id)
	if err != nil {
		return nil, wrap("reading steps of optimization", id.String(), err)
	}
	for _, step := range steps {
		one := StoryStep{Name: step.Name, Status: step.Status, StartedAt: step.StartedAt, Error: step.Error}
		if err := json.Unmarshal(step.Detail, &one.Detail); err != nil {
			return nil, wrap("reading steps of optimization", id.String(), err)
		}
		story.Steps = append(story.Steps, one)
	}
	return story, nil
}

// BeginStep notes the start of the step in hand.
func (s *Store) BeginStep(ctx context.Context, story *Story) error {
	return wrap("beginning a step of optimization", story.ID.String(), s.q.OptimizationStepBegin(ctx, s.db,
		centraldb.OptimizationStepBeginParams{OptimizationID: story.ID, Position: int32(story.Step)}))
}

// NoteStep adds facts and the last trouble to the step in hand.
func (s *Store) NoteStep(ctx context.Context, story *Story, detail map[string]any, trouble string) error {
	raw, err := encodeDetail(detail)
	if err != nil {
		return wrap("encoding a step of optimization", story.ID.String(), err)
	}
	return wrap("noting a step of optimization", story.ID.String(), s.q.OptimizationStepNote(ctx, s.db,
		centraldb.OptimizationStepNoteParams{Detail: raw, Error: trouble, OptimizationID: story.ID, Position: int32(story.Step)}))
}

// EndStep ends the step in hand and moves the story to next; false: another
// job has moved it meanwhile, and nothing was changed.
func (s *Store) EndStep(ctx context.Context, story *Story, status string, detail map[string]any, trouble string, next int) (bool, error) {
	raw, err := encodeDetail(detail)
	if err != nil {
		return false, wrap("encoding a step of optimization", story.ID.String(), err)
	}
	n, err := s.q.OptimizationAdvance(ctx, s.db, centraldb.OptimizationAdvanceParams{
		NextStep: int32(next), OptimizationID: story.ID, CurrentStep: int32(story.Step), Generation: int32(story.Generation),
	})
	if err != nil || n == 0 {
		return false, wrap("advancing optimization", story.ID.String(), err)
	}
	err = s.q.OptimizationStepEnd(ctx, s.db, centraldb.OptimizationStepEndParams{
		Status: status, Detail: raw, Error: trouble, OptimizationID: story.ID, Position: int32(story.Step),
	})
	return err == nil, wrap("ending a step of optimization", story.ID.String(), err)
}

// WakeStory says that the story will be looked at again within d; false: it is not this generation's any more.
func (s *Store) WakeStory(ctx context.Context, story *Story, d time.Duration) (bool, error) {
	n, err := s.q.OptimizationWake(ctx, s.db, centraldb.OptimizationWakeParams{
		Seconds: d.Seconds(), OptimizationID: story.ID, Generation: int32(story.Generation),
	})
	return n > 0, wrap("waking optimization", story.ID.String(), err)
}

// Orphan is a story that nobody carries on, with its new generation.
type Orphan struct {
	ID         uuid.UUID
	Generation int
}

// Orphans takes over stories that should have been looked at over late ago.
func (s *Store) Orphans(ctx context.Context, late time.Duration) ([]Orphan, error) {
	rows, err := s.q.OptimizationOrphans(ctx, s.db, late.Seconds())
	out := make([]Orphan, 0, len(rows))
	for _, row := range rows {
		out = append(out, Orphan{ID: row.OptimizationID, Generation: int(row.Generation)})
	}
	return out, wrap("looking for", "orphaned optimizations", err)
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

func (s *Store) optimizationMessage(ctx context.Context, row centraldb.OptimizationHistory, whole bool) (*adminv1.Optimization, error) {
	id := row.OptimizationID.String()
	msg := &adminv1.Optimization{
		OptimizationId: id, ClusterId: row.ClusterID.String(), OptimizationType: row.OptimizationType, Status: row.Status,
		EstimatedSavings: value(row.EstimatedSavings), ActualSavings: value(row.ActualSavings), CreatedAt: timestamppb.New(row.CreatedAt),
		ExecutedAt: stamp(row.ExecutedAt), CompletedAt: stamp(row.CompletedAt), ErrorMessage: value(row.ErrorMessage),
		CostBeforePerHour: value(row.CostBeforePerHour), CostAfterPerHour: value(row.CostAfterPerHour),
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
	msg.Launched, err = s.launchedMessages(ctx, row.OptimizationID)
	return msg, err
}

func encodeDetail(detail map[string]any) ([]byte, error) {
	if detail == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(detail)
}
