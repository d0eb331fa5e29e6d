package optimize

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// work is a task that a step wants done by the agent.
type work struct {
	id         uuid.UUID
	kind, node string
	priority   int32
	within     time.Duration
	parameters proto.Message
}

// work on a node, once a story and kind.
func (r *run) work(kind, node string, priority int32, within time.Duration, parameters proto.Message) work {
	return work{id: r.taskID(kind, node), kind: kind, node: node, priority: priority, within: within, parameters: parameters}
}

// again makes the same kind of work another piece of work, e.g. when it is undone.
func (w work) again(r *run, round string) work {
	w.id = r.taskID(w.kind, w.node, round)
	return w
}

// progress of some work.
type progress struct {
	work     []work
	outcomes map[uuid.UUID]store.TaskOutcome
}

// perform writes the tasks that are not written yet and reports how far all of them are.
func (r *run) perform(ctx context.Context, all []work) (progress, error) {
	done, err := r.look(ctx, all)
	if err != nil {
		return progress{}, err
	}
	var fresh []*fleetv1.Task
	for _, w := range all {
		if _, there := done.outcomes[w.id]; there {
			continue
		}
		parameters, err := asStruct(w.parameters)
		if err != nil {
			return progress{}, fmt.Errorf("encoding %s of node %s: %w", w.kind, w.node, err)
		}
		fresh = append(fresh, &fleetv1.Task{
			TaskId: w.id.String(), ClusterId: r.story.Cluster.String(), TaskType: w.kind, Parameters: parameters, Priority: w.priority,
			Deadline: timestamppb.New(time.Now().Add(w.within)), CreatedBy: "optimizer_service",
		})
	}
	if len(fresh) == 0 {
		return done, nil
	}
	err = r.Store.InTx(ctx, func(tx *store.Store) error { return r.Dispatch.Add(ctx, tx, fresh...) })
	if err != nil {
		return progress{}, err
	}
	r.Dispatch.Announce(ctx, r.story.Cluster)
	return done, nil
}

// look reports how far work is, without starting any.
func (r *run) look(ctx context.Context, all []work) (progress, error) {
	ids := make([]uuid.UUID, 0, len(all))
	for _, w := range all {
		ids = append(ids, w.id)
	}
	outcomes, err := r.Store.TaskOutcomes(ctx, ids)
	return progress{work: all, outcomes: outcomes}, err
}

func (p progress) of(w work) store.TaskOutcome { return p.outcomes[w.id] }

func (p progress) ended() int {
	n := 0
	for _, w := range p.work {
		if p.of(w).Done() {
			n++
		}
	}
	return n
}

func (p progress) all() bool { return p.ended() == len(p.work) }

// failures says what went wrong, a line for each piece of work.
func (p progress) failures() []string {
	var bad []string
	for _, w := range p.work {
		if got := p.of(w); got.Done() && got.Status != "success" {
			bad = append(bad, fmt.Sprintf("%s of %s: %s: %s", w.kind, w.node, got.Status, orElse(got.Result.GetError(), "no word from the agent")))
		}
	}
	return bad
}
