// Package drain moves the pods off a node through the eviction API.
//
// It is not kubectl's library: that one gives a pod up at the first 503, may
// evict the replacement of a pod that went, waits by one GET per pod and second,
// and cannot be resumed or asked how far it is.
package drain

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// Watch signals when a pod of the node, or the node, may have changed.
	Watch(node string) (changed <-chan struct{}, stop func())
}

// Executor drains nodes.
type Executor struct {
	// Client evicts and patches; give it a rate limit of its own.
	Client kubernetes.Interface
	// View is where pods are watched.
	View View
	// Log gets one line a drain, not one a pod.
	Log *slog.Logger
}

// Request is one drain.
type Request struct {
	// TaskID marks the node, so that a restarted agent takes the drain up again.
	TaskID string
	// Attempt is the task's attempt.
	Attempt int32
	// Priority is the task's priority.
	Priority int32
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

// Drain is one drain under way. Run it once; Report may be called at any time.
type Drain struct {
	exec *Executor
	req  Request
	log  *slog.Logger

	nodeUID  types.UID
	record   Record
	started  time.Time
	parallel int
	pause    time.Time // no calls before this: the API server asked for rest
	calls    int       // in flight
	answers  chan answer
	nodeGone bool
	looked   bool // the pods that come from now on are late
	// vetoed: somebody undid the cordon after the informers had shown it.
	cordonSeen, vetoed bool
	confirm            time.Time // next live look at a node that seems empty

	mu     sync.Mutex // guards pods, phase for Report
	pods   map[types.UID]*podState
	order  []*podState
	phase  string
	cordon bool // this drain made the node's cordon
}

// New prepares a drain; nothing is touched before Run.
func (e *Executor) New(req Request) *Drain {
	return &Drain{
		exec: e, req: req,
		log:      e.Log.With("task_id", req.TaskID, "node", req.Parameters.GetNodeName()),
		parallel: maxParallel,
		answers:  make(chan answer, maxParallel),
		pods:     map[types.UID]*podState{},
		phase:    "draining",
	}
}

// Run drains the node. It returns an error only when ctx ended first: the node
// then keeps its cordon and its record, for whoever resumes or Closes.
func (d *Drain) Run(ctx context.Context) (Outcome, error) {
	if out, err := d.begin(ctx); out != nil || err != nil {
		return deref(out), err
	}
	changed, stop := d.exec.View.Watch(d.node())
	defer stop()
	defer d.awaitCalls()
	for {
		now := time.Now()
		d.refresh(now)
		if out := d.ended(ctx, now); out != nil {
			return *out, nil
		}
		d.launch(ctx, now)
		timer := time.NewTimer(d.untilNext(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return Outcome{}, context.Cause(ctx)
		case <-changed:
		case ans := <-d.answers:
			d.settle(ans, time.Now())
		case <-timer.C:
		}
		timer.Stop()
	}
}

// begin finds, checks and cordons the node. A nil outcome means: go on.
func (d *Drain) begin(ctx context.Context) (*Outcome, error) {
	backoff := callBackoff{}
	for {
		out, err := d.tryBegin(ctx)
		if err == nil {
			return out, nil
		}
		if !Transient(err) {
			return &Outcome{Status: Failed, Error: err.Error()}, nil
		}
		if !time.Now().Before(d.req.Deadline) {
			return &Outcome{Status: Timeout, Error: fmt.Sprintf("deadline passed before the node was cordoned: %v", err)}, nil
		}
		wait := time.NewTimer(min(backoff.next(), time.Until(d.req.Deadline)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, context.Cause(ctx)
		case <-wait.C:
		}
	}
}

func (d *Drain) tryBegin(ctx context.Context) (*Outcome, error) {
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := d.exec.Client.CoreV1().Nodes().Get(callCtx, d.node(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return d.endNodeGone("the node does not exist"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading node %s: %w", d.node(), err)
	}
	if err := CheckInstance(node, d.req.Parameters.GetInstanceId()); err != nil {
		return nil, err
	}
	if mark, _ := ReadRecord(node); mark.TaskID != d.req.TaskID && !time.Now().Before(d.req.Deadline) {
		return &Outcome{Status: Timeout, Error: "the deadline had passed before the drain began; nothing was touched"}, nil
	}
	d.nodeUID = node.UID
	d.resume(node)
	if err := d.markStarted(callCtx, node); err != nil {
		return nil, fmt.Errorf("cordoning node %s: %w", d.node(), err)
	}
	return nil, nil
}

// resume takes over what an earlier run of the same task wrote on the node.
func (d *Drain) resume(node *corev1.Node) {
	d.started = time.Now()
	d.cordon = !node.Spec.Unschedulable || node.Annotations[CordonedByAnnotation] == d.req.TaskID
	if old, ok := ReadRecord(node); ok && old.TaskID == d.req.TaskID {
		d.started = old.Started
		d.req.Note("resumed the drain begun at %s", old.Started.UTC().Format(time.RFC3339))
	}
	d.record = Record{
		TaskID: d.req.TaskID, Attempt: d.req.Attempt, Priority: d.req.Priority,
		Phase: "draining", Started: d.started, Deadline: d.req.Deadline,
		Parameters: encodeParameters(d.req.Parameters),
	}
}

func (d *Drain) endNodeGone(why string) *Outcome {
	d.nodeGone = true
	d.setPhase("node_gone")
	d.req.Note("node %s is gone: %s", d.node(), why)
	return &Outcome{Status: Success}
}

func (d *Drain) node() string { return d.req.Parameters.GetNodeName() }

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
