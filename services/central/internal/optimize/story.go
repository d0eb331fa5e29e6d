package optimize

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// A replica that works on a story says so this often; one that has been
	// silent for twice as long has died, and another takes the story over.
	aliveEvery = 2 * time.Second
	aliveFor   = 3 * aliveEvery
	// Longest pause after a failure that may pass.
	maxBackoff = 15 * time.Second
	// Longest run of a step; the queue ends a job after a minute.
	runWithin = 50 * time.Second
)

// storyJob carries a story on, as long as its generation is the story's.
type storyJob struct {
	OptimizationID uuid.UUID `json:"optimization_id"`
	Generation     int       `json:"generation"`
}

// Kind names the job.
func (storyJob) Kind() string { return "optimization_story" }

type worker struct {
	river.WorkerDefaults[storyJob]
	service *Service
}

// Work does what can be done now, and comes back later for the rest.
func (w *worker) Work(ctx context.Context, job *river.Job[storyJob]) error {
	again := w.service.carryOn(ctx, job.Args)
	if again > 0 {
		return river.JobSnooze(again)
	}
	return nil
}

// Run takes over stories whose replica died, brings snoozed plans back and begins what
// nobody asked for, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick, plans := time.NewTicker(aliveEvery), time.NewTicker(planLookEvery)
	defer tick.Stop()
	defer plans.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.try(ctx, "taking over orphaned optimizations", s.adopt)
			s.try(ctx, "looking after undecided plans", s.remember)
			s.try(ctx, "making estimates", s.estimateUnasked)
		case <-plans.C:
			s.try(ctx, "planning unasked", s.planUnasked)
		}
	}
}

func (s *Service) try(ctx context.Context, doing string, do func(context.Context) error) {
	if err := do(ctx); err != nil && ctx.Err() == nil {
		s.Log.ErrorContext(ctx, doing, "error", err)
	}
}

func (s *Service) adopt(ctx context.Context) error {
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		orphans, err := tx.Orphans(ctx, aliveEvery)
		if err != nil {
			return err
		}
		for _, orphan := range orphans {
			s.Log.InfoContext(ctx, "taking over an optimization", "optimization_id", orphan.ID, "generation", orphan.Generation)
			if err := s.queue.Enqueue(ctx, tx, storyJob{OptimizationID: orphan.ID, Generation: orphan.Generation}); err != nil {
				return err
			}
		}
		return nil
	})
}

// carryOn runs steps until one has to wait, and returns how long; 0: no more.
func (s *Service) carryOn(ctx context.Context, job storyJob) time.Duration {
	var again time.Duration
	locked, err := s.Store.Locked(ctx, "optimization:"+job.OptimizationID.String(), func() error {
		var err error
		again, err = s.stepOn(ctx, job)
		return err
	})
	if err != nil {
		s.Log.WarnContext(ctx, "carrying on an optimization", "optimization_id", job.OptimizationID, "error", err)
		return aliveEvery
	}
	if !locked { // a job of an older generation is in its last lines
		return aliveEvery
	}
	return again
}

func (s *Service) stepOn(ctx context.Context, job storyJob) (time.Duration, error) {
	for {
		story, err := s.Store.Story(ctx, job.OptimizationID)
		if err != nil {
			return 0, err
		}
		if story.Ended() || story.Undecided() || story.Generation != job.Generation {
			return 0, nil
		}
		again, err := s.oneStep(ctx, story)
		if err != nil || again > 0 {
			return again, err
		}
	}
}

// oneStep runs the step in hand once. It returns how long to wait before it is
// run again, or 0 when the story has moved on.
func (s *Service) oneStep(ctx context.Context, story *store.Story) (time.Duration, error) {
	ctx, span := s.span(ctx, story)
	defer span.End()
	stop, err := s.alive(ctx, story)
	if err != nil {
		return 0, err
	}
	defer stop()
	if err := s.Store.BeginStep(ctx, story); err != nil {
		return 0, err
	}
	r, err := s.load(ctx, story)
	if err != nil {
		return 0, err
	}
	result, err := r.once(ctx)
	if err != nil {
		return 0, err
	}
	if result.wait > 0 {
		return result.wait, s.pause(ctx, r, result)
	}
	return 0, s.endOrFail(ctx, r, result)
}

// pause notes what the step waits for, and when it will be run again.
func (s *Service) pause(ctx context.Context, r *run, result outcome) error {
	story := r.story
	if err := s.noteHold(ctx, r, result.held); err != nil {
		return err
	}
	if err := s.Store.NoteStep(ctx, story, result.detail, result.trouble); err != nil {
		return err
	}
	_, err := s.Store.WakeStory(ctx, story, result.wait+aliveFor)
	return err
}

// endOrFail ends the step; when what it did cannot be written down for longer
// than its patience, as failed.
func (s *Service) endOrFail(ctx context.Context, r *run, result outcome) error {
	err := s.end(ctx, r, result)
	if err == nil || ctx.Err() != nil || result.failure != "" || !r.impatient() {
		return err
	}
	return s.end(ctx, r, failed("step %s could not be ended within %s: %s", r.step.name, r.step.patience, err))
}

// once runs the step. An error may pass, so it is something to wait for; what
// is waited for longer than the step's patience has failed.
func (r *run) once(ctx context.Context) (outcome, error) {
	result, err := r.bounded(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return outcome{}, ctx.Err()
		}
		r.Log.WarnContext(ctx, "a step has trouble", "optimization_id", r.story.ID, "step", r.step.name, "error", err)
		result = outcome{wait: backoff(r.age()), trouble: err.Error()}
	}
	if result.wait > 0 && result.held == nil && r.impatient() {
		result = failed("step %s did not end within %s: %s", r.step.name, r.step.patience, orElse(result.trouble, "still waiting"))
	}
	return result, nil
}

// bounded runs the step for less than a job may take: a call that is never
// answered must count as trouble, or the step's patience would never end.
func (r *run) bounded(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, runWithin)
	defer cancel()
	// What is rolled back or only counted already is seen through.
	if r.story.Cancelled && r.step.name != "rollback" && r.step.name != "verify" {
		return r.cancelled(ctx)
	}
	return r.step.run(r, ctx)
}

func (r *run) impatient() bool { return r.age() > r.step.patience }

// alive tells the other replicas that the story is in good hands, until stop.
func (s *Service) alive(ctx context.Context, story *store.Story) (stop func(), err error) {
	if _, err := s.Store.WakeStory(ctx, story, aliveFor); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if _, err := s.Store.WakeStory(ctx, story, aliveFor); err != nil && ctx.Err() == nil {
					s.Log.WarnContext(ctx, "keeping hold of an optimization", "optimization_id", story.ID, "error", err)
				}
			}
		}
	}()
	return cancel, nil
}

// move is how a step ends and where the story goes from there.
type move struct {
	status string
	next   int
	// over: the story ends with the step.
	over bool
}

func moveOf(r *run, result outcome) move {
	m := move{status: "completed", next: r.story.Step + 1}
	if result.failure != "" {
		m.status, m.next = "failed", r.step.onFailure
	}
	if result.rollBack {
		m.next = rollbackPosition
	}
	m.over = result.finished != nil || m.next == 0 || m.next > len(steps)
	return m
}

// end commits what the step did together with the move to the next one.
func (s *Service) end(ctx context.Context, r *run, result outcome) error {
	to := moveOf(r, result)
	var moved bool
	err := s.Store.InTx(ctx, func(tx *store.Store) (err error) {
		moved, err = s.endIn(ctx, tx, r, result, to)
		return err
	})
	if err != nil || !moved {
		return err
	}
	s.Log.InfoContext(ctx, "optimization step ended", "optimization_id", r.story.ID, "step", r.step.name, "status", to.status,
		"failure", result.failure, "seconds", r.age().Seconds())
	return nil
}

// endIn is end within its transaction; false: another job has moved the story meanwhile.
func (s *Service) endIn(ctx context.Context, tx *store.Store, r *run, result outcome, to move) (bool, error) {
	if r.story.Waiting != nil {
		if err := tx.GoOn(ctx, r.story.ID); err != nil {
			return false, err
		}
	}
	moved, err := tx.EndStep(ctx, r.story, to.status, result.detail, result.failure, max(to.next, 1))
	if err != nil || !moved {
		return false, err
	}
	err = r.audit(ctx, tx, "step", map[string]any{
		"step": r.step.name, "status": to.status, "failure": result.failure, "result": result.detail,
	})
	if err == nil && result.commit != nil {
		err = result.commit(ctx, tx)
	}
	if err == nil && to.over {
		err = s.finish(ctx, tx, r, result)
	}
	if err == nil {
		err = r.tell(ctx, tx, result, to)
	}
	return true, err
}

func (s *Service) finish(ctx context.Context, tx *store.Store, r *run, result outcome) error {
	end := r.ending(result)
	if _, err := tx.FinishOptimization(ctx, r.story.ID, end.status, end.message, end.savings, end.costAfter); err != nil {
		return err
	}
	if r.story.RequestedBy == byEstimate && end.status == "failed" {
		round := store.PlanRound{Cluster: r.story.Cluster, Engine: r.story.Type}
		if err := tx.BackdatePlanRound(ctx, round, byEstimate, estimateEvery-estimateAgain); err != nil {
			return err
		}
	}
	return tx.Audit(ctx, store.Act{
		Actor: actor, Action: "optimization." + end.status, Subject: r.story.ID.String(),
		Customer: uuid.NullUUID{UUID: r.account.CustomerID, Valid: true}, Cluster: uuid.NullUUID{UUID: r.story.Cluster, Valid: true},
		Detail: map[string]any{"message": end.message, "actual_savings": end.savings},
	})
}

// tell writes for the dashboards, with the step's end, what it was.
func (r *run) tell(ctx context.Context, tx *store.Store, result outcome, to move) error {
	var news []*adminv1.StreamResponse
	if r.story.RequestedBy != byEstimate {
		news = append(news, r.endOfStep(result, to))
		if to.over {
			news = append(news, r.endOfStory(result))
		}
	}
	return r.tellAll(ctx, tx, append(news, result.news...))
}

func (r *run) tellAll(ctx context.Context, tx *store.Store, news []*adminv1.StreamResponse) error {
	for _, one := range news {
		if err := tx.Tell(ctx, r.account.CustomerID, one); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) endOfStep(result outcome, to move) *adminv1.StreamResponse {
	news := &adminv1.StreamResponse{
		Type: "optimization_step", Status: to.status, Step: r.step.name, Message: result.failure,
		ClusterId: r.story.Cluster.String(), OptimizationId: r.story.ID.String(), Severity: "info",
	}
	if to.status == "failed" {
		news.Severity = "warning"
	}
	return news
}

func (r *run) endOfStory(result outcome) *adminv1.StreamResponse {
	end := r.ending(result)
	complete := &adminv1.StreamResponse{
		Type: "optimization_complete", Status: "success", Savings: &end.savings, Message: end.message,
		ClusterId: r.story.Cluster.String(), OptimizationId: r.story.ID.String(), Severity: "info",
	}
	if end.status != "completed" {
		complete.Status, complete.Severity = "failed", "warning"
	}
	return complete
}

// span hangs the step into the trace of the call that triggered the story.
func (s *Service) span(ctx context.Context, story *store.Story) (context.Context, trace.Span) {
	ctx = otel.GetTextMapPropagator().Extract(ctx, propagation.MapCarrier{"traceparent": story.Traceparent})
	return otel.Tracer("cloudoptim/optimize").Start(ctx, "optimize."+steps[story.Step-1].name,
		trace.WithAttributes(attribute.String("cloudoptim.optimization_id", story.ID.String())))
}

// backoff grows with the time that the step has been in trouble.
func backoff(age time.Duration) time.Duration {
	return min(max(age/4, 500*time.Millisecond), maxBackoff)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func failed(format string, args ...any) outcome {
	return outcome{failure: fmt.Sprintf(format, args...)}
}
