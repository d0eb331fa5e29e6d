package optimize

import (
	"context"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// holdShort is how soon it is asked again whether the story may go on; what waits
	// for an hour or more that is known asks every holdLong.
	holdShort = time.Second
	holdLong  = 5 * time.Second
)

// held says what keeps the story from doing something now; nil: nothing.
func (r *run) held(ctx context.Context) (*adminv1.Waiting, error) {
	return r.heldIn(ctx, r.Store, guard.Act{})
}

// heldIn is what keeps it from an act, by what a transaction sees.
func (r *run) heldIn(ctx context.Context, db *store.Store, act guard.Act) (*adminv1.Waiting, error) {
	view, err := guard.Look(ctx, db, r.story.Cluster)
	if err != nil {
		return nil, err
	}
	act.Approved = r.story.Approval == "approved"
	return view.May(act), nil
}

// holding is the outcome of a step that may not go on.
func holding(w *adminv1.Waiting) outcome {
	wait := holdShort
	if w.GetUntil() != nil && time.Until(w.GetUntil().AsTime()) > time.Minute {
		wait = holdLong
	}
	return outcome{wait: wait, trouble: w.GetMessage(), held: w}
}

// holdingOr is holding, or an empty outcome when nothing holds.
func holdingOr(w *adminv1.Waiting) outcome {
	if w == nil {
		return outcome{}
	}
	return holding(w)
}

// noteHold notes what the story waits for, and tells of it once per change; or that it
// waits for nothing any more.
func (s *Service) noteHold(ctx context.Context, r *run, w *adminv1.Waiting) error {
	if w == nil {
		if r.story.Waiting == nil {
			return nil
		}
		return s.Store.GoOn(ctx, r.story.ID)
	}
	var changed bool
	err := s.Store.InTx(ctx, func(tx *store.Store) (err error) {
		if changed, err = tx.Wait(ctx, r.story.ID, w); err != nil || !changed {
			return err
		}
		return tx.Tell(ctx, r.account.CustomerID, waitingNews(r.story, r.step.name, w))
	})
	if err == nil && changed {
		s.Log.InfoContext(ctx, "an optimization waits", "optimization_id", r.story.ID, "step", r.step.name, "for", w.GetCode(), "message", w.GetMessage())
	}
	return err
}

func waitingNews(story *store.Story, step string, w *adminv1.Waiting) *adminv1.StreamResponse {
	severity := "info"
	if w.GetCode() == guard.ForStop || w.GetCode() == guard.ForState {
		severity = "warning"
	}
	return &adminv1.StreamResponse{
		Type: "optimization_waiting", Status: w.GetCode(), Step: step, Message: w.GetMessage(), ClusterId: story.Cluster.String(),
		OptimizationId: story.ID.String(), Severity: severity,
	}
}
