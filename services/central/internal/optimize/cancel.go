package optimize

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// cancelled ends a story that somebody wants to end: its open drains are broken off, and
// what was launched is rolled back as after a failure. Once an old node is gone, what
// was done stays.
func (r *run) cancelled(ctx context.Context) (outcome, error) {
	why := r.cancelReason()
	if r.story.Status == "pending" {
		return r.endCancelled(why, r.story.CostBefore), nil
	}
	nodes, err := r.Store.ReplacedNodes(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	open, err := r.breakOff(ctx, nodes, why)
	if err != nil {
		return outcome{}, err
	}
	if open > 0 {
		return waiting(300*time.Millisecond, "%d drains are being broken off", open), nil
	}
	if !slices.ContainsFunc(nodes, func(n store.Replaced) bool { return n.Status == "terminated" }) {
		return outcome{failure: why, rollBack: true}, nil
	}
	return r.keepRest(ctx, nodes, why)
}

// keepRest gives back what is not gone yet, and ends the story with what was done.
func (r *run) keepRest(ctx context.Context, nodes []store.Replaced, why string) (outcome, error) {
	for _, node := range nodes {
		if node.Status != "terminated" && node.Status != "kept" {
			if err := r.keep(ctx, node, why); err != nil {
				return outcome{}, err
			}
		}
	}
	state, err := r.Book.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return outcome{}, err
	}
	out := r.endCancelled(why, state.GetCurrentCostPerHour())
	out.finished.savings = r.monthly(state.GetCurrentCostPerHour())
	return out, nil
}

func (r *run) cancelReason() string {
	return fmt.Sprintf("cancelled by %s: %s", r.story.DecidedBy, r.story.DecisionReason)
}

func (r *run) endCancelled(why string, costAfter float64) outcome {
	return outcome{failure: why, finished: &ending{status: "cancelled", message: why, costAfter: costAfter}}
}

// breakOff asks for the end of the story's cordons and drains, and returns how many have
// not ended.
func (r *run) breakOff(ctx context.Context, nodes []store.Replaced, why string) (int, error) {
	all := r.disruptive(nodes)
	if err := r.Dispatch.Cancel(ctx, r.story.Cluster, why, ids(all)...); err != nil {
		return 0, err
	}
	done, err := r.look(ctx, all)
	open := 0
	for _, w := range all {
		if got, there := done.outcomes[w.id]; there && !got.Done() {
			open++
		}
	}
	return open, err
}

// disruptive is all that the story may have given the agent to do to old nodes.
func (r *run) disruptive(nodes []store.Replaced) []work {
	var all []work
	for _, node := range nodes {
		all = append(all, r.cordonWork(node), r.drainWork(node))
	}
	return all
}

func ids(all []work) []uuid.UUID {
	out := make([]uuid.UUID, 0, len(all))
	for _, w := range all {
		out = append(out, w.id)
	}
	return out
}
