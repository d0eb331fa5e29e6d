package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// central is the other end of the line. Each session runs play, with its number
// from 1.
type central struct {
	agentv1.UnimplementedAgentServiceServer
	play func(session int, s *served) error

	mu       sync.Mutex
	sessions []time.Time
	heard    []*agentv1.ConnectRequest
}

type served struct {
	agentv1.AgentService_ConnectServer
	central *central
	hello   *agentv1.Hello
}

func (c *central) Connect(str agentv1.AgentService_ConnectServer) error {
	first, err := str.Recv()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.sessions = append(c.sessions, time.Now())
	n := len(c.sessions)
	c.mu.Unlock()
	return c.play(n, &served{str, c, first.GetHello()})
}

func (s *served) welcome(w *agentv1.Welcome) {
	if w.GetSettings() == nil {
		w.Settings = &agentv1.Settings{HeartbeatSeconds: 10, MetricsSeconds: 30, ProgressSeconds: 5, InventorySeconds: 1}
	}
	s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Welcome{Welcome: w}})
}

func (s *served) say(m *agentv1.ConnectResponse) { _ = s.Send(m) }

// listen keeps what the agent says until the stream ends; answer may reply.
func (s *served) listen(answer func(*agentv1.ConnectRequest)) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return nil
		}
		s.central.mu.Lock()
		s.central.heard = append(s.central.heard, m)
		s.central.mu.Unlock()
		if answer != nil {
			answer(m)
		}
	}
}

// beating answers heartbeats.
func (s *served) beating() error {
	return s.listen(func(m *agentv1.ConnectRequest) {
		if m.GetHeartbeat() != nil {
			s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{}}})
		}
	})
}

func (c *central) count(is func(*agentv1.ConnectRequest) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, m := range c.heard {
		if is(m) {
			n++
		}
	}
	return n
}

func (c *central) times() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sessions)
}

// rooms are the tasks and the inventory behind the line.
type rooms struct {
	mu        sync.Mutex
	results   map[string]*fleetv1.TaskResult
	offered   []string
	cancelled []string
	said      []string
	offerErr  error
	progress  time.Duration
}

func (r *rooms) note(what string) { r.mu.Lock(); defer r.mu.Unlock(); r.said = append(r.said, what) }
func (r *rooms) Offer(t *fleetv1.Task) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offered = append(r.offered, t.GetTaskId())
	return r.offerErr
}

func (r *rooms) Cancel(c *agentv1.TaskCancel) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancelled = append(r.cancelled, c.GetTaskId())
	return nil
}

func (r *rooms) Acked(a *agentv1.ResultAck) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.results, a.GetTaskId())
}

func (r *rooms) Running() []*agentv1.RunningTask {
	return []*agentv1.RunningTask{{TaskId: "running", Attempt: 2}}
}

func (r *rooms) Results() (out []*fleetv1.TaskResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, res := range r.results {
		out = append(out, proto.CloneOf(res))
	}
	return out
}

func (r *rooms) SetProgress(d time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.progress = d }
func (r *rooms) Sequence() int64             { return 42 }
func (r *rooms) Connected(resync bool) {
	r.note("connected" + map[bool]string{true: " resync"}[resync])
}
func (r *rooms) Disconnected()        { r.note("disconnected") }
func (r *rooms) Resync(reason string) { r.note("resync " + reason) }
func (r *rooms) SetIntervals(metrics, inv time.Duration) {
	r.note("every " + metrics.String() + " " + inv.String())
}
func (r *rooms) Status() string { return "healthy" }

type inventory struct{ *rooms }

func (i inventory) Acked(int64) { i.note("inventory acked") }

func (i inventory) Whole(m *fleetv1.ClusterMetrics) { m.Complete = true; i.note("whole") }

// line runs a client against c until the test's bubble is done; change may add to
// its configuration.
func line(t *testing.T, c *central, r *rooms, change ...func(*Config)) *Outbox {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: rpc.PingMinTime, PermitWithoutStream: true}))
	agentv1.RegisterAgentServiceServer(srv, c)
	go func() { _ = srv.Serve(lis) }()
	out := &Outbox{}
	cfg := Config{
		Dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///central", append(Keepalive(),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
				grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		},
		Hello:  &agentv1.Hello{ClusterId: "cluster", AgentId: "a", AgentEpoch: 7, TaskTypes: []string{"drain_node"}},
		Outbox: out, Tasks: r, Inventory: inventory{r}, Log: slog.New(slog.DiscardHandler),
	}
	for _, one := range change {
		one(&cfg)
	}
	client := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Stop()
		_ = lis.Close()
	})
	return out
}

func wait(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestHelloSaysWhoIsThereAndWhatIsInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hello *agentv1.Hello
		c := &central{play: func(_ int, s *served) error {
			hello = s.hello
			s.welcome(&agentv1.Welcome{NeedInventory: true, AbandonTaskIds: []string{"unwanted"}})
			return s.beating()
		}}
		r := &rooms{}
		line(t, c, r)
		wait(time.Second)
		want := &agentv1.Hello{
			Protocol: 1, ClusterId: "cluster", AgentId: "a", AgentEpoch: 7, TaskTypes: []string{"drain_node"},
			Running: []*agentv1.RunningTask{{TaskId: "running", Attempt: 2}}, InventorySequence: 42,
		}
		if !proto.Equal(hello, want) {
			t.Fatalf("hello %v", hello)
		}
		if diff := cmp.Diff([]string{"every 30s 1s", "connected resync"}, r.said); diff != "" {
			t.Fatal(diff)
		}
		if r.progress != 5*time.Second || !slices.Equal(r.cancelled, []string{"unwanted"}) {
			t.Fatalf("progress every %s, cancelled %v", r.progress, r.cancelled)
		}
	})
}

func TestF28ResultIsSentAtEveryHelloUntilItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		isResult := func(m *agentv1.ConnectRequest) bool { return m.GetTaskResult().GetTaskId() == "done" }
		c := &central{}
		c.play = func(session int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			if session <= 3 { // dies with the result in hand, three times
				m, err := s.Recv()
				if err == nil {
					c.mu.Lock()
					c.heard = append(c.heard, m)
					c.mu.Unlock()
				}
				return status.Error(codes.Unavailable, "replica lost")
			}
			return s.listen(func(m *agentv1.ConnectRequest) {
				switch {
				case isResult(m):
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_ResultAck{
						ResultAck: &agentv1.ResultAck{TaskId: "done", Accepted: true},
					}})
				case m.GetHeartbeat() != nil && session == 4:
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{Reason: "age"}}})
				case m.GetHeartbeat() != nil:
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{}}})
				}
			})
		}
		r := &rooms{results: map[string]*fleetv1.TaskResult{"done": {TaskId: "done", Status: "success"}}}
		line(t, c, r)
		wait(3 * time.Minute)
		if n := len(c.times()); n != 5 {
			t.Fatalf("%d sessions", n)
		}
		if n := c.count(isResult); n != 4 {
			t.Fatalf("the result was sent %d times, want 4: once a session until the ack", n)
		}
	})
}

func TestF41UnknownKindIsAnsweredAndTheSessionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(_ int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			future := &agentv1.ConnectResponse{Sequence: 77}
			future.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "new"))
			s.say(future)
			s.say(&agentv1.ConnectResponse{Sequence: 78, Kind: &agentv1.ConnectResponse_Task{Task: &fleetv1.Task{TaskId: "t"}}})
			return s.beating()
		}}
		r := &rooms{offerErr: errors.New("not ours")}
		line(t, c, r)
		wait(time.Minute)
		for _, sequence := range []int64{77, 78} {
			if c.count(func(m *agentv1.ConnectRequest) bool { return m.GetUnsupported().GetSequence() == sequence }) != 1 {
				t.Fatalf("message %d was not answered", sequence)
			}
		}
		if len(c.times()) != 1 || !slices.Equal(r.offered, []string{"t"}) {
			t.Fatalf("%d sessions, offered %v", len(c.times()), r.offered)
		}
	})
}

func TestF29SilentCentralIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(session int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			if session == 1 {
				return s.listen(nil) // reads, never answers
			}
			return s.beating()
		}}
		r := &rooms{}
		line(t, c, r)
		wait(39 * time.Second)
		if n := len(c.times()); n != 1 {
			t.Fatalf("%d sessions after three heartbeats", n)
		}
		wait(3 * time.Second)
		if n := len(c.times()); n != 2 {
			t.Fatalf("%d sessions after four heartbeats", n)
		}
		wait(time.Hour)
		if n := len(c.times()); n != 2 {
			t.Fatalf("%d sessions though heartbeats are answered", n)
		}
		if !slices.Contains(r.said, "disconnected") {
			t.Fatal("the inventory was not told")
		}
	})
}

func TestCentralWithoutWelcomeIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(_ int, s *served) error { return s.listen(nil) }}
		line(t, c, &rooms{})
		wait(17 * time.Second)
		if n := len(c.times()); n != 2 {
			t.Fatalf("%d sessions, the welcome is waited for 15 s", n)
		}
	})
}

func TestF44GoAwayIsObeyed(t *testing.T) {
	for name, tc := range map[string]struct {
		away       *agentv1.GoAway
		least, max time.Duration
	}{
		"when it names a time":         {&agentv1.GoAway{Reason: "draining", ReconnectAfterSeconds: 20}, 20 * time.Second, 25 * time.Second},
		"when it names none":           {&agentv1.GoAway{Reason: "age"}, 0, time.Second},
		"when another agent is newer":  {&agentv1.GoAway{Reason: "superseded"}, 5 * time.Minute, 6*time.Minute + time.Second},
		"when newer and it names less": {&agentv1.GoAway{Reason: "superseded", ReconnectAfterSeconds: 1}, 5 * time.Minute, 6*time.Minute + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &central{play: func(session int, s *served) error {
					s.welcome(&agentv1.Welcome{})
					if session == 1 {
						s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: tc.away}})
					}
					return s.beating()
				}}
				line(t, c, &rooms{})
				wait(10 * time.Minute)
				times := c.times()
				if len(times) != 2 {
					t.Fatalf("%d sessions", len(times))
				}
				if gap := times[1].Sub(times[0]); gap < tc.least || gap > tc.max {
					t.Fatalf("came back after %s, want %s to %s", gap, tc.least, tc.max)
				}
			})
		})
	}
}

func TestF43SessionsThatEndAtOnceAreTriedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(_ int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			return status.Error(codes.Unavailable, "x")
		}}
		line(t, c, &rooms{})
		wait(10 * time.Minute)
		// Full jitter up to 60 s is 30 s on average: 20 in ten minutes, and some at first.
		if n := len(c.times()); n < 12 || n > 60 {
			t.Fatalf("%d sessions in ten minutes", n)
		}
	})
}

func TestF43OnlyAHealthySessionClearsTheBackoff(t *testing.T) {
	b := backoff{spread: func() time.Duration { return firstDelay }}
	lost := status.Error(codes.Unavailable, "x")
	for range 10 {
		b.next(lost, time.Second)
	}
	if b.failures != 10 {
		t.Fatalf("%d failures after ten", b.failures)
	}
	if d := b.next(lost, 29*time.Second); b.failures != 11 {
		t.Fatalf("%d failures after a session of 29 s, next in %s", b.failures, d)
	}
	for range 100 {
		if d := b.next(lost, 31*time.Second); d > firstDelay {
			t.Fatalf("waits %s after a healthy session", d)
		}
	}
}

func TestF44DelaysBeforeTheNextSession(t *testing.T) {
	asked, err := status.New(codes.ResourceExhausted, "storm").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(77 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		err        error
		least, max time.Duration
	}{
		"a lost replica":    {status.Error(codes.Unavailable, "x"), 0, time.Minute},
		"an end of file":    {errClosed, 0, time.Minute},
		"a reset stream":    {status.Error(codes.Internal, "RST_STREAM"), 0, time.Minute},
		"a revoked key":     {status.Error(codes.Unauthenticated, "x"), 0, 5 * time.Minute},
		"an asked-for rest": {asked.Err(), 77 * time.Second, 77 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := backoff{failures: 30}
			longest := time.Duration(0)
			for range 300 {
				b.failures = 30
				d := b.next(tc.err, 0)
				if d < tc.least || d > tc.max {
					t.Fatalf("waits %s, want %s to %s", d, tc.least, tc.max)
				}
				longest = max(longest, d)
			}
			if longest < tc.max*8/10 {
				t.Fatalf("never waited longer than %s of %s", longest, tc.max)
			}
		})
	}
}

func TestNewSettingsCountAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(_ int, s *served) error {
			s.welcome(&agentv1.Welcome{Settings: &agentv1.Settings{HeartbeatSeconds: 600}})
			s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Settings{Settings: &agentv1.Settings{
				HeartbeatSeconds: 1, ProgressSeconds: 3, MetricsSeconds: 4, InventorySeconds: 0.5,
			}}})
			return s.beating()
		}}
		r := &rooms{}
		line(t, c, r)
		wait(30500 * time.Millisecond)
		beats := c.count(func(m *agentv1.ConnectRequest) bool { return m.GetHeartbeat().GetStatus() == "healthy" })
		if beats != 30 || r.progress != 3*time.Second || !slices.Contains(r.said, "every 4s 500ms") {
			t.Fatalf("%d heartbeats in 30 s, progress every %s, said %v", beats, r.progress, r.said)
		}
	})
}

func TestF30ControlOvertakesBulkAndMetrics(t *testing.T) {
	l := (&Outbox{}).open(t.Context(), nil)
	o := &Outbox{lanes: l}
	heartbeat := &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{}}
	page := &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventoryDelta{}}
	old := &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Metrics{Metrics: &fleetv1.ClusterMetrics{TotalNodes: 1}}}
	fresh := &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Metrics{Metrics: &fleetv1.ClusterMetrics{TotalNodes: 2}}}
	o.Metrics(old)
	o.Metrics(fresh)
	for range 2 {
		if err := o.Bulk(t.Context(), page); err != nil {
			t.Fatal(err)
		}
	}
	o.Control(heartbeat)
	for i, want := range []*agentv1.ConnectRequest{heartbeat, page, page, fresh} {
		got, err := l.next(t.Context())
		if err != nil || got != want {
			t.Fatalf("message %d is %v, want %v", i, got, want)
		}
	}
}

func TestSlowCentralHoldsTheInventoryBackAndLosesTheSessionOverControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		o := &Outbox{}
		o.open(ctx, cancel)
		sent := make(chan error)
		go func() {
			for {
				if err := o.Bulk(t.Context(), &agentv1.ConnectRequest{}); err != nil {
					sent <- err
					return
				}
			}
		}()
		synctest.Wait() // the sender is blocked now, not growing
		for range controlRoom {
			o.Control(&agentv1.ConnectRequest{})
		}
		if ctx.Err() != nil {
			t.Fatal("the lane was full too early")
		}
		o.Control(&agentv1.ConnectRequest{})
		if !errors.Is(context.Cause(ctx), errOverflow) {
			t.Fatalf("the session goes on: %v", context.Cause(ctx))
		}
		if err := <-sent; !errors.Is(err, ErrNoSession) {
			t.Fatalf("the blocked sender got %v", err)
		}
	})
}

func TestWithoutASessionNothingIsKept(t *testing.T) {
	o := &Outbox{}
	o.Control(&agentv1.ConnectRequest{})
	o.Metrics(&agentv1.ConnectRequest{})
	if err := o.Bulk(t.Context(), &agentv1.ConnectRequest{}); !errors.Is(err, ErrNoSession) {
		t.Fatalf("bulk without a session: %v", err)
	}
	if l := o.open(t.Context(), nil); len(l.control)+len(l.bulk) != 0 || l.metrics != nil {
		t.Fatal("messages of an earlier session are in the new one")
	}
}
