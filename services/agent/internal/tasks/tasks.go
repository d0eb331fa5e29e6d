// Package tasks turns a task into the step that does it, once.
package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

const (
	// gentleAtOnce is how many nodes are emptied at a time where there is no hurry.
	gentleAtOnce = 10
	// hurry is how near a deadline must be for a drain not to wait for others.
	hurry = 3 * time.Minute
	// writesAtOnce is how many tasks are written to the journal at a time.
	writesAtOnce = 32
	// tidyEvery is how often the nodes are looked through for what drains left.
	tidyEvery = 5 * time.Second
	// keepAcked is how long a finished task is remembered, should it be offered again.
	keepAcked = 24 * time.Hour
	// noDeadline bounds a task that names none.
	noDeadline = 15 * time.Minute
)

// Types are the task types this agent can do.
func Types() []string {
	return []string{"label_node", "taint_node", "cordon_node", "uncordon_node", "drain_node", "scale_workload"}
}

var (
	errCancelled  = errors.New("cancelled by central")
	errSuperseded = errors.New("a more urgent drain of the node took over")
	errReplaced   = errors.New("a newer task for the workload took over")
	errStopping   = errors.New("the agent stops")
	errStopped    = errors.New("a stop holds")
)

// Outbox takes messages for central; it never blocks.
type Outbox interface {
	Control(*agentv1.ConnectRequest)
}

// Config is what a Runner needs.
type Config struct {
	// ClusterID refuses tasks of other clusters.
	ClusterID string
	// Client patches nodes.
	Client kubernetes.Interface
	// Drains moves pods.
	Drains *drain.Executor
	// Fence is asked before each write to the cluster, by Drains too; nil: there
	// is no election.
	Fence drain.Fence
	// Journal remembers tasks.
	Journal *Journal
	// Stop is the one that held when an earlier process was last told; nil: none did.
	Stop *agentv1.SafetyStop
	// Outbox leads to central.
	Outbox Outbox
	// Log gets a line at the start and end of each task.
	Log *slog.Logger
}

// Runner runs tasks, one at a time per node. A drain begins as soon as its node
// is free: it cordons. Ten nodes at once are emptied, and any number of those
// that will be lost soon.
type Runner struct {
	cfg   Config
	wake  chan struct{}
	steps sync.WaitGroup
	turns *drain.Gate
	// writes has a place for each write to the journal that may be under way.
	writes chan struct{}

	mu       sync.Mutex
	tasks    map[string]*task
	arrived  []*task          // not written down yet
	busy     map[string]*task // by node
	left     map[string]bool  // drains of others that could not be taken up
	arrivals int64
	progress time.Duration
	stop     *agentv1.SafetyStop // nil: none holds
}

// task is a Record and what only this process knows of it.
type task struct {
	Record
	job     job
	broken  error // why there is no job
	arrival int64
	until   time.Time // deadline with a monotonic reading
	running bool
	// resumed from an earlier process, which may have begun it: it is not refused
	// but broken off, which undoes what was done.
	resumed bool
	cancel  context.CancelCauseFunc
}

// New makes a Runner that goes on with what the journal holds. Records without
// a result are run by Run; those with one are resent at the next hello.
func New(cfg Config, records []*Record) *Runner {
	if cfg.Drains.Fence == nil {
		cfg.Drains.Fence = cfg.Fence
	}
	r := &Runner{
		cfg: cfg, wake: make(chan struct{}, 1), progress: 10 * time.Second, turns: &drain.Gate{Limit: gentleAtOnce}, writes: make(chan struct{}, writesAtOnce),
		tasks: map[string]*task{}, busy: map[string]*task{}, left: map[string]bool{}, stop: cfg.Stop,
	}
	for _, rec := range records {
		r.add(*rec, rec.Deadline)
	}
	return r
}

// deadlineOf prefers the duration on the wire: it needs no common clock.
func deadlineOf(t *fleetv1.Task) time.Time {
	now := time.Now()
	switch {
	case t.GetRemainingSeconds() > 0:
		return now.Add(time.Duration(t.GetRemainingSeconds() * float64(time.Second)))
	case t.GetDeadline() != nil:
		return t.GetDeadline().AsTime()
	}
	return now.Add(noDeadline)
}

// supersede ends a gentle drain of a node that is now lost anyway, and what is
// still being waited for of a workload that is to be scaled again.
func (r *Runner) supersede(t *task) {
	if _, scales := t.job.(*scaleJob); scales && r.stopped(t) == nil {
		if current := r.busy[t.job.subject()]; current != nil && current.running {
			current.cancel(errReplaced)
		}
		return
	}
	urgent, ok := t.job.(*drainJob)
	if !ok || !urgent.params.GetForce() || r.stopped(t) != nil {
		return
	}
	current := r.busy[t.job.subject()]
	if current == nil || !current.running {
		return
	}
	if gentle, ok := current.job.(*drainJob); ok && !gentle.params.GetForce() {
		current.cancel(errSuperseded)
	}
}

// Cancel stops a task, or makes sure that it never starts.
func (r *Runner) Cancel(c *agentv1.TaskCancel) error {
	if uuid.Validate(c.GetTaskId()) != nil {
		return fmt.Errorf("task_id %q is not a UUID", c.GetTaskId())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t, known := r.tasks[c.GetTaskId()]
	switch {
	case !known:
		t = &task{Record: Record{Task: &fleetv1.Task{
			TaskId: c.GetTaskId(), ClusterId: r.cfg.ClusterID, Attempt: c.GetAttempt(),
		}}}
		r.tasks[c.GetTaskId()] = t
		r.finish(t, outcome{status: "cancelled", err: "cancelled before it arrived: " + c.GetReason()})
	case c.GetAttempt() != 0 && c.GetAttempt() < t.Task.GetAttempt():
		// Meant for an attempt that was taken over.
	case t.Result != nil:
		r.cfg.Outbox.Control(resultMessage(t.Result))
	case t.running:
		t.cancel(fmt.Errorf("%w: %s", errCancelled, c.GetReason()))
	default:
		r.finish(t, outcome{status: "cancelled", err: "cancelled before it started: " + c.GetReason()})
	}
	return nil
}

// Acked notes that central has the result; ids that nobody knows are ignored.
func (r *Runner) Acked(ack *agentv1.ResultAck) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tasks[ack.GetTaskId()]
	if t == nil || t.Result == nil || !t.Acked.IsZero() {
		return
	}
	if !ack.GetAccepted() {
		r.cfg.Log.Warn("central did not take a result", "task_id", ack.GetTaskId())
	}
	t.Acked = time.Now()
	r.write(t)
}

// Running lists the tasks in hand, for hello. What the agent began by itself is
// not in it until central offers it: central would have it abandoned.
func (r *Runner) Running() []*agentv1.RunningTask {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*agentv1.RunningTask
	for id, t := range r.tasks {
		if t.Result == nil && !t.Local {
			out = append(out, &agentv1.RunningTask{TaskId: id, Attempt: t.Task.GetAttempt()})
		}
	}
	return out
}

// Results lists the results that central has not acknowledged.
func (r *Runner) Results() []*fleetv1.TaskResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*fleetv1.TaskResult
	for _, t := range r.tasks {
		if t.Result != nil && t.Acked.IsZero() {
			out = append(out, proto.CloneOf(t.Result))
		}
	}
	return out
}

// SetProgress sets how often running tasks report.
func (r *Runner) SetProgress(every time.Duration) {
	if every <= 0 {
		return
	}
	r.mu.Lock()
	r.progress = every
	r.mu.Unlock()
	r.kick()
}

// Adopt takes up drains that another agent of this cluster began and did not
// end: their record is on the node, their journal was on another disk.
func (r *Runner) Adopt(nodes []*corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, node := range nodes {
		mark, ok := drain.ReadRecord(node)
		if !ok || !mark.Underway() || r.tasks[mark.TaskID] != nil || uuid.Validate(mark.TaskID) != nil {
			continue
		}
		rec, err := adopted(mark, r.cfg.ClusterID)
		if err == nil {
			err = r.cfg.Journal.Put(rec)
		}
		if err != nil {
			if !r.left[mark.TaskID] { // once, not at each look
				r.cfg.Log.Warn("leaving a drain that was begun elsewhere", "node", node.Name, "error", err)
			}
			r.left[mark.TaskID] = true
			continue
		}
		r.cfg.Log.Info("adopting a drain", "node", node.Name, "task_id", mark.TaskID, "deadline", mark.Deadline)
		r.add(*rec, rec.Deadline)
	}
	r.kick()
}

func (r *Runner) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
