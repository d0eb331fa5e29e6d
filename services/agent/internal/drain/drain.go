// Package drain moves the pods off a node through the eviction API.
//
// It is not kubectl's library: that one gives a pod up at the first 503, may
// evict the replacement of a pod that went, waits by one GET per pod and second,
// and cannot be resumed or asked how far it is.
package drain

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// How a drain ends, as TaskResult.status says it.
const (
	Success = "success"
	Failed  = "failed"
	Timeout = "timeout"
)

// View is the cluster as the informers see it; asking it costs no API call.
type View interface {
	// PodsOn returns the pods bound to a node, finished ones included.
	PodsOn(node string) []*corev1.Pod
	// Node returns a node, or false when there is none of that name.
	Node(name string) (*corev1.Node, bool)
	// Nodes returns all nodes.
	Nodes() []*corev1.Node
	// Watch signals when a pod or volume of the node, or the node, may have changed.
	Watch(node string) (changed <-chan struct{}, stop func())
	Volumes
}

// Volumes says what is attached where.
type Volumes interface {
	// Attached names the volumes attached to a node, without those of some pods.
	// An error means that it cannot be known.
	Attached(node string, except []*corev1.Pod) ([]string, error)
	// Local tells whether one of the pod's volumes is on the node itself.
	Local(pod *corev1.Pod) bool
}

// Fence says whether this process may still write to the cluster.
type Fence interface {
	// Held is false as soon as another process might lead.
	Held() bool
	// Epoch counts leaders; 0 where there is no election.
	Epoch() int64
}

const (
	// callsAtOnce is how many eviction calls of all drains are in flight.
	callsAtOnce = 100
	// marksAtOnce is how many nodes are cordoned at a time.
	marksAtOnce = 50
	// cordonsFirst is how long evictions wait at the most, and a twentieth of the
	// drain's time, while nodes are being cordoned: a pod that moves onto a node
	// which is next would move twice.
	cordonsFirst = 5 * time.Second
)

// Executor drains nodes. Its fields do not change after the first drain.
type Executor struct {
	// Client evicts; give it a rate limit of its own.
	Client kubernetes.Interface
	// Marks cordons, with a rate limit of its own: the cordons of a mass
	// interruption must not queue behind evictions. nil: Client does.
	Marks kubernetes.Interface
	// View is where pods are watched.
	View View
	// Fence is asked before each write; nil: nobody else leads.
	Fence Fence
	// Self is the agent's own pod, which is never evicted; it may be empty.
	Self types.NamespacedName
	// Log gets one line a drain, not one a pod.
	Log *slog.Logger

	once    sync.Once
	calls   *Gate
	marks   *Gate
	marking latch // drains that have not cordoned yet
	events  announcer
}

// Request is one drain.
type Request struct {
	// TaskID marks the node, so that a restarted agent takes the drain up again.
	TaskID string
	// Attempt is the task's attempt.
	Attempt int32
	// Priority is the task's priority.
	Priority int32
	// Local says that the agent decided it, and central may not know.
	Local bool
	// Cause is the task's cause.
	Cause string
	// Parameters as central sent them.
	Parameters *fleetv1.DrainNodeParameters
	// Deadline ends the drain; it carries a monotonic reading where possible.
	Deadline time.Time
	// Note is called with each line worth keeping in the result's logs.
	Note func(format string, args ...any)
}

// Outcome is how a drain ended.
type Outcome struct {
	// Status is success, failed or timeout.
	Status string
	// Error says why it is not success.
	Error string
}

// Drain is one drain under way. Mark it, then Run it, once; Report and Hurry may
// be called at any time.
type Drain struct {
	exec *Executor
	req  Request
	log  *slog.Logger

	node     *corev1.Node // as it was when it was marked
	record   Record
	marked   bool
	fresh    bool     // marked by this run, not an earlier one
	markEnd  *Outcome // the drain was over before it began
	tries    int      // of marking
	started  time.Time
	parallel int
	pause    time.Time // no evictions before this: the API server asked for rest
	calls    int       // in flight
	answers  chan answer
	hurried  chan struct{}
	nodeGone bool
	kubelet  kubelet
	looked   bool // the pods that come from now on are late
	// vetoed: somebody undid the cordon after the informers had shown it.
	cordonSeen, vetoed bool
	confirmEmpty       time.Time // next live look at a node that seems empty
	confirmGone        time.Time // or gone
	detachBy           time.Time // volumes are waited for until then
	told               int       // events about pods

	mu       sync.Mutex // guards what Report and Hurry need: pods, phase and the following
	pods     map[types.UID]*podState
	order    []*podState
	phase    string
	attached []string
	cordoned time.Time
	evicted  time.Time // the first one
	earlier  time.Time // a deadline that Hurry brought
}

// New prepares a drain; nothing is touched before Mark or Run.
func (e *Executor) New(req Request) *Drain {
	e.once.Do(func() { e.calls, e.marks = &Gate{Limit: callsAtOnce}, &Gate{Limit: marksAtOnce} })
	return &Drain{
		exec: e, req: req,
		log:      e.Log.With("task_id", req.TaskID, "node", req.Parameters.GetNodeName()),
		parallel: maxParallel,
		answers:  make(chan answer, maxParallel),
		hurried:  make(chan struct{}, 1),
		pods:     map[types.UID]*podState{},
		phase:    "draining",
	}
}

func (e *Executor) leading() bool { return e.Fence == nil || e.Fence.Held() }

func (e *Executor) epoch() int64 {
	if e.Fence == nil {
		return 0
	}
	return e.Fence.Epoch()
}

func (e *Executor) marker() kubernetes.Interface {
	if e.Marks != nil {
		return e.Marks
	}
	return e.Client
}

// Run drains the node. It returns an error only when ctx ended first: the node
// then keeps its cordon and its record, for whoever resumes or Closes.
func (d *Drain) Run(ctx context.Context) (Outcome, error) {
	if out, err := d.Mark(ctx); out != nil || err != nil {
		return deref(out), err
	}
	d.exec.marking.wait(ctx, min(cordonsFirst, time.Until(d.req.Deadline)/20))
	d.tellStart()
	changed, stop := d.exec.View.Watch(d.name())
	defer stop()
	calls, abandon := context.WithCancel(ctx)
	defer d.awaitCalls()
	defer abandon()
	for {
		now := time.Now()
		// Without the lease another process may be draining: nothing is decided
		// here until this one is told to stop.
		if d.exec.leading() && ctx.Err() == nil {
			d.takeHurry()
			d.refresh(now)
			if out := d.ended(ctx, now); out != nil {
				return *out, nil
			}
			d.launch(calls, now)
		}
		timer := time.NewTimer(d.untilNext(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return Outcome{}, context.Cause(ctx)
		case <-changed:
		case <-d.hurried:
		case ans := <-d.answers:
			d.settle(ans, time.Now())
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Hurry moves the deadline up; a later one changes nothing.
func (d *Drain) Hurry(deadline time.Time) {
	d.mu.Lock()
	if d.earlier.IsZero() || deadline.Before(d.earlier) {
		d.earlier = deadline
	}
	d.mu.Unlock()
	select {
	case d.hurried <- struct{}{}:
	default:
	}
}

func (d *Drain) takeHurry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.earlier.IsZero() && d.earlier.Before(d.req.Deadline) {
		d.req.Deadline = d.earlier
	}
}

func (d *Drain) endNodeGone(why string) *Outcome {
	d.nodeGone = true
	d.setPhase("node_gone")
	d.req.Note("node %s is gone: %s", d.name(), why)
	return &Outcome{Status: Success}
}

func (d *Drain) name() string { return d.req.Parameters.GetNodeName() }

func (d *Drain) force() bool { return d.req.Parameters.GetForce() }

func (d *Drain) rank() Rank { return Rank{Deadline: d.req.Deadline, Priority: d.req.Priority} }

func (d *Drain) setPhase(phase string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase = phase
}

// awaitCalls lets calls in flight end, so that none outlives the drain.
func (d *Drain) awaitCalls() {
	for d.calls > 0 {
		<-d.answers
		d.calls--
	}
}

func deref(out *Outcome) Outcome {
	if out == nil {
		return Outcome{}
	}
	return *out
}
