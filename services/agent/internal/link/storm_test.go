package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// notices are what instances said.
type notices struct {
	mu      sync.Mutex
	pending []*fleetv1.NodeNotice
	changed chan struct{}
}

func (n *notices) Pending() []*fleetv1.NodeNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.pending)
}

func (n *notices) Acked(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = slices.DeleteFunc(n.pending, func(one *fleetv1.NodeNotice) bool { return one.GetNoticeId() == id })
}
func (n *notices) Changed() <-chan struct{} { return n.changed }

func (n *notices) add(id string) {
	n.mu.Lock()
	n.pending = append(n.pending, &fleetv1.NodeNotice{NoticeId: id, EventType: "interruption_warning", NodeName: "n", InstanceId: "i-1"})
	n.mu.Unlock()
	n.changed <- struct{}{}
}

// policies keeps the newest.
type policies struct {
	got atomic.Pointer[agentv1.InterruptionPolicy]
}

func (p *policies) SetPolicy(policy *agentv1.InterruptionPolicy) { p.got.Store(policy) }

func says(msg *agentv1.ConnectRequest) string {
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectRequest_NodeNotice:
		return "notice " + kind.NodeNotice.GetNoticeId()
	case *agentv1.ConnectRequest_TaskResult:
		return "result " + kind.TaskResult.GetTaskId()
	default:
		return ""
	}
}

func (c *central) count2(what string) int {
	return c.count(func(m *agentv1.ConnectRequest) bool { return says(m) == what })
}

func TestANoticeIsSaidAtHelloAtOnceAndEveryTenSecondsUntilItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ack atomic.Bool
		c := &central{}
		c.play = func(_ int, s *served) error {
			s.welcome(&agentv1.Welcome{Settings: &agentv1.Settings{HeartbeatSeconds: 5, Interruption: &agentv1.InterruptionPolicy{Cordon: true}}})
			return s.listen(func(m *agentv1.ConnectRequest) {
				switch {
				case m.GetNodeNotice() != nil && ack.Load():
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_NodeNoticeAck{
						NodeNoticeAck: &agentv1.NodeNoticeAck{NoticeId: m.GetNodeNotice().GetNoticeId()},
					}})
				case m.GetHeartbeat() != nil:
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{}}})
				}
			})
		}
		seen := &notices{changed: make(chan struct{}, 1), pending: []*fleetv1.NodeNotice{{NoticeId: "old"}}}
		kept := &policies{}
		r := &rooms{results: map[string]*fleetv1.TaskResult{"r": {TaskId: "r", Status: "success"}}}
		line(t, c, r, func(cfg *Config) {
			cfg.Notices, cfg.Policy, cfg.LeaderEpoch = seen, kept, func() int64 { return 7 }
		})
		wait(time.Second)
		c.mu.Lock()
		first := says(c.heard[0])
		c.mu.Unlock()
		if first != "notice old" {
			t.Fatalf("first was said %q: central must hear of notices before results of the tasks they began", first)
		}
		if !kept.got.Load().GetCordon() {
			t.Error("the policy was not handed on")
		}
		seen.add("new")
		wait(100 * time.Millisecond)
		if c.count2("notice new") != 1 {
			t.Fatal("a new notice was not said at once")
		}
		wait(30 * time.Second)
		if n := c.count2("notice new"); n != 4 {
			t.Fatalf("said %d times in 30 s, want 4", n)
		}
		ack.Store(true)
		wait(15 * time.Second)
		n := c.count2("notice new")
		wait(time.Minute)
		if got := c.count2("notice new"); got != n || len(seen.Pending()) != 0 {
			t.Fatalf("said %d times more after the ack, %d pending", got-n, len(seen.Pending()))
		}
	})
}

func TestF40ResultsAreSaidAgainWithinTheSessionUntilTheyAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		c := &central{}
		c.play = func(_ int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			return s.listen(func(m *agentv1.ConnectRequest) {
				switch {
				case m.GetTaskResult() != nil && !away.Load():
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_ResultAck{
						ResultAck: &agentv1.ResultAck{TaskId: m.GetTaskResult().GetTaskId(), Accepted: true},
					}})
				case m.GetHeartbeat() != nil:
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{}}})
				}
			})
		}
		r := &rooms{results: map[string]*fleetv1.TaskResult{"r": {TaskId: "r", Status: "success"}}}
		line(t, c, r)
		wait(time.Minute) // central's database is away
		if n := c.count2("result r"); n < 5 || n > 8 {
			t.Fatalf("said %d times in a minute", n)
		}
		away.Store(false)
		wait(11 * time.Second)
		if len(r.Results()) != 0 || len(c.times()) != 1 {
			t.Fatalf("%d results left, %d sessions", len(r.Results()), len(c.times()))
		}
	})
}

func TestF32ASessionIsSwappedWithoutAGapWhenCentralSaysGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, swapped time.Time
		open, least := 0, 9
		var mu sync.Mutex
		c := &central{}
		c.play = func(session int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			mu.Lock()
			open++
			if session == 2 {
				swapped = time.Now()
			}
			mu.Unlock()
			defer func() { mu.Lock(); open--; least = min(least, open); mu.Unlock() }()
			return s.listen(func(m *agentv1.ConnectRequest) {
				if m.GetHeartbeat() == nil {
					return
				}
				s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{}}})
				if session == 1 && asked.IsZero() {
					asked = time.Now()
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{Reason: "age"}}})
					// The old session is still served.
					s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Task{Task: &fleetv1.Task{TaskId: "late"}}})
				}
			})
		}
		r := &rooms{}
		line(t, c, r)
		wait(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if took := swapped.Sub(asked); len(c.times()) != 2 || took <= 0 || took > 2*time.Second {
			t.Fatalf("%d sessions, swapped in %s", len(c.times()), took)
		}
		if least != 1 || open != 1 {
			t.Fatalf("%d sessions were open at the least, %d at the end", least, open)
		}
		if !slices.Equal(r.offered, []string{"late"}) || slices.Contains(r.said, "disconnected") {
			t.Fatalf("offered %v, said %v", r.offered, r.said)
		}
	})
}

func TestF32ASessionGoesOnWhenNoOtherCanBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		c := &central{}
		c.play = func(session int, s *served) error {
			if session > 1 && busy.Load() {
				return status.Error(codes.Unavailable, "storm")
			}
			s.welcome(&agentv1.Welcome{})
			if session == 1 {
				s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{Reason: "draining"}}})
			}
			return s.beating()
		}
		r := &rooms{}
		line(t, c, r)
		wait(5 * time.Minute)
		if slices.Contains(r.said, "disconnected") || len(c.times()) < 3 {
			t.Fatalf("said %v in %d sessions", r.said, len(c.times()))
		}
		busy.Store(false)
		wait(2 * time.Minute)
		n := len(c.times())
		wait(5 * time.Minute)
		if len(c.times()) != n || slices.Contains(r.said, "disconnected") {
			t.Fatalf("%d sessions more, said %v", len(c.times())-n, r.said)
		}
	})
}

func TestF31TheFirstReturnIsSpreadAsCentralSaid(t *testing.T) {
	longest := time.Duration(0)
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			c := &central{}
			c.play = func(session int, s *served) error {
				if session == 1 {
					_ = s.SetHeader(metadata.Pairs(spreadHeader, "40"))
				}
				s.welcome(&agentv1.Welcome{})
				if session == 1 {
					<-time.After(time.Minute)
					return status.Error(codes.Unavailable, "replica lost")
				}
				return s.beating()
			}
			line(t, c, &rooms{})
			wait(3 * time.Minute)
			times := c.times()
			if len(times) != 2 {
				t.Fatalf("%d sessions", len(times))
			}
			gap := times[1].Sub(times[0]) - 45*time.Second // silent after three heartbeats at the latest
			longest = max(longest, gap)
		})
	}
	if longest < 15*time.Second || longest > time.Minute {
		t.Fatalf("twenty agents that were told to spread over 40 s came back within %s", longest)
	}
}

func TestF42APanicCostsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(_ int, s *served) error {
			s.welcome(&agentv1.Welcome{})
			s.say(&agentv1.ConnectResponse{Sequence: 5, Kind: &agentv1.ConnectResponse_Task{Task: &fleetv1.Task{TaskId: "boom"}}})
			return s.beating()
		}}
		line(t, c, &rooms{}, func(cfg *Config) { cfg.Tasks = explosive{cfg.Tasks.(*rooms)} })
		wait(time.Minute)
		if c.count(func(m *agentv1.ConnectRequest) bool { return m.GetUnsupported().GetSequence() == 5 }) != 1 || len(c.times()) != 1 {
			t.Fatalf("%d sessions", len(c.times()))
		}
	})
}

type explosive struct{ *rooms }

func (explosive) Offer(*fleetv1.Task) error { panic("boom") }

func TestF37ClocksThatDifferByFiveMinutesDoNotMatter(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			var got *fleetv1.Task
			c := &central{play: func(_ int, s *served) error {
				s.welcome(&agentv1.Welcome{ServerTime: timestamppb.New(time.Now().Add(skew))})
				s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Task{Task: &fleetv1.Task{
					TaskId: "t", RemainingSeconds: 120, Deadline: timestamppb.New(time.Now().Add(skew + 2*time.Minute)),
				}}})
				return s.beating()
			}}
			line(t, c, &rooms{}, func(cfg *Config) { cfg.Tasks = keeps{cfg.Tasks.(*rooms), &got} })
			wait(time.Hour)
			if len(c.times()) != 1 || got.GetRemainingSeconds() != 120 {
				t.Fatalf("%d sessions, remaining %v s", len(c.times()), got.GetRemainingSeconds())
			}
		})
	}
}

type keeps struct {
	*rooms
	task **fleetv1.Task
}

func (k keeps) Offer(t *fleetv1.Task) error { *k.task = proto.CloneOf(t); return nil }

func TestF30NewerProgressTakesThePlaceOfOlder(t *testing.T) {
	o := &Outbox{}
	l := o.open(t.Context(), nil)
	for i := range 100 {
		for _, task := range []string{"a", "b"} {
			o.Control(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskProgress{
				TaskProgress: &fleetv1.TaskProgress{TaskId: task, Fraction: float64(i)},
			}})
		}
		o.Control(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{}}})
	}
	var got []string
	for range 3 {
		msg, err := l.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p := msg.GetTaskProgress(); p != nil && p.GetFraction() != 99 {
			t.Errorf("progress %v", p.GetFraction())
		}
		got = append(got, controlKey(msg))
	}
	if len(l.control) != 0 || !slices.Equal(got, []string{"progress a", "progress b", "heartbeat"}) {
		t.Fatalf("%v, and %d more", got, len(l.control))
	}
}

// TestF29TheAgentSeesAPathThatSwallowsPackets uses a proxy that keeps both
// connections open and lets nothing through: the hard case.
func TestF29TheAgentSeesAPathThatSwallowsPackets(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	welcomed := make(chan struct{}, 10)
	c := &central{play: func(_ int, s *served) error {
		// Heartbeats as central has them.
		s.welcome(&agentv1.Welcome{Settings: &agentv1.Settings{HeartbeatSeconds: 5}})
		welcomed <- struct{}{}
		return s.beating()
	}}
	srv := grpc.NewServer()
	agentv1.RegisterAgentServiceServer(srv, c)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)

	control := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(control, "central", "127.0.0.1:0", lis.Addr().String())
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	r := &rooms{}
	client := New(Config{
		Dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient(proxy.Listen, append(Keepalive(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		},
		Hello: &agentv1.Hello{ClusterId: "c", AgentId: "a"}, Outbox: &Outbox{}, Tasks: r, Inventory: inventory{r}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-welcomed
	for !slices.Contains(r.heard(), "connected") {
		<-time.After(10 * time.Millisecond)
	}
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for !slices.Contains(r.heard(), "disconnected") {
		if time.Since(began) > 20*time.Second {
			t.Fatal("not seen within 20 s")
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Logf("seen after %s", time.Since(began).Round(10*time.Millisecond))
	for _, stream := range []string{"timeout_upstream", "timeout_downstream"} {
		if err := proxy.Toxics.RemoveToxic(ctx, stream); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-welcomed:
	case <-time.After(30 * time.Second):
		t.Fatal("the agent did not come back")
	}
}

func (r *rooms) heard() []string { r.mu.Lock(); defer r.mu.Unlock(); return slices.Clone(r.said) }

func TestF35AnAgentThatWasSupersededBeforeItsWelcomeStaysAwayToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &central{play: func(session int, s *served) error {
			if session == 1 {
				s.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{Reason: superseded}}})
				return errors.New("replaced")
			}
			s.welcome(&agentv1.Welcome{})
			return s.beating()
		}}
		line(t, c, &rooms{})
		wait(4 * time.Minute)
		if n := len(c.times()); n != 1 {
			t.Fatalf("%d sessions", n)
		}
	})
}
