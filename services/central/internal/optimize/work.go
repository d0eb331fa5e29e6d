package optimize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// work is a task that a step wants done by the agent.
type work struct {
	id         uuid.UUID
	kind, node string
	priority   int32
	within     time.Duration
	parameters proto.Message
	// cause is what the task serves: a stop does not hold up an undo.
	cause string
}

const (
	causeOptimization = "optimization"
	causeUndo         = "undo"
)

// work on a node, once a story and kind.
func (r *run) work(kind, node string, priority int32, within time.Duration, parameters proto.Message) work {
	return work{
		id: r.taskID(kind, node), kind: kind, node: node, priority: priority, within: within, parameters: parameters, cause: causeOptimization,
	}
}

// undo makes it work that gives back what was taken.
func (w work) undo() work {
	w.cause = causeUndo
	return w
}

// round is the same work as tried again after stops cut it short so often.
func (w work) round(r *run, n int) work {
	if n == 0 {
		return w
	}
	return w.again(r, fmt.Sprint("round ", n))
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
	// held says what kept work from being begun; nil: nothing.
	held *adminv1.Waiting
}

// perform writes the tasks that are not written yet and reports how far all of them are.
// What is no undo is written only if the guard allows it at that moment.
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
		task, err := r.task(w)
		if err != nil {
			return progress{}, err
		}
		fresh = append(fresh, task)
	}
	if len(fresh) == 0 {
		return done, nil
	}
	// The same order for whoever writes many of them.
	slices.SortFunc(fresh, func(a, b *fleetv1.Task) int { return strings.Compare(a.GetTaskId(), b.GetTaskId()) })
	done.held, err = r.write(ctx, guard.Act{}, fresh, func(*store.Store) error { return nil })
	return done, err
}

// task that the agent gets for a piece of work.
func (r *run) task(w work) (*fleetv1.Task, error) {
	parameters, err := asStruct(w.parameters)
	if err != nil {
		return nil, fmt.Errorf("encoding %s of node %s: %w", w.kind, w.node, err)
	}
	return &fleetv1.Task{
		TaskId: w.id.String(), ClusterId: r.story.Cluster.String(), TaskType: w.kind, Parameters: parameters, Priority: w.priority,
		Deadline: timestamppb.New(time.Now().Add(w.within)), CreatedBy: "optimizer_service", Cause: w.cause,
	}, nil
}

// write tasks, and what goes with them, in one transaction: unless something keeps the act
// from being done, which is returned. No stop comes between the look and the commit.
func (r *run) write(ctx context.Context, act guard.Act, tasks []*fleetv1.Task, with func(tx *store.Store) error) (held *adminv1.Waiting, err error) {
	undo := !slices.ContainsFunc(tasks, func(t *fleetv1.Task) bool { return t.GetCause() != causeUndo })
	err = r.Store.InTx(ctx, func(tx *store.Store) error {
		held = nil
		if !undo {
			if err := tx.BarStops(ctx); err != nil {
				return err
			}
			if held, err = r.heldIn(ctx, tx, act); err != nil || held != nil {
				return err
			}
		}
		if err := r.Dispatch.Add(ctx, tx, tasks...); err != nil {
			return err
		}
		return with(tx)
	})
	if err != nil || held != nil {
		return held, err
	}
	r.Dispatch.Announce(ctx, r.story.Cluster)
	return nil, nil
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

// cutShort tells whether work was broken off, or refused, because a stop held.
func cutShort(got store.TaskOutcome) bool {
	return got.Status == "cancelled" &&
		(strings.HasPrefix(got.CancelReason, store.StopPrefix) || strings.Contains(got.Result.GetError(), agentStopped))
}

// agentStopped is in what an agent says of a task that it did not do, or break off, for a stop.
const agentStopped = "a stop holds"

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
