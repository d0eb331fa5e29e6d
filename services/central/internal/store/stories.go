package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
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
	// Mode of the policy that it began under.
	Mode string
	// Approval as admin.v1.Optimization has it.
	Approval string
	// DryRun: it only makes the plan.
	DryRun bool
	// Cancelled: somebody wants it to end.
	Cancelled bool
	// DecidedBy approved, snoozed or cancelled it, for DecisionReason.
	DecidedBy, DecisionReason string
	// Waiting is what it waits for; nil: nothing.
	Waiting *adminv1.Waiting
	// Promise of the plan that was approved, while it is made anew; nil: none.
	Promise *Promise
}

// Promise is what an approved plan may not fall behind when it is made anew.
type Promise struct {
	// Savings per month, USD.
	Savings float64
	// Drains is the number of nodes.
	Drains int
}

// StoryStep is one step of a story.
type StoryStep struct {
	Name       string
	Status     string
	StartedAt  *time.Time
	FinishedAt *time.Time
	// Held is how long it stood still for the guard until now.
	Held   time.Duration
	Detail map[string]any
	Error  string
}

// Ended tells whether the story is over.
func (s *Story) Ended() bool {
	return s.Status == "completed" || s.Status == "failed" || s.Status == "cancelled"
}

// Undecided tells whether it has a plan that nobody has let run: no job carries it on.
func (s *Story) Undecided() bool {
	return s.Approval == "awaiting" || s.Approval == "snoozed" || s.Approval == "recommended"
}

// Age of the step in hand, without what it stood still for the guard.
func (s *Story) Age() time.Duration {
	step := s.Steps[s.Step-1]
	if step.StartedAt == nil {
		return 0
	}
	age := time.Since(*step.StartedAt) - step.Held
	if s.Waiting != nil {
		since := s.Waiting.GetSince().AsTime()
		if since.Before(*step.StartedAt) {
			since = *step.StartedAt
		}
		age -= time.Since(since)
	}
	return max(age, 0)
}

// Story reads an optimization for its job.
func (s *Store) Story(ctx context.Context, id uuid.UUID) (*Story, error) {
	found, err := s.q.OptimizationByID(ctx, s.db, centraldb.OptimizationByIDParams{OptimizationID: id})
	if err != nil {
		return nil, wrap("optimization", id.String(), err)
	}
	row := found.Optimization
	story := &Story{
		ID: id, Cluster: row.ClusterID, Type: row.OptimizationType, Status: row.Status, Step: int(row.CurrentStep),
		Generation: int(row.Generation), Options: &adminv1.OptimizationOptions{}, Request: &mlv1.DecisionRequest{},
		RequestedBy: row.RequestedBy, Traceparent: row.Traceparent, CreatedAt: row.CreatedAt, CostBefore: value(row.CostBeforePerHour),
		Mode: row.Mode, Approval: row.Approval, DryRun: row.DryRun, Cancelled: row.CancelledAt != nil, DecidedBy: row.DecidedBy,
		DecisionReason: row.DecisionReason, Waiting: waitingMessage(row),
	}
	if row.PromisedSavings != nil && row.PromisedDrains != nil {
		story.Promise = &Promise{Savings: *row.PromisedSavings, Drains: int(*row.PromisedDrains)}
	}
	request, err := s.q.OptimizationRequest(ctx, s.db, id)
	if err != nil {
		return nil, wrap("reading the request of optimization", id.String(), err)
	}
	if err := errors.Join(decode(row.Options, story.Options), decode(request, story.Request)); err != nil {
		return nil, wrap("reading optimization", id.String(), err)
	}
	steps, err := s.q.OptimizationSteps(ctx, s.db, id)
	if err != nil {
		return nil, wrap("reading steps of optimization", id.String(), err)
	}
	for _, step := range steps {
		one := StoryStep{
			Name: step.Name, Status: step.Status, StartedAt: step.StartedAt, FinishedAt: step.FinishedAt, Error: step.Error,
			Held: time.Duration(step.HeldSeconds * float64(time.Second)),
		}
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

// Wait notes what the story waits for; false: it was noted already.
func (s *Store) Wait(ctx context.Context, id uuid.UUID, w *adminv1.Waiting) (bool, error) {
	var until *time.Time
	if w.GetUntil() != nil {
		at := w.GetUntil().AsTime()
		until = &at
	}
	n, err := s.q.OptimizationWait(ctx, s.db, centraldb.OptimizationWaitParams{Code: w.GetCode(), Message: w.GetMessage(), Until: until, OptimizationID: id})
	return n > 0, wrap("noting what is waited for by optimization", id.String(), err)
}

// GoOn notes that the story waits for nothing any more.
func (s *Store) GoOn(ctx context.Context, id uuid.UUID) error {
	return wrap("noting the end of a wait of optimization", id.String(), s.q.OptimizationGoOn(ctx, s.db, id))
}

// Begin notes that the story changes something from now on; false: it is no longer its
// job's to do so.
func (s *Store) Begin(ctx context.Context, story *Story) (bool, error) {
	n, err := s.q.OptimizationBegin(ctx, s.db, centraldb.OptimizationBeginParams{OptimizationID: story.ID, Generation: int32(story.Generation)})
	if err == nil && n > 0 {
		err = s.q.SwapFromOptimization(ctx, s.db, story.ID)
	}
	return n > 0, wrap("beginning optimization", story.ID.String(), err)
}

// Remake sends a story that has changed nothing yet back to its first step, because the
// cluster has outgrown its plan.
func (s *Store) Remake(ctx context.Context, story *Story, why string) error {
	_, err := s.q.OptimizationRemake(ctx, s.db, centraldb.OptimizationRemakeParams{OptimizationID: story.ID, Generation: int32(story.Generation), Why: why})
	return wrap("making anew the plan of optimization", story.ID.String(), err)
}

func encodeDetail(detail map[string]any) ([]byte, error) {
	if detail == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(detail)
}
