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
	control chan *agentv1.ConnectRequest
	bulk    chan *agentv1.ConnectRequest
	metrics chan *agentv1.ConnectRequest
	done    <-chan struct{}
	abort   context.CancelCauseFunc
}

func (o *Outbox) open(ctx context.Context, abort context.CancelCauseFunc) *lanes {
	l := &lanes{
		control: make(chan *agentv1.ConnectRequest, controlRoom),
		bulk:    make(chan *agentv1.ConnectRequest, bulkRoom),
		metrics: make(chan *agentv1.ConnectRequest, 1),
		done:    ctx.Done(), abort: abort,
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lanes = l
	return l
}

func (o *Outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lanes = nil
}

func (o *Outbox) current() *lanes {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lanes
}

// Control sends an answer, progress or a result. It never blocks: when the
// lane is full the session ends, as the next hello repeats what matters.
func (o *Outbox) Control(msg *agentv1.ConnectRequest) {
	l := o.current()
	if l == nil {
		return
	}
	select {
	case l.control <- msg:
	default:
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
	o.mu.Lock() // one writer at a time, or the new one may find the slot taken
	defer o.mu.Unlock()
	if o.lanes == nil {
		return
	}
	select {
	case <-o.lanes.metrics:
	default:
	}
	o.lanes.metrics <- msg
}

// Connected says whether a session is open.
func (o *Outbox) Connected() bool { return o.current() != nil }

// next takes the most urgent message.
func (l *lanes) next(ctx context.Context) (*agentv1.ConnectRequest, error) {
	select {
	case msg := <-l.control:
		return msg, nil
	default:
	}
	select {
	case msg := <-l.bulk:
		return msg, nil
	default:
	}
	select {
	case msg := <-l.control:
		return msg, nil
	case msg := <-l.bulk:
		return msg, nil
	case msg := <-l.metrics:
		return msg, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
