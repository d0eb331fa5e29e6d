package link

import (
	"context"
	"errors"
	"sync"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

const (
	controlRoom = 1024
	bulkRoom    = 4
)

// ErrNoSession means that central is not connected, or left meanwhile.
var ErrNoSession = errors.New("no session with central")

var errOverflow = errors.New("central reads too slowly: the control lane is full")

// Outbox is where the other rooms leave messages for central: control before
// bulk before metrics. It keeps nothing over a reconnect: results are in the
// journal, the inventory is compared again, metrics are stale by then.
type Outbox struct {
	mu    sync.Mutex
	lanes *lanes
}

// lanes are the queues of one session.
type lanes struct {
	bulk  chan *agentv1.ConnectRequest
	done  <-chan struct{}
	abort context.CancelCauseFunc
	// ready gets a value when control or metrics has one, room when control has less.
	ready, room chan struct{}

	mu      sync.Mutex
	control []waiting
	metrics *agentv1.ConnectRequest
}

// waiting is a message; a newer one of the same key takes its place.
type waiting struct {
	key string
	msg *agentv1.ConnectRequest
}

func (o *Outbox) open(ctx context.Context, abort context.CancelCauseFunc) *lanes {
	l := &lanes{
		bulk: make(chan *agentv1.ConnectRequest, bulkRoom),
		done: ctx.Done(), abort: abort, ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lanes = l
	return l
}

// close ends lanes, unless newer ones took their place.
func (o *Outbox) close(l *lanes) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lanes == l {
		o.lanes = nil
	}
}

func (o *Outbox) current() *lanes {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lanes
}

// Control sends an answer, progress or a result. It never blocks: when the
// lane is full the session ends, as the next hello repeats what matters.
func (o *Outbox) Control(msg *agentv1.ConnectRequest) {
	if l := o.current(); l != nil && !l.put(msg) {
		l.abort(errOverflow)
	}
}

// Bulk sends inventory or events; it blocks while central is slow to read, so
// that a big cluster is not held in memory twice.
func (o *Outbox) Bulk(ctx context.Context, msg *agentv1.ConnectRequest) error {
	l := o.current()
	if l == nil {
		return ErrNoSession
	}
	select {
	case l.bulk <- msg:
		return nil
	case <-l.done:
		return ErrNoSession
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Metrics sends a report in place of one that was not sent yet.
func (o *Outbox) Metrics(msg *agentv1.ConnectRequest) {
	l := o.current()
	if l == nil {
		return
	}
	l.mu.Lock()
	l.metrics = msg
	l.mu.Unlock()
	signal(l.ready)
}

// Connected says whether a session is open.
func (o *Outbox) Connected() bool { return o.current() != nil }

// put queues a control message, in the place of an older one of its key; false: no room.
func (l *lanes) put(msg *agentv1.ConnectRequest) bool {
	key := controlKey(msg)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.control {
		if key != "" && l.control[i].key == key {
			l.control[i].msg = msg
			return true
		}
	}
	if len(l.control) >= controlRoom {
		return false
	}
	l.control = append(l.control, waiting{key, msg})
	signal(l.ready)
	return true
}

// wait is put for those who can wait for room.
func (l *lanes) wait(msg *agentv1.ConnectRequest) error {
	for !l.put(msg) {
		select {
		case <-l.room:
		case <-l.done:
			return ErrNoSession
		}
	}
	return nil
}

// controlKey is the same for messages of which only the newest counts.
func controlKey(msg *agentv1.ConnectRequest) string {
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectRequest_Heartbeat:
		return "heartbeat"
	case *agentv1.ConnectRequest_TaskProgress:
		return "progress " + kind.TaskProgress.GetTaskId()
	case *agentv1.ConnectRequest_TaskAccepted:
		return "accepted " + kind.TaskAccepted.GetTaskId()
	case *agentv1.ConnectRequest_TaskResult:
		return "result " + kind.TaskResult.GetTaskId()
	case *agentv1.ConnectRequest_NodeNotice:
		return "notice " + kind.NodeNotice.GetNoticeId()
	default:
		return ""
	}
}

// next takes the most urgent message.
func (l *lanes) next(ctx context.Context) (*agentv1.ConnectRequest, error) {
	for {
		if msg := l.takeControl(); msg != nil {
			return msg, nil
		}
		select {
		case msg := <-l.bulk:
			return msg, nil
		default:
		}
		if msg := l.takeMetrics(); msg != nil {
			return msg, nil
		}
		select {
		case <-l.ready:
		case msg := <-l.bulk:
			// What became urgent meanwhile waits for this one message at the most.
			return msg, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *lanes) takeControl() *agentv1.ConnectRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.control) == 0 {
		return nil
	}
	first := l.control[0].msg
	l.control[0] = waiting{}
	if l.control = l.control[1:]; len(l.control) == 0 {
		l.control = nil
	}
	signal(l.room)
	return first
}

func (l *lanes) takeMetrics() *agentv1.ConnectRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	msg := l.metrics
	l.metrics = nil
	return msg
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
