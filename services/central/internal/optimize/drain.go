package optimize

import (
	"context"
	"fmt"
	"slices"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	taskWithin          = 5 * time.Minute
	defaultDrainTimeout = 15 * time.Minute
	// standsFor is how long a plan that has begun may stand still and be gone on with: the cluster has
	// outgrown one that waited longer, and the next plan does what is left.
	standsFor = 2 * time.Hour
)

// drain cordons every node to take away, then drains a few at a time. A node
// that cannot be drained is kept and made schedulable again; the others go on. While
// something holds the story, it only looks after what it has begun.
func (r *run) drain(ctx context.Context) (outcome, error) {
	nodes, err := r.Store.ReplacedNodes(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	held, err := r.held(ctx)
	if err != nil {
		return outcome{}, err
	}
	if held == nil {
		if err := r.leaveRest(ctx, nodes); err != nil {
			return outcome{}, err
		}
		if wait, err := r.prepare(ctx, nodes); err != nil || wait != nil {
			return *orDone(wait), err
		}
	}
	if err := r.settle(ctx, nodes); err != nil {
		return outcome{}, err
	}
	homeless, err := r.homeless(ctx, nodes)
	if err != nil {
		return outcome{}, err
	}
	if len(homeless) > 0 {
		return r.shelter(ctx, homeless, nodes)
	}
	if held == nil {
		if held, err = r.nextWave(ctx, nodes); err != nil {
			return outcome{}, err
		}
	}
	return r.drained(ctx, nodes, held)
}

// leaveRest keeps the nodes whose drain has not begun, once the story has stood still for too long in the
// middle of its drains.
func (r *run) leaveRest(ctx context.Context, nodes []store.Replaced) error {
	if r.story.Waiting == nil || noneBegun(nodes) {
		return nil
	}
	stood := time.Since(r.story.Waiting.GetSince().AsTime())
	if stood < standsFor {
		return nil
	}
	why := fmt.Sprintf("the plan stood still for %s (%s): what it had not begun is left to a newer one",
		stood.Round(time.Minute), r.story.Waiting.GetCode())
	for i, node := range nodes {
		if node.Status != "pending" {
			continue
		}
		if err := r.keep(ctx, node, why); err != nil {
			return err
		}
		nodes[i].Status = "kept"
	}
	return nil
}

// noneBegun says that no drain has begun.
func noneBegun(nodes []store.Replaced) bool {
	return !slices.ContainsFunc(nodes, func(n store.Replaced) bool { return n.Status != "pending" || n.Round > 0 })
}

// prepare rechecks the plan before the first node is touched, and cordons.
func (r *run) prepare(ctx context.Context, nodes []store.Replaced) (*outcome, error) {
	if stop, err := r.recheck(ctx, nodes); err != nil || stop != nil {
		return stop, err
	}
	return r.cordon(ctx, nodes)
}

func orDone(o *outcome) *outcome {
	if o == nil {
		return &outcome{}
	}
	return o
}

// recheck looks once more, before the first node is touched, whether the plan
// still fits: the state is fresh, everything that was launched is there, and the
// cluster's rules allow it.
func (r *run) recheck(ctx context.Context, nodes []store.Replaced) (*outcome, error) {
	if !noneBegun(nodes) {
		return nil, nil
	}
	policy, err := guard.PolicyOf(ctx, r.Store, r.story.Cluster)
	if err != nil {
		return nil, err
	}
	state, err := r.Store.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return nil, err
	}
	if err := fresh(state, policy.StaleAfter()); err != nil {
		wait := waiting(time.Second, "%s", fault.From(err).Message)
		return &wait, nil
	}
	ids, err := r.launchedIDs(ctx)
	if err != nil {
		return nil, err
	}
	ready, err := r.readyNodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(ready) < len(ids) {
		fail := failed("only %d of %d launched nodes are still ready, nothing was drained", len(ready), len(ids))
		return &fail, nil
	}
	pin(state, policy, r.byItself(policy))
	return nil, r.stillFeasible(ctx, state, nodes, ready)
}

// cordon keeps evicted pods from landing on the next node to be drained.
func (r *run) cordon(ctx context.Context, nodes []store.Replaced) (*outcome, error) {
	var all []work
	var going []int
	for i, node := range nodes {
		if node.Status != "kept" {
			all, going = append(all, r.cordonWork(node)), append(going, i)
		}
	}
	done, err := r.perform(ctx, all)
	if err != nil {
		return nil, err
	}
	if done.held != nil {
		wait := holding(done.held)
		return &wait, nil
	}
	if !done.all() {
		wait := waiting(300*time.Millisecond, "%d of %d nodes are cordoned", done.ended(), len(all))
		return &wait, nil
	}
	for k, i := range going {
		node, got := nodes[i], done.of(all[k])
		if got.Status == "success" || node.Status != "pending" {
			continue
		}
		if cutShort(got) {
			wait := waiting(300*time.Millisecond, "a stop cut the cordon of node %s short, which is done again", node.Node)
			return &wait, r.Store.TryAgain(ctx, r.story.ID, node.Node, "its cordon was cut short by a stop")
		}
		if err := r.keep(ctx, node, "cordon: "+orElse(got.Result.GetError(), got.Status)); err != nil {
			return nil, err
		}
		nodes[i].Status = "kept"
	}
	return nil, nil
}

// settle notes drains that have ended.
func (r *run) settle(ctx context.Context, nodes []store.Replaced) error {
	for i, node := range nodes {
		if node.Status != "draining" {
			continue
		}
		w := r.drainWork(node)
		done, err := r.look(ctx, []work{w})
		if err != nil {
			return err
		}
		got := done.of(w)
		switch {
		case !got.Done():
			continue
		case got.Status == "success":
			if err := r.Store.SetReplaced(ctx, r.story.ID, "drained", "", node.Node); err != nil {
				return err
			}
			nodes[i].Status = "drained"
		case cutShort(got):
			if err := r.Store.TryAgain(ctx, r.story.ID, node.Node, "its drain was cut short by a stop"); err != nil {
				return err
			}
			nodes[i].Status, nodes[i].Round = "pending", node.Round+1
		default:
			if err := r.keep(ctx, node, "drain: "+orElse(got.Result.GetError(), got.Status)); err != nil {
				return err
			}
			nodes[i].Status = "kept"
		}
	}
	return nil
}

// keep gives a node up, and back to the scheduler.
func (r *run) keep(ctx context.Context, node store.Replaced, why string) error {
	if _, err := r.perform(ctx, []work{r.uncordonWork(node)}); err != nil {
		return err
	}
	return r.Store.SetReplaced(ctx, r.story.ID, "kept", why, node.Node)
}

// nextWave starts drains as far as the limit and the guard allow, and returns what keeps
// it from more while none is under way.
func (r *run) nextWave(ctx context.Context, nodes []store.Replaced) (*adminv1.Waiting, error) {
	limit := int(r.story.Options.GetMaxParallelDrains())
	if limit == 0 {
		limit = max(1, len(nodes)/10)
	}
	underWay := 0
	for _, node := range nodes {
		if node.Status == "draining" {
			underWay++
		}
	}
	for i, node := range nodes {
		if underWay >= limit {
			return nil, nil
		}
		if node.Status != "pending" {
			continue
		}
		held, err := r.beginDrain(ctx, node)
		if err != nil {
			return nil, err
		}
		if held != nil && held.GetCode() == guard.ForBudget && underWay > 0 {
			return nil, nil // a budget paces the drains
		}
		if held != nil {
			return held, nil
		}
		nodes[i].Status = "draining"
		underWay++
	}
	return nil, nil
}

// beginDrain writes a drain and that it begins, in one transaction, so that budgets count
// it, or returns what keeps it from that.
func (r *run) beginDrain(ctx context.Context, node store.Replaced) (*adminv1.Waiting, error) {
	task, err := r.task(r.drainWork(node))
	if err != nil {
		return nil, err
	}
	return r.write(ctx, guard.Act{Drains: true}, []*fleetv1.Task{task}, func(tx *store.Store) error {
		return tx.BeginDrain(ctx, r.story.ID, node.Node)
	})
}

// drained ends the step when no drain is left to do; held says what keeps it from more.
func (r *run) drained(ctx context.Context, nodes []store.Replaced, held *adminv1.Waiting) (outcome, error) {
	count := map[string]int{}
	for _, node := range nodes {
		count[node.Status]++
	}
	left := count["pending"] + count["draining"]
	if left > 0 && held != nil {
		out := holding(held)
		out.detail = map[string]any{"drained": count["drained"], "kept": count["kept"]}
		return out, nil
	}
	if left > 0 {
		return outcome{
			wait: 300 * time.Millisecond, trouble: fmt.Sprintf("%d of %d nodes are left to drain", left, len(nodes)),
			detail: map[string]any{"drained": count["drained"], "kept": count["kept"]},
		}, nil
	}
	unplaced, err := r.unplaced(ctx, nodes)
	if err != nil {
		return outcome{}, err
	}
	if len(unplaced) > 0 {
		return outcome{wait: 300 * time.Millisecond, trouble: fmt.Sprintf("%d pods are being placed", len(unplaced))}, nil
	}
	kept, err := r.keptNodes(ctx)
	if err != nil {
		return outcome{}, err
	}
	if count["drained"] == 0 {
		return failed("no node could be drained: %v", kept), nil
	}
	return outcome{detail: map[string]any{"drained": count["drained"], "kept": kept}}, nil
}

// keptNodes says which nodes were given up, and why.
func (r *run) keptNodes(ctx context.Context) ([]string, error) {
	nodes, err := r.Store.ReplacedNodes(ctx, r.story.ID)
	kept := []string{}
	for _, node := range nodes {
		if node.Status == "kept" {
			kept = append(kept, node.Node+": "+node.Error)
		}
	}
	return kept, err
}

func (r *run) cordonWork(node store.Replaced) work {
	return r.work("cordon_node", node.Node, 2, taskWithin, &fleetv1.CordonNodeParameters{
		NodeName: node.Node, InstanceId: node.InstanceID, Reason: "optimization " + r.story.ID.String(),
	}).round(r, node.Round)
}

func (r *run) uncordonWork(node store.Replaced) work {
	return r.work("uncordon_node", node.Node, 2, taskWithin, &fleetv1.UncordonNodeParameters{NodeName: node.Node, InstanceId: node.InstanceID}).undo()
}

func (r *run) drainWork(node store.Replaced) work {
	within := defaultDrainTimeout
	if seconds := r.story.Options.GetDrainTimeoutSeconds(); seconds > 0 {
		within = time.Duration(seconds) * time.Second
	}
	return r.work("drain_node", node.Node, 4, within, &fleetv1.DrainNodeParameters{
		NodeName: node.Node, InstanceId: node.InstanceID, UncordonOnFailure: true,
	}).round(r, node.Round)
}
