// Package link is the one line to central: a stream that is opened again
// whenever it ends.
package link

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Protocol is the version of the stream's rules that this agent speaks.
const Protocol = 1

// Keepalive are the dial options for the line: pings find a dead path that TCP
// would hold open for minutes, and keep load balancers from forgetting it.
func Keepalive() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{
		Time: 20 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
	})}
}

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
	// Log gets a line when a session opens and ends.
	Log *slog.Logger
}

// Client keeps the line open.
type Client struct {
	cfg Config
}

// New makes a Client.
func New(cfg Config) *Client { return &Client{cfg: cfg} }

// Run opens session after session until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	connected.Add(ctx, 0) // the metric is there before the first session is
	var wait backoff
	for {
		lived, err := c.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		delay := wait.next(err, lived)
		c.cfg.Log.Warn("the session with central ended", "error", err, "lived", lived.Round(time.Millisecond),
			"reconnect_in", delay.Round(time.Millisecond))
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// connect is one session from dial to end. lived counts from the welcome.
func (c *Client) connect(ctx context.Context) (lived time.Duration, err error) {
	conn, err := c.cfg.Dial()
	if err != nil {
		return 0, fmt.Errorf("dialling central: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to say on it
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{client: c, abort: cancel, beat: make(chan time.Duration, 1)}
	err = s.run(ctx, agentv1.NewAgentServiceClient(conn))
	if !s.welcomed.IsZero() {
		lived = time.Since(s.welcomed)
	}
	return lived, err
}
