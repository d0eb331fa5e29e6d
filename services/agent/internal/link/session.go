package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

const (
	// handshake bounds the time from dial to welcome.
	handshake = 15 * time.Second
	// defaultBeat is used when central sets none.
	defaultBeat = 15 * time.Second
	missedBeats = 3
	// skewWarning is the difference of clocks worth a word.
	skewWarning = 5 * time.Second
	// resendEvery is how often what central did not acknowledge is said again.
	resendEvery = 10 * time.Second
	// spreadHeader is how central says over how many seconds its agents should
	// return when it is lost without a word.
	spreadHeader = "cloudoptim-reconnect-spread"
)

var (
	errSilent      = errors.New("central answered none of three heartbeats")
	errNoWelcome   = errors.New("central sent no welcome in time")
	errNotWelcomed = errors.New("central's first message was no welcome")
	errClosed      = errors.New("central closed the stream")
	errMoved       = errors.New("a newer session took the place of this one")
)

type stream = agentv1.AgentService_ConnectClient

// session is one life of the stream.
type session struct {
	client   *Client
	abort    context.CancelCauseFunc
	lanes    *lanes
	sequence int64 // of the last message sent; only one goroutine sends
	welcomed time.Time
	beat     chan time.Duration // a new heartbeat interval
	answered atomic.Int64       // when the last answer came, in nanoseconds since welcomed
	// away gets central's wish that another session takes this one's place.
	away chan *goAway
	// greeted is closed at the welcome, done at the end; then err and ended are set.
	greeted, done chan struct{}
	err           error
	ended         time.Time
}

// lived counts from the welcome; call it when the session is done.
func (s *session) lived() time.Duration {
	if s.welcomed.IsZero() {
		return 0
	}
	return s.ended.Sub(s.welcomed)
}

// run is the session; it ends with an error, always.
func (s *session) run(ctx context.Context, rpc agentv1.AgentServiceClient) error {
	early := time.AfterFunc(handshake, func() { s.abort(errNoWelcome) })
	defer early.Stop()
	str, err := rpc.Connect(ctx)
	if err != nil {
		return s.cause(ctx, fmt.Errorf("opening the stream: %w", err))
	}
	welcome, err := s.greet(str)
	if err != nil {
		return s.cause(ctx, err)
	}
	early.Stop()
	s.welcomed = time.Now()
	s.readSpread(str)
	// Before anything is received: a later change of them must win.
	s.settings(welcome.GetSettings())
	s.client.stop(welcome.GetStop())

	connected.Add(ctx, 1)
	defer connected.Add(ctx, -1)
	var parts sync.WaitGroup
	defer s.client.leave(s) // after begin, which says Connected
	defer parts.Wait()
	defer s.abort(nil)
	s.lanes = s.client.take(ctx, s)
	close(s.greeted)
	parts.Go(func() { s.send(ctx, str) })
	parts.Go(func() { s.heartbeat(ctx, welcome.GetSettings()) })
	parts.Go(func() { s.begin(ctx, welcome) })
	return s.cause(ctx, s.receive(str))
}

// readSpread takes central's hint, if it gave one.
func (s *session) readSpread(str stream) {
	header, err := str.Header()
	if err != nil {
		return
	}
	for _, text := range header.Get(spreadHeader) {
		if v, err := strconv.ParseFloat(text, 64); err == nil && v > 0 && v < lastDelay.Seconds() {
			s.client.setSpread(seconds(v))
		}
	}
}

// cause prefers our own reason for ending over the stream's echo of it.
func (s *session) cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return errClosed
	}
	return err
}

// greet says hello and waits for the welcome.
func (s *session) greet(str stream) (*agentv1.Welcome, error) {
	cfg := s.client.cfg
	hello := proto.CloneOf(cfg.Hello)
	hello.Protocol = Protocol
	hello.Running = cfg.Tasks.Running()
	hello.InventorySequence = cfg.Inventory.Sequence()
	if cfg.LeaderEpoch != nil {
		hello.LeaderEpoch = cfg.LeaderEpoch()
	}
	s.sequence = 1
	// An error of Send is only "EOF"; Recv knows the real one.
	_ = str.Send(&agentv1.ConnectRequest{Sequence: 1, Kind: &agentv1.ConnectRequest_Hello{Hello: hello}})
	first, err := str.Recv()
	if err != nil {
		return nil, fmt.Errorf("waiting for the welcome: %w", err)
	}
	switch kind := first.GetKind().(type) {
	case *agentv1.ConnectResponse_Welcome:
		return kind.Welcome, nil
	case *agentv1.ConnectResponse_GoAway:
		return nil, away(kind.GoAway)
	}
	return nil, errNotWelcomed
}

// begin does what the welcome asks for.
func (s *session) begin(ctx context.Context, w *agentv1.Welcome) {
	cfg := s.client.cfg
	cfg.Log.Info("connected to central", "session_id", w.GetSessionId(), "session_epoch", w.GetSessionEpoch(),
		"server_id", w.GetServerId(), "need_inventory", w.GetNeedInventory())
	s.checkClock(w.GetServerTime())
	for _, id := range w.GetAbandonTaskIds() {
		if err := cfg.Tasks.Cancel(&agentv1.TaskCancel{TaskId: id, Reason: "central does not want it any more"}); err != nil {
			cfg.Log.Warn("abandoning a task", "error", err)
		}
	}
	// Notices first: central learns from them of the tasks that the agent began by
	// itself, which results may be of.
	if !s.sayNotices() || !s.sayResults(func(string) bool { return true }) {
		return
	}
	cfg.Inventory.Connected(w.GetNeedInventory())
	s.repeat(ctx)
}

func (s *session) checkClock(theirs *timestamppb.Timestamp) {
	if theirs == nil {
		return
	}
	if skew := time.Since(theirs.AsTime()).Round(time.Millisecond); skew.Abs() > skewWarning {
		s.client.cfg.Log.Warn("this clock and central's differ", "skew", skew)
	}
}

// settings passes central's intervals on; what is not set stays.
func (s *session) settings(set *agentv1.Settings) {
	cfg := s.client.cfg
	cfg.Tasks.SetProgress(seconds(set.GetProgressSeconds()))
	cfg.Inventory.SetIntervals(seconds(set.GetMetricsSeconds()), seconds(set.GetInventorySeconds()))
	if cfg.Policy != nil && set.GetInterruption() != nil {
		cfg.Policy.SetPolicy(set.GetInterruption())
	}
}

func seconds(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }

// send writes what the outbox holds.
func (s *session) send(ctx context.Context, str stream) {
	for {
		msg, err := s.lanes.next(ctx)
		if err != nil {
			_ = str.CloseSend()
			return
		}
		s.sequence++
		msg.Sequence = s.sequence
		if err := str.Send(msg); err != nil {
			return // receive gets the reason
		}
	}
}

// heartbeat asks and expects answers: a ping of HTTP/2 may end at a proxy and
// says nothing about the replica behind it.
func (s *session) heartbeat(ctx context.Context, set *agentv1.Settings) {
	every := seconds(set.GetHeartbeatSeconds())
	if every <= 0 {
		every = defaultBeat
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case every = <-s.beat:
			ticker.Reset(every)
		case <-ticker.C:
			if time.Since(s.welcomed)-time.Duration(s.answered.Load()) > missedBeats*every {
				s.abort(errSilent)
				return
			}
			s.client.cfg.Outbox.Control(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{
				Heartbeat: &agentv1.Heartbeat{Status: s.client.cfg.Inventory.Status(), Timestamp: timestamppb.Now()},
			}})
		}
	}
}

// receive obeys central until the stream ends.
func (s *session) receive(str stream) error {
	for {
		msg, err := str.Recv()
		if err != nil {
			return err
		}
		if away := msg.GetGoAway(); away != nil {
			if err := s.goAway(away); err != nil {
				return err
			}
			continue
		}
		if refusal := s.attempt(msg); refusal != nil {
			s.client.cfg.Outbox.Control(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Unsupported{
				Unsupported: &agentv1.Unsupported{Sequence: msg.GetSequence(), Reason: refusal.Error()},
			}})
		}
	}
}

// goAway ends the session of an agent that was replaced; otherwise the session
// goes on until another has taken its place.
func (s *session) goAway(msg *agentv1.GoAway) error {
	g := away(msg)
	if g.reason == superseded {
		return g
	}
	select {
	case s.away <- g:
	default: // asked already
	}
	return nil
}

// attempt is obey where a panic costs one message, not the agent.
func (s *session) attempt(msg *agentv1.ConnectResponse) (refusal error) {
	defer func() {
		if p := recover(); p != nil {
			s.client.cfg.Log.Error("obeying a message panicked", "sequence", msg.GetSequence(), "panic", p, "stack", string(debug.Stack()))
			refusal = errors.New("internal error of the agent")
		}
	}()
	return s.obey(msg)
}

// obey handles one message. What cannot be obeyed is answered with the returned
// error, so that a newer central can talk to an older agent.
func (s *session) obey(msg *agentv1.ConnectResponse) error {
	cfg := s.client.cfg
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectResponse_Task:
		return cfg.Tasks.Offer(kind.Task)
	case *agentv1.ConnectResponse_TaskCancel:
		return cfg.Tasks.Cancel(kind.TaskCancel)
	case *agentv1.ConnectResponse_ResultAck:
		cfg.Tasks.Acked(kind.ResultAck)
	case *agentv1.ConnectResponse_HeartbeatAck:
		s.answered.Store(int64(time.Since(s.welcomed)))
		s.client.stop(kind.HeartbeatAck.GetStop())
	case *agentv1.ConnectResponse_InventoryAck:
		cfg.Inventory.Acked(kind.InventoryAck.GetInventorySequence())
	case *agentv1.ConnectResponse_InventoryResync:
		cfg.Inventory.Resync(kind.InventoryResync.GetReason())
	case *agentv1.ConnectResponse_Settings:
		s.newSettings(kind.Settings)
	case *agentv1.ConnectResponse_NodeNoticeAck:
		if cfg.Notices != nil {
			cfg.Notices.Acked(kind.NodeNoticeAck.GetNoticeId())
		}
	case *agentv1.ConnectResponse_Unsupported:
		cfg.Log.Warn("central did not take a message", "sequence", kind.Unsupported.GetSequence(),
			"reason", kind.Unsupported.GetReason())
	default:
		return errors.New("this agent does not know the kind of that message")
	}
	return nil
}

func (s *session) newSettings(set *agentv1.Settings) {
	s.settings(set)
	if every := seconds(set.GetHeartbeatSeconds()); every > 0 {
		select {
		case <-s.beat: // a newer one takes its place
		default:
		}
		s.beat <- every
	}
}

func away(g *agentv1.GoAway) *goAway {
	return &goAway{reason: g.GetReason(), after: seconds(g.GetReconnectAfterSeconds())}
}
