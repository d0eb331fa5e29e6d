// Package link is the one line to central: a stream that is opened again
// whenever it ends, and the documented REST calls while none can be opened.
package link

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// Protocol is the version of the stream's rules that this agent speaks.
const Protocol = 1

// Keepalive are the dial options for the line: pings find a dead path that TCP
// would hold open for minutes, and keep load balancers from forgetting it.
func Keepalive() []grpc.DialOption { return rpc.Keepalive() }

// Tasks is what the line needs of the room that runs tasks.
type Tasks interface {
	Offer(*fleetv1.Task) error
	Cancel(*agentv1.TaskCancel) error
	Acked(*agentv1.ResultAck)
	Running() []*agentv1.RunningTask
	Results() []*fleetv1.TaskResult
	SetProgress(every time.Duration)
}

// Inventory is what the line needs of the room that watches the cluster.
type Inventory interface {
	// Sequence is the last one that central acknowledged, 0 for none.
	Sequence() int64
	// Connected opens a session; resync asks for everything anew.
	Connected(resync bool)
	// Disconnected ends it.
	Disconnected()
	// Acked says that central has everything up to a sequence.
	Acked(sequence int64)
	// Resync asks for everything anew.
	Resync(reason string)
	// SetIntervals says how often to report.
	SetIntervals(metrics, inventory time.Duration)
	// Status is healthy, degraded or unhealthy.
	Status() string
	// Whole makes a report the whole inventory, for when no stream carries it.
	Whole(report *fleetv1.ClusterMetrics)
}

// Notices are what instances said of themselves and central has not acknowledged.
type Notices interface {
	Pending() []*fleetv1.NodeNotice
	Acked(noticeID string)
	// Changed gets a value when there is a new one.
	Changed() <-chan struct{}
}

// Policy keeps what the agent is to do by itself about a notice.
type Policy interface {
	SetPolicy(*agentv1.InterruptionPolicy)
}

// Stops takes the stop that holds; nil: none does.
type Stops interface {
	SetStop(*agentv1.SafetyStop)
}

// Config is what a Client needs.
type Config struct {
	// Dial makes a connection; called for each session, so that a new key or
	// address counts at once.
	Dial func() (*grpc.ClientConn, error)
	// Hello is sent first; running tasks and the inventory's sequence are filled in.
	Hello *agentv1.Hello
	// Outbox is where messages for central wait.
	Outbox *Outbox
	// Tasks and Inventory take what central says.
	Tasks     Tasks
	Inventory Inventory
	// Notices may be nil: there are none.
	Notices Notices
	// Policy may be nil: what central says of notices is not kept.
	Policy Policy
	// Stops may be nil: nobody obeys a stop.
	Stops Stops
	// LeaderEpoch is the lease's by which this agent leads; nil: it stands for no election.
	LeaderEpoch func() int64
	// REST is where to ask while no stream can be opened; nil: nowhere.
	REST *REST
	// Log gets a line when a session opens and ends.
	Log *slog.Logger
}

// Client keeps the line open.
type Client struct {
	cfg Config

	mu sync.Mutex
	// current is the session that has the outbox; nil: none was welcomed, or it ended.
	current *session
	// down is since when there is none.
	down time.Time
	// spread is over how long central wants its agents to return when it is lost.
	spread time.Duration
	// welcome gets a value at every welcome.
	welcome chan struct{}
}

// New makes a Client.
func New(cfg Config) *Client {
	return &Client{cfg: cfg, spread: firstDelay, welcome: make(chan struct{}, 1)}
}

// Run opens session after session until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	connected.Add(ctx, 0) // the metric is there before the first session is
	c.setDown()
	var polling sync.WaitGroup
	if c.cfg.REST != nil {
		polling.Go(func() { c.fallBack(ctx) })
	}
	defer polling.Wait()
	wait := backoff{spread: c.spreadNow}
	now := c.open(ctx)
	for {
		select {
		case away := <-now.away:
			now = c.move(ctx, now, away)
		case <-now.done:
			if ctx.Err() != nil {
				return nil
			}
			delay := wait.next(now.err, now.lived())
			c.cfg.Log.Warn("the session with central ended", "error", now.err, "lived", now.lived().Round(time.Millisecond),
				"reconnect_in", delay.Round(time.Millisecond))
			if !pause(ctx, delay, nil) {
				return nil
			}
			now = c.open(ctx)
		}
	}
}

// pause waits; false: ctx or until ended first.
func pause(ctx context.Context, d time.Duration, until <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-until:
	case <-ctx.Done():
	}
	return false
}

// open begins a session; it goes on in the background until done.
func (c *Client) open(ctx context.Context) *session {
	ctx, abort := context.WithCancelCause(ctx)
	s := &session{
		client: c, abort: abort, beat: make(chan time.Duration, 1), away: make(chan *goAway, 1),
		greeted: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		defer abort(nil)
		conn, err := c.cfg.Dial()
		if err != nil {
			s.err = fmt.Errorf("dialling central: %w", err)
			return
		}
		defer func() { _ = conn.Close() }() // nothing is left to say on it
		s.err = s.run(ctx, agentv1.NewAgentServiceClient(conn))
		s.ended = time.Now()
	}()
	return s
}

// move opens a session in the place of one that central asked to leave, which
// goes on until the new one is welcomed. It returns the one to go on with.
func (c *Client) move(ctx context.Context, old *session, away *goAway) *session {
	c.cfg.Log.Info("central asks to connect anew", "reason", away.reason, "after", away.after)
	wait := backoff{spread: func() time.Duration { return firstDelay }}
	for delay := awayDelay(away); ; {
		if !pause(ctx, delay, old.done) {
			return old
		}
		next := c.open(ctx)
		select {
		case <-next.greeted:
			old.abort(errMoved)
			<-old.done
			return next
		case <-old.done:
			return next
		case <-next.done:
			delay = wait.next(next.err, 0)
		}
	}
}

// take makes a session that was welcomed the one that has the outbox.
func (c *Client) take(ctx context.Context, s *session) *lanes {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.down = s, time.Time{}
	signal(c.welcome)
	return c.cfg.Outbox.open(ctx, s.abort)
}

// leave tells the rooms that a session ended, unless a newer one took its place.
func (c *Client) leave(s *session) {
	c.mu.Lock()
	mine := c.current == s
	if mine {
		c.current = nil
	}
	c.mu.Unlock()
	c.cfg.Outbox.close(s.lanes)
	if mine {
		c.cfg.Inventory.Disconnected()
		c.setDown()
	}
}

// stop passes on what central says of stops: unset is none.
func (c *Client) stop(stop *agentv1.SafetyStop) {
	if c.cfg.Stops != nil {
		c.cfg.Stops.SetStop(stop)
	}
}

func (c *Client) setDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = time.Now()
}

// downFor is for how long there has been no session, 0 while there is one.
func (c *Client) downFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down.IsZero() {
		return 0
	}
	return time.Since(c.down)
}

func (c *Client) setSpread(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spread = min(max(d, firstDelay), lastDelay)
}

func (c *Client) spreadNow() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spread
}
