package optimize

import (
	"context"
	"fmt"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	taskWithin          = 5 * time.Minute
	defaultDrainTimeout = 15 * time.Minute
)

// drain cordons every node to take away, then drains a few at a time. A node
// that cannot be drained is kept and made schedulable again; the others go on.
func (r *run) drain(ctx context.Context) (outcome, error) {
	nodes, err := r.Store.ReplacedNodes(ctx, r.story.ID)
	if err != nil {
		return outcome{}, err
	}
	if stop, err := r.recheck(ctx, nodes); err != nil || stop != nil {
		return *orDone(stop), err
	}
	if done, err := r.cordon(ctx, nodes); err != nil || done != nil {
		return *orDone(done), err
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
	if err := r.nextWave(ctx, nodes); err != nil {
		return outcome{}, err
	}
	return r.drained(ctx, nodes)
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
	for _, node := range nodes {
		if node.Status != "pending" {
			return nil, nil
		}
	}
	state, err := r.Store.ClusterState(ctx, r.story.Cluster, noCustomer)
	if err != nil {
		return nil, err
	}
	if err := fresh(state); err != nil {
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
	if !done.all() {
		wait := waiting(300*time.Millisecond, "%d of %d nodes are cordoned", done.ended(), len(all))
		return &wait, nil
	}
	for k, i := range going {
		node, got := nodes[i], done.of(all[k])
		if got.Status == "success" || node.Status != "pending" {
			continue
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

// nextWave starts drains as far as the limit allows.
func (r *run) nextWave(ctx context.Context, nodes []store.Replaced) error {
	limit := int(r.story.Options.GetMaxParallelDrains())
	if limit == 0 {
		limit = max(1, len(nodes)/10)
	}
	for _, node := range nodes {
		if node.Status == "draining" {
			limit--
		}
	}
	for i, node := range nodes {
		if limit <= 0 {
			return nil
		}
		if node.Status != "pending" {
			continue
		}
		if _, err := r.perform(ctx, []work{r.drainWork(node)}); err != nil {
			return err
		}
		if err := r.Store.SetReplaced(ctx, r.story.ID, "draining", "", node.Node); err != nil {
			return err
		}
		nodes[i].Status = "draining"
		limit--
	}
	return nil
}

// drained ends the step when no drain is left to do.
func (r *run) drained(ctx context.Context, nodes []store.Replaced) (outcome, error) {
	count := map[string]int{}
	for _, node := range nodes {
		count[node.Status]++
	}
	if left := count["pending"] + count["draining"]; left > 0 {
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
	})
}

func (r *run) uncordonWork(node store.Replaced) work {
	return r.work("uncordon_node", node.Node, 2, taskWithin, &fleetv1.UncordonNodeParameters{NodeName: node.Node, InstanceId: node.InstanceID})
}

func (r *run) drainWork(node store.Replaced) work {
	within := defaultDrainTimeout
	if seconds := r.story.Options.GetDrainTimeoutSeconds(); seconds > 0 {
		within = time.Duration(seconds) * time.Second
	}
	return r.work("drain_node", node.Node, 4, within, &fleetv1.DrainNodeParameters{
		NodeName: node.Node, InstanceId: node.InstanceID, UncordonOnFailure: true,
	})
}
