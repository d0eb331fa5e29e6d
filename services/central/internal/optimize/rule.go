package optimize

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// awaitFor is how long a plan awaits approval before it expires.
const awaitFor = 7 * 24 * time.Hour

// ruling is what becomes of a plan.
type ruling struct {
	// approval that the plan gets: not_needed, approved, awaiting or recommended.
	approval string
	// message for people, where it does not simply run.
	message string
	// over: the story ends with the plan.
	over *ending
	// hidden: it is not worth a line in lists.
	hidden bool
}

// rule says what becomes of a plan, by the policy as it is now.
func (r *run) rule(ctx context.Context, decision *mlv1.DecisionResponse, replaced []store.Replaced, plan *adminv1.PlanSummary) (ruling, error) {
	done := &ending{status: "completed", costAfter: r.story.CostBefore}
	unasked := r.story.RequestedBy == byPolicy
	if r.story.Type == rightsize {
		done.message = adviceOf(decision)
		return ruling{over: done}, nil
	}
	if len(replaced) == 0 {
		done.message = "nothing to do: no change saves enough"
		return ruling{over: done, hidden: unasked}, nil
	}
	if r.story.DryRun {
		return ruling{over: done}, nil
	}
	policy, err := guard.PolicyOf(ctx, r.Store, r.story.Cluster)
	if err != nil {
		return ruling{}, err
	}
	if unasked {
		same, err := r.stillStands(ctx, contentOf(decision, replaced))
		if err != nil {
			return ruling{}, err
		}
		if same != "" {
			return ruling{over: &ending{status: "cancelled", message: same, costAfter: r.story.CostBefore}, hidden: true}, nil
		}
	}
	switch mode := policy.Mode(); {
	case mode == guard.Automatic && r.story.Approval != "approved":
		return ruling{approval: "not_needed"}, nil
	case mode == guard.ReadOnly:
		done.message = "the policy's mode is read_only by now: nothing was changed"
		return ruling{over: done}, nil
	case mode == guard.Recommend:
		return ruling{approval: "recommended", message: "recommended: " + plan.GetBlastRadius()}, nil
	default:
		return r.awaits(decision, replaced, plan), nil
	}
}

// awaits approval, unless the plan it was made from had it and it does no more than that.
func (r *run) awaits(decision *mlv1.DecisionResponse, replaced []store.Replaced, plan *adminv1.PlanSummary) ruling {
	message := "waits for approval: " + plan.GetBlastRadius()
	switch p := r.story.Promise; {
	case p != nil && keepsPromise(p, decision.GetEstimatedSavings(), len(replaced)):
		return ruling{approval: "approved"}
	case p != nil:
		message += fmt.Sprintf("; the plan that was approved no longer fits the cluster: it saved %.2f USD a month and drained %d nodes, this one saves %.2f and drains %d",
			p.Savings, p.Drains, decision.GetEstimatedSavings(), len(replaced))
	}
	return ruling{approval: "awaiting", message: message}
}

// stillStands tells of an earlier plan that does the same and that nobody has let run; empty: there is none.
func (r *run) stillStands(ctx context.Context, content string) (string, error) {
	var told string
	err := r.Store.InTx(ctx, func(tx *store.Store) error {
		plans, err := tx.UndecidedPlans(ctx, r.story.Cluster, r.story.Type, r.story.ID)
		for _, plan := range plans {
			if plan.Content == content {
				told = "the same plan as that of " + plan.CreatedAt.UTC().Format(time.RFC3339) + ", which is " + plan.Approval
			}
		}
		return err
	})
	return told, err
}

// enact writes the ruling with the end of the step; plans that the new one takes the place
// of are dropped.
func (r *run) enact(ctx context.Context, tx *store.Store, is ruling) error {
	if is.hidden {
		if err := tx.HideOptimization(ctx, r.story.ID); err != nil {
			return err
		}
	}
	if is.over != nil {
		return nil
	}
	if err := tx.SetApproval(ctx, r.story.ID, is.approval, is.message, awaitFor); err != nil {
		return err
	}
	plans, err := tx.UndecidedPlans(ctx, r.story.Cluster, r.story.Type, r.story.ID)
	if err != nil {
		return err
	}
	var old []uuid.UUID
	for _, plan := range plans {
		old = append(old, plan.ID)
	}
	dropped, err := tx.DropPlans(ctx, old, "superseded", "a newer plan took its place: optimization "+r.story.ID.String(), store.Verdict{})
	if err != nil {
		return err
	}
	for _, id := range old { // in their order
		if _, was := dropped[id]; !was {
			continue
		}
		err := tx.Audit(ctx, store.Act{
			Actor: "optimizer_service", Action: "optimization.superseded", Subject: id.String(), Customer: some(r.account.CustomerID),
			Cluster: some(r.story.Cluster), Detail: map[string]any{"by": r.story.ID.String()},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newsOf a ruling: there is a plan that somebody should look at.
func (r *run) newsOf(is ruling) []*adminv1.StreamResponse {
	code := guard.ForApproval
	switch is.approval {
	case "awaiting":
	case "recommended":
		code = is.approval
	default:
		return nil
	}
	return []*adminv1.StreamResponse{waitingNews(r.story, r.step.name, &adminv1.Waiting{Code: code, Message: is.message})}
}

func modeHold(policy *guard.Policy) *adminv1.Waiting {
	return &adminv1.Waiting{Code: guard.ForMode, Message: "the policy's mode is " + policy.Mode() + " by now, which changes nothing"}
}

func some(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: true} }
