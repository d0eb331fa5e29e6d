package optimize

import (
	"context"
	"fmt"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// planLasts is how long a plan that nobody had to approve is carried out as it was
	// made; one that waited longer, or was approved, is held against the cluster first.
	planLasts = time.Minute
	// maxRemakes bounds how often a plan that the cluster has outgrown is made anew.
	maxRemakes = 3
)

// begin is passed once, just before the first thing is changed: what keeps the story from
// it, or nil.
func (r *run) begin(ctx context.Context) (*outcome, error) {
	held, err := r.held(ctx)
	switch {
	case err != nil:
		return nil, err
	case held.GetCode() == guard.ForMode && r.story.Status == "pending":
		return r.park(ctx, held.GetMessage())
	case held != nil:
		out := holding(held)
		return &out, nil
	case r.story.Status == "executing":
		return nil, nil
	}
	if stop, err := r.confirm(ctx); err != nil || stop != nil {
		return stop, err
	}
	mine, err := r.Store.Begin(ctx, r.story)
	if err != nil || mine {
		r.story.Status = "executing"
		return nil, err
	}
	out := waiting(time.Second, "it was decided upon anew")
	return &out, nil
}

// confirm holds the plan against the cluster as it is now; one that no longer fits is made
// anew.
func (r *run) confirm(ctx context.Context) (*outcome, error) {
	state, err := r.Store.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return nil, err
	}
	policy, err := guard.PolicyOf(ctx, r.Store, r.story.Cluster)
	if err != nil {
		return nil, err
	}
	if err := fresh(state, policy.StaleAfter()); err != nil {
		out := waiting(time.Second, "%s", fault.From(err).Message)
		return &out, nil
	}
	pin(state, policy, r.byItself(policy))
	why, err := r.outgrown(ctx, state)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return r.remake(ctx, why)
	}
	return nil, nil
}

// park lets a plan that nobody had to approve when it was made await approval, when the
// mode wants it by now.
func (r *run) park(ctx context.Context, why string) (*outcome, error) {
	policy, err := guard.PolicyOf(ctx, r.Store, r.story.Cluster)
	if err != nil {
		return nil, err
	}
	out := outcome{wait: holdShort, trouble: why}
	if policy.Mode() != guard.Approve {
		out = holding(modeHold(policy))
		return &out, nil
	}
	err = r.Store.InTx(ctx, func(tx *store.Store) error {
		if err := tx.SetApproval(ctx, r.story.ID, "awaiting", why, awaitFor); err != nil {
			return err
		}
		return r.tellAll(ctx, tx, r.newsOf(ruling{approval: "awaiting", message: why}))
	})
	if err != nil {
		return nil, err
	}
	r.story.Waiting = nil // what it waits for now, is noted with that
	return &out, nil
}

// outgrown says why the plan no longer fits the cluster; empty: it does.
func (r *run) outgrown(ctx context.Context, state *fleetv1.ClusterState) (string, error) {
	decided := r.story.Steps[decidePosition-1].FinishedAt
	if r.story.Approval != "approved" && decided != nil && time.Since(*decided) < planLasts {
		return "", nil
	}
	decision, err := r.Store.Decision(ctx, r.story.ID)
	if err != nil {
		return "", err
	}
	found := feasible.Check(state, decision)
	if len(found) == 0 {
		return "", nil
	}
	return fmt.Sprintf("the cluster has outgrown the plan: %s", found[0]), nil
}

// remake sends the story back to its first step.
func (r *run) remake(ctx context.Context, why string) (*outcome, error) {
	if n, ok := r.story.Steps[0].Detail["remade"].(float64); ok && n >= maxRemakes {
		out := failed("%s; it was made anew %d times", why, maxRemakes)
		return &out, nil
	}
	r.Log.InfoContext(ctx, "making a plan anew", "optimization_id", r.story.ID, "reason", why)
	out := outcome{wait: 100 * time.Millisecond, trouble: why}
	return &out, r.Store.Remake(ctx, r.story, why)
}

// keepsPromise tells whether a plan that was made anew does what was approved: it saves
// as much, and drains no more nodes.
func keepsPromise(p *store.Promise, savings float64, drains int) bool {
	return savings >= p.Savings-0.005 && drains <= p.Drains
}
