package link

import (
	"context"
	"errors"
	"time"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

const (
	// pollAfter is for how long no stream could be opened before central is polled.
	pollAfter = 15 * time.Second
	// pollEvery is how often it is asked for tasks, beatEvery whether there are any.
	pollEvery, beatEvery = 10 * time.Second, 5 * time.Second
)

var errStreamIsBack = errors.New("a stream is open again")

// fallBack polls the documented REST calls whenever no stream can be opened,
// until ctx ends. The stream is tried meanwhile all the same.
func (c *Client) fallBack(ctx context.Context) {
	check := time.NewTicker(time.Second)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.welcome: // of a stream
		case <-check.C:
			if c.downFor() < pollAfter {
				continue
			}
			p := &poller{client: c, rest: newREST(c.cfg.REST, c.cfg.Hello.GetClusterId()), listed: map[string]time.Time{}}
			p.run(ctx)
			p.rest.http.CloseIdleConnections()
		}
	}
}

// poller does over HTTP what a session does over the stream, but for the
// inventory's changes: each report is the whole inventory in their place.
type poller struct {
	client *Client
	rest   *rest
	lanes  *lanes
	// listed are the tasks that central had for us, with their deadlines.
	listed map[string]time.Time
	// failing keeps the log short.
	failing bool
}

// run polls until a stream is welcomed or ctx ends.
func (p *poller) run(parent context.Context) {
	cfg := p.client.cfg
	ctx, abort := context.WithCancelCause(parent)
	defer abort(nil)
	lanes, mine := p.client.lend(ctx, abort)
	if !mine {
		return
	}
	p.lanes = lanes
	cfg.Log.Warn("no stream to central can be opened: polling instead", "for", p.client.downFor().Round(time.Second))
	cfg.Inventory.Connected(false)
	defer p.client.giveBack(lanes)
	carrying := make(chan struct{})
	go func() { defer close(carrying); p.carry(ctx) }()
	defer func() { <-carrying }()
	defer abort(errStreamIsBack)
	p.ask(ctx)
}

// ask looks for tasks and says results and notices until a stream is welcomed.
func (p *poller) ask(ctx context.Context) {
	var changed <-chan struct{}
	if p.client.cfg.Notices != nil {
		changed = p.client.cfg.Notices.Changed()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var listed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.client.welcome:
			p.client.cfg.Log.Info("a stream is open again: polling ends")
			return
		case <-changed:
			p.note(p.notices(ctx))
			continue
		case <-timer.C:
		}
		answer, err := p.rest.heartbeat(ctx, p.client.cfg.Inventory.Status())
		if err == nil {
			p.client.stop(answer.GetStop())
		}
		if err == nil && (answer.GetPendingTasks() > 0 || time.Since(listed) >= pollEvery) {
			listed = time.Now()
			err = p.tasks(ctx)
		}
		err = errors.Join(err, p.notices(ctx), p.results(ctx))
		timer.Reset(max(beatEvery, p.note(err)))
	}
}

// note logs the first failure of a row and returns how long central asks to wait.
func (p *poller) note(err error) time.Duration {
	if err == nil {
		p.failing = false
		return 0
	}
	if !p.failing {
		p.client.cfg.Log.Warn("polling central", "error", err)
	}
	p.failing = true
	var refused *httpError
	if errors.As(err, &refused) {
		return min(refused.after, lastDelay)
	}
	return 0
}

// tasks offers what central lists. What it no longer lists before the deadline
// was cancelled; tasks it never listed are the agent's own.
func (p *poller) tasks(ctx context.Context) error {
	tasks, err := p.rest.tasks(ctx)
	if err != nil {
		return err
	}
	now := map[string]bool{}
	for _, task := range tasks {
		now[task.GetTaskId()] = true
		p.listed[task.GetTaskId()] = time.Now().Add(seconds(task.GetRemainingSeconds()))
		if err := p.client.cfg.Tasks.Offer(task); err != nil {
			p.client.cfg.Log.Warn("not taking a task", "task_id", task.GetTaskId(), "error", err)
		}
	}
	for _, running := range p.client.cfg.Tasks.Running() {
		until, known := p.listed[running.GetTaskId()]
		if !known || now[running.GetTaskId()] || time.Now().After(until) {
			continue
		}
		delete(p.listed, running.GetTaskId())
		err := p.client.cfg.Tasks.Cancel(&agentv1.TaskCancel{TaskId: running.GetTaskId(), Reason: "central does not list it any more"})
		if err != nil {
			p.client.cfg.Log.Warn("stopping a task", "task_id", running.GetTaskId(), "error", err)
		}
	}
	return nil
}

func (p *poller) results(ctx context.Context) error {
	for _, result := range p.client.cfg.Tasks.Results() {
		ack, err := p.rest.result(ctx, result)
		if err != nil {
			return err
		}
		p.client.cfg.Tasks.Acked(ack)
	}
	return nil
}

func (p *poller) notices(ctx context.Context) error {
	if p.client.cfg.Notices == nil {
		return nil
	}
	for _, notice := range p.client.cfg.Notices.Pending() {
		if err := p.rest.notice(ctx, notice); err != nil {
			return err
		}
		p.client.cfg.Notices.Acked(notice.GetNoticeId())
	}
	return nil
}

// carry sends what the other rooms leave in the outbox. Results are in the
// journal, acceptance and progress are in the polling itself, and a report has all
// that changes of the inventory would tell.
func (p *poller) carry(ctx context.Context) {
	for {
		msg, err := p.lanes.next(ctx)
		if err != nil {
			return
		}
		switch kind := msg.GetKind().(type) {
		case *agentv1.ConnectRequest_Metrics:
			p.client.cfg.Inventory.Whole(kind.Metrics)
			err = p.rest.metrics(ctx, kind.Metrics)
		case *agentv1.ConnectRequest_Events:
			err = p.rest.events(ctx, kind.Events.GetEvents())
		case *agentv1.ConnectRequest_TaskResult:
			var ack *agentv1.ResultAck
			if ack, err = p.rest.result(ctx, kind.TaskResult); err == nil {
				p.client.cfg.Tasks.Acked(ack)
			}
		}
		if err != nil && ctx.Err() == nil {
			p.client.cfg.Log.Debug("sending over HTTP", "error", err)
		}
	}
}

// lend gives the outbox to who polls, unless a session has it.
func (c *Client) lend(ctx context.Context, abort context.CancelCauseFunc) (*lanes, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		return nil, false
	}
	select {
	case <-c.welcome: // of a session that has ended
	default:
	}
	return c.cfg.Outbox.open(ctx, abort), true
}

// giveBack ends lend; a session that took the outbox meanwhile keeps it.
func (c *Client) giveBack(l *lanes) {
	c.mu.Lock()
	free := c.current == nil
	c.mu.Unlock()
	c.cfg.Outbox.close(l)
	if free {
		c.cfg.Inventory.Disconnected()
	}
}
