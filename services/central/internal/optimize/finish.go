package optimize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// terminate ends the instances of drained nodes that are still empty and waits
// until the nodes are gone.
func (r *run) terminate(ctx context.Context) (outcome, error) {
	nodes, err := r.Store.ReplacedNodes(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	if slices.ContainsFunc(nodes, func(n store.Replaced) bool { return n.Status == "drained" }) {
		if held, err := r.held(ctx); err != nil || held != nil {
			return holdingOr(held), err
		}
	}
	if wait, err := r.onlyEmpty(ctx, nodes); wait != nil || err != nil {
		return *orDone(wait), err
	}
	ids, err := r.endDrained(ctx, nodes)
	if err != nil {
		return outcome{}, err
	}
	left, err := r.stillThere(ctx, ids)
	if err != nil {
		return outcome{}, err
	}
	if left > 0 {
		return waiting(r.patrol(), "%d of %d terminated nodes are still there", left, len(ids)), nil
	}
	return outcome{detail: map[string]any{"instances": ids}}, nil
}

// endDrained asks for the end of the drained nodes' instances, once, and again when
// it seems lost; it returns all that were asked for.
func (r *run) endDrained(ctx context.Context, nodes []store.Replaced) ([]string, error) {
	var ids, names []string
	asked := true
	for _, node := range nodes {
		if node.Status == "drained" || node.Status == "terminated" {
			ids, names = append(ids, node.InstanceID), append(names, node.Node)
		}
		asked = asked && node.Status != "drained"
	}
	if asked && r.age() <= time.Minute {
		return ids, nil
	}
	if err := r.Cloud.Terminate(ctx, r.aws(), ids); err != nil {
		return nil, err
	}
	if asked { // once more: there is nothing new to note
		return ids, nil
	}
	return ids, r.noteTerminated(ctx, ids, names)
}

// patrol is how soon to look again for what EC2 was asked to end: each time asks it anew, and its calls are limited.
func (r *run) patrol() time.Duration { return min(max(r.age()/10, 500*time.Millisecond), maxBackoff) }

// stillThere counts instances that are still nodes.
func (r *run) stillThere(ctx context.Context, ids []string) (int, error) {
	state, err := r.Store.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return 0, err
	}
	gone := make(map[string]bool, len(ids))
	for _, id := range ids {
		gone[id] = true
	}
	left := 0
	for _, node := range state.GetNodes() {
		if gone[node.GetInstanceId()] {
			left++
		}
	}
	return left, nil
}

// verify waits until every pod has a place again and counts what it costs now.
func (r *run) verify(ctx context.Context) (outcome, error) {
	state, err := r.Book.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return outcome{}, err
	}
	before := r.story.Request.GetCurrentState().GetPendingPods()
	pending := state.GetPendingPods() - before
	settled := pending <= 0 && unpriced(state) == 0
	if !settled && r.age() < r.step.patience-30*time.Second {
		return waiting(500*time.Millisecond, "%d more pods are pending than before, %d nodes have no price", max(pending, 0), unpriced(state)), nil
	}
	kept, err := r.keptNodes(ctx)
	if err != nil {
		return outcome{}, err
	}
	var remarks []string
	if pending > 0 {
		remarks = append(remarks, fmt.Sprintf("%d more pods are pending than before", pending))
	}
	if n := unpriced(state); n > 0 {
		remarks = append(remarks, fmt.Sprintf("%d nodes have no price, they count nothing", n))
	}
	if len(kept) > 0 {
		remarks = append(remarks, "kept "+strings.Join(kept, "; "))
	}
	end := ending{
		status: "completed", message: strings.Join(remarks, "; "), savings: r.monthly(state.CurrentCostPerHour), costAfter: state.CurrentCostPerHour,
	}
	return outcome{finished: &end, detail: map[string]any{
		"nodes": state.TotalNodes, "spot_nodes": state.SpotNodes, "pods": state.TotalPods, "pending_pods": state.PendingPods,
		"cost_per_hour": state.CurrentCostPerHour, "actual_savings": end.savings,
	}}, nil
}

// rollback gives the old nodes back to the scheduler, moves what has landed on
// the new ones away, and ends those.
func (r *run) rollback(ctx context.Context) (outcome, error) {
	nodes, err := r.Store.ReplacedNodes(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	var back []work
	for _, node := range nodes {
		if node.Status != "terminated" {
			back = append(back, r.uncordonWork(node).again(r, "rollback"))
		}
	}
	if done, err := r.perform(ctx, back); err != nil || !done.all() {
		return waiting(300*time.Millisecond, "old nodes are being made schedulable"), err
	}
	launched, err := r.Store.LaunchedNodes(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	var away []work
	for _, node := range launched {
		if !node.Gone {
			away = append(away, r.drainWork(store.Replaced{Node: node.Name, InstanceID: node.InstanceID}).again(r, "rollback").undo())
		}
	}
	done, err := r.perform(ctx, away)
	if err != nil || !done.all() {
		return waiting(300*time.Millisecond, "%d of %d new nodes are drained", done.ended(), len(away)), err
	}
	return r.endLaunched(ctx, done)
}

// endLaunched terminates the launched instances, but not those that still hold pods.
func (r *run) endLaunched(ctx context.Context, drains progress) (outcome, error) {
	holds := map[string]bool{}
	for _, w := range drains.work {
		if drains.of(w).Status != "success" {
			parameters, ok := w.parameters.(*fleetv1.DrainNodeParameters)
			holds[parameters.GetInstanceId()] = ok
		}
	}
	ids, err := r.everLaunched(ctx)
	if err != nil {
		return outcome{}, err
	}
	var end, keep []string
	for _, id := range ids {
		if holds[id] {
			keep = append(keep, id)
		} else {
			end = append(end, id)
		}
	}
	if err := r.Cloud.Terminate(ctx, r.aws(), end); err != nil {
		return outcome{}, err
	}
	left, err := r.stillThere(ctx, end)
	if err != nil {
		return outcome{}, err
	}
	if left > 0 {
		return waiting(r.patrol(), "%d of %d new nodes are still there", left, len(end)), nil
	}
	return outcome{detail: map[string]any{"terminated": end, "kept": keep}}, nil
}

// everLaunched are the launched instances, and those of launches whose answer
// was lost: nobody else would end them.
func (r *run) everLaunched(ctx context.Context) ([]string, error) {
	launches, err := r.Store.Launches(ctx, r.story.ID)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, l := range launches {
		if l.Status != "pending" {
			ids = append(ids, l.InstanceIDs...)
			continue
		}
		found, err := r.Cloud.Launched(ctx, r.aws(), l.ClientToken)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	return ids, nil
}
