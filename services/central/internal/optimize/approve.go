package optimize

import (
	"context"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// maxSnooze bounds how long a plan is put off.
const maxSnooze = 90 * 24 * time.Hour

// Deciding is somebody's word on an optimization.
type Deciding struct {
	ID uuid.UUID
	// Customer whose it must be; null: anybody's.
	Customer uuid.NullUUID
	// Actor and Reason as the audit log has them.
	Actor, Reason string
	// Etag of the plan that was looked at; empty: whichever.
	Etag string
}

func (d Deciding) verdict() store.Verdict { return store.Verdict{Actor: d.Actor, Reason: d.Reason} }

// deed is what is done about a locked optimization; news is the state that is told.
type deed struct {
	news string
	// act: what is done, with the audit entry in the same transaction; nil: it is so already.
	act func(ctx context.Context, tx *store.Store, o *adminv1.Optimization) error
}

// decideOn an optimization: look at the locked row, act, tell and audit in one transaction,
// and answer with what it is now.
func (s *Service) decideOn(ctx context.Context, d Deciding, look func(ctx context.Context, tx *store.Store, o *adminv1.Optimization) (deed, error)) (*adminv1.Optimization, error) {
	var cluster uuid.UUID
	var is deed
	err := s.Store.InTx(ctx, func(tx *store.Store) error {
		o, owner, err := tx.LockOptimization(ctx, d.ID, d.Customer)
		if err != nil {
			return err
		}
		if cluster, err = uuid.Parse(o.GetClusterId()); err != nil {
			return err
		}
		if is, err = look(ctx, tx, o); err != nil || is.act == nil {
			return err
		}
		if err := is.act(ctx, tx, o); err != nil {
			return err
		}
		if err := tx.Tell(ctx, owner, &adminv1.StreamResponse{
			Type: "optimization_decided", Status: is.news, ClusterId: cluster.String(), OptimizationId: d.ID.String(), Actor: d.Actor,
			Severity: "info", Message: d.Reason,
		}); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: d.Actor, Action: "optimization." + is.news, Subject: d.ID.String(), Customer: some(owner), Cluster: some(cluster),
			Detail: map[string]any{"reason": d.Reason, "etag": o.GetEtag(), "plan": o.GetPlan().GetBlastRadius(), "estimated_savings": o.GetEstimatedSavings()},
		})
	})
	if err != nil {
		return nil, err
	}
	if is.act != nil {
		s.Dispatch.Announce(ctx, cluster)
	}
	return s.Store.Optimization(ctx, d.ID, d.Customer)
}

// Approve lets a plan run that awaits approval.
func (s *Service) Approve(ctx context.Context, d Deciding) (*adminv1.Optimization, error) {
	return s.decideOn(ctx, d, func(ctx context.Context, tx *store.Store, o *adminv1.Optimization) (deed, error) {
		if o.GetApproval() == "approved" && sameEtag(d, o) == nil {
			return deed{}, nil // said again
		}
		cluster, err := uuid.Parse(o.GetClusterId())
		if err != nil {
			return deed{}, err
		}
		view, err := guard.Look(ctx, tx, cluster)
		if err != nil {
			return deed{}, err
		}
		if o.GetApproval() == "recommended" {
			return deed{}, guard.OnlyRecommended(view.Policy)
		}
		if err := undecided(d, o); err != nil {
			return deed{}, err
		}
		if len(view.Stops) > 0 {
			return deed{}, guard.Refused(view.Stops[0])
		}
		if guard.Below(view.Policy.Mode(), guard.Approve) {
			return deed{}, guard.NotAllowed(view.Policy)
		}
		return deed{news: "approved", act: func(ctx context.Context, tx *store.Store, _ *adminv1.Optimization) error {
			generation, err := tx.Approve(ctx, d.ID, cluster, d.verdict())
			if err != nil {
				return err
			}
			return s.queue.Enqueue(ctx, tx, storyJob{OptimizationID: d.ID, Generation: generation})
		}}, nil
	})
}

// Reject ends a plan that nobody has let run.
func (s *Service) Reject(ctx context.Context, d Deciding) (*adminv1.Optimization, error) {
	return s.decideOn(ctx, d, func(_ context.Context, _ *store.Store, o *adminv1.Optimization) (deed, error) {
		if o.GetApproval() == "rejected" && sameEtag(d, o) == nil {
			return deed{}, nil
		}
		if o.GetApproval() != "recommended" {
			if err := undecided(d, o); err != nil {
				return deed{}, err
			}
		} else if err := sameEtag(d, o); err != nil {
			return deed{}, err
		}
		return s.drop(d), nil
	})
}

// drop a plan that nobody has let run.
func (s *Service) drop(d Deciding) deed {
	return deed{news: "rejected", act: func(ctx context.Context, tx *store.Store, _ *adminv1.Optimization) error {
		_, err := tx.DropPlans(ctx, []uuid.UUID{d.ID}, "rejected", "rejected by "+d.Actor+": "+d.Reason, d.verdict())
		return err
	}}
}

// Snooze puts a plan off until a time.
func (s *Service) Snooze(ctx context.Context, d Deciding, until time.Time) (*adminv1.Optimization, error) {
	switch left := time.Until(until); {
	case left <= 0:
		return nil, fault.Invalid("until", "must be in the future")
	case left > maxSnooze:
		return nil, fault.Invalid("until", "must be within 90 days")
	}
	return s.decideOn(ctx, d, func(_ context.Context, _ *store.Store, o *adminv1.Optimization) (deed, error) {
		if err := undecided(d, o); err != nil {
			return deed{}, err
		}
		return deed{news: "snoozed", act: func(ctx context.Context, tx *store.Store, _ *adminv1.Optimization) error {
			return tx.Snooze(ctx, d.ID, until, d.verdict())
		}}, nil
	})
}

// Cancel asks a running optimization to end; one whose plan nobody has let run is rejected.
func (s *Service) Cancel(ctx context.Context, d Deciding) (*adminv1.Optimization, error) {
	return s.decideOn(ctx, d, func(ctx context.Context, tx *store.Store, o *adminv1.Optimization) (deed, error) {
		story, err := tx.Story(ctx, d.ID)
		switch {
		case err != nil:
			return deed{}, err
		case story.Cancelled || story.Status == "cancelled":
			return deed{}, nil
		case story.Ended():
			return deed{}, fault.New(faultv1.Reason_REASON_CONFLICT, "the optimization has ended: it is %s", o.GetStatus())
		case story.Undecided():
			return s.drop(d), nil
		case steps[story.Step-1].name == "verify" || steps[story.Step-1].name == "rollback":
			return deed{}, fault.New(faultv1.Reason_REASON_CONFLICT, "nothing is left to cancel: it is at step %s", steps[story.Step-1].name)
		}
		return deed{news: "cancelled", act: func(ctx context.Context, tx *store.Store, _ *adminv1.Optimization) error {
			return s.askCancel(ctx, tx, d, story)
		}}, nil
	})
}

// askCancel breaks off what the agent does, and wakes the job that rolls back.
func (s *Service) askCancel(ctx context.Context, tx *store.Store, d Deciding, story *store.Story) error {
	generation, err := tx.AskCancel(ctx, d.ID, d.verdict())
	if err != nil {
		return err
	}
	nodes, err := tx.ReplacedNodes(ctx, d.ID)
	if err != nil {
		return err
	}
	r := &run{Service: s, story: story}
	if err := tx.CancelTasks(ctx, ids(r.disruptive(nodes)), "cancelled by "+d.Actor+": "+d.Reason); err != nil {
		return err
	}
	return s.queue.Enqueue(ctx, tx, storyJob{OptimizationID: d.ID, Generation: generation})
}

// undecided refuses what awaits no approval, or whose plan is another by now.
func undecided(d Deciding, o *adminv1.Optimization) error {
	if o.GetApproval() != "awaiting" && o.GetApproval() != "snoozed" {
		return fault.New(faultv1.Reason_REASON_CONFLICT, "the optimization does not await approval: its approval is %s, its status %s",
			o.GetApproval(), o.GetStatus()).With("approval", o.GetApproval())
	}
	return sameEtag(d, o)
}

func sameEtag(d Deciding, o *adminv1.Optimization) error {
	if d.Etag != "" && d.Etag != o.GetEtag() {
		return fault.New(faultv1.Reason_REASON_CONFLICT, "the plan is another by now").With("etag", o.GetEtag())
	}
	return nil
}
