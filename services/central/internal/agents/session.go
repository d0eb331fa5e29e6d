package agents

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
)

const (
	// outbound bounds the messages that wait for a slow agent. One that does not
	// drain them is disconnected: the rows are the truth.
	outbound = 64
	// lookEvery is a second look for cancels whose announcement was lost; waiting
	// tasks are announced every second by the sweep of this same replica.
	lookEvery = 10 * time.Second
)

// session is one live stream. speak alone sends after the welcome.
type session struct {
	*Server
	stream  grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]
	cluster uuid.UUID
	epoch   int64
	out     chan *agentv1.ConnectResponse
	// outdated gets a value when listen has learnt that a newer session is there.
	outdated chan struct{}
	sent     int64

	mu       sync.Mutex
	inflight map[uuid.UUID]bool
	// cancelled tasks whose agent has been asked to stop.
	cancelled map[uuid.UUID]bool
}

func (sess *session) send(msg *agentv1.ConnectResponse) error {
	sess.sent++
	msg.Sequence = sess.sent
	return sess.stream.Send(msg)
}

// say queues an answer for speak.
func (sess *session) say(msg *agentv1.ConnectResponse) error {
	select {
	case sess.out <- msg:
		return nil
	default:
		return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "the agent reads too slowly")
	}
}

// speakSafely is speak where a panic ends the session, not the server: it runs
// outside the call's own recovery.
func (sess *session) speakSafely(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			sess.Log.ErrorContext(ctx, "a session panicked", "cluster_id", sess.cluster, "panic", p, "stack", string(debug.Stack()))
			err = fault.New(faultv1.Reason_REASON_INTERNAL, "internal error")
		}
	}()
	return sess.speak(ctx)
}

// speak sends answers, tasks and cancels until ctx ends or a newer session takes over.
func (sess *session) speak(ctx context.Context) error {
	wake, stopWake := sess.Bus.Subscribe(dispatch.Topic(sess.cluster))
	defer stopWake()
	newer, stopNewer := sess.Bus.Subscribe(sessionTopic(sess.cluster))
	defer stopNewer()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for err := sess.deliver(ctx); ; {
		if fault.ReasonOf(err) == faultv1.Reason_REASON_SUPERSEDED {
			return sess.superseded()
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case msg := <-sess.out:
			err = sess.send(msg)
		case <-wake:
			err = sess.deliver(ctx)
		case <-look.C:
			err = sess.deliver(ctx)
		case <-sess.outdated:
			return sess.superseded()
		case epoch := <-newer:
			if n, parseErr := strconv.ParseInt(string(epoch), 10, 64); parseErr == nil && n > sess.epoch {
				return sess.superseded()
			}
		}
	}
}

func (sess *session) superseded() error {
	_ = sess.send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{
		Reason: "superseded", ReconnectAfterSeconds: 60,
	}}})
	return fault.New(faultv1.Reason_REASON_SUPERSEDED, "a newer session of this cluster has taken over")
}

// deliver offers waiting tasks as far as the agent has room, and asks for the end of cancelled ones.
func (sess *session) deliver(ctx context.Context) error {
	room := int(sess.Settings.GetMaxInflightTasks()) - sess.busy()
	if room <= 0 {
		if err := sess.forget(ctx); err != nil {
			return err
		}
		room = int(sess.Settings.GetMaxInflightTasks()) - sess.busy()
	}
	if room > 0 {
		tasks, err := sess.Store.LeaseTasks(ctx, sess.cluster, sess.epoch, dispatch.OfferLease, room)
		if err != nil {
			return err
		}
		for _, task := range tasks {
			sess.hold(task.GetTaskId(), true)
			task.LeaseSeconds = dispatch.RunLease.Seconds()
			if err := sess.send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Task{Task: task}}); err != nil {
				return err
			}
		}
	}
	return sess.cancel(ctx)
}

func (sess *session) cancel(ctx context.Context) error {
	if sess.busy() == 0 {
		return nil
	}
	tasks, err := sess.Store.CancelledTasks(ctx, sess.cluster)
	if err != nil {
		return err
	}
	for id, reason := range tasks {
		if sess.cancelled[id] {
			continue
		}
		sess.cancelled[id] = true
		err := sess.send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_TaskCancel{
			TaskCancel: &agentv1.TaskCancel{TaskId: id.String(), Reason: reason},
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// forget gives back the room of tasks that ended without a word of the agent,
// such as at their deadline, and of offers that it never took.
func (sess *session) forget(ctx context.Context) error {
	sess.mu.Lock()
	ids := slices.Collect(maps.Keys(sess.inflight))
	sess.mu.Unlock()
	outcomes, err := sess.Store.TaskOutcomes(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if outcome := outcomes[id]; outcome.Done() || outcome.Status == "pending" {
			sess.hold(id.String(), false)
		}
	}
	return nil
}

func (sess *session) busy() int {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return len(sess.inflight)
}

// hold counts a task as the agent's, or no longer.
func (sess *session) hold(task string, its bool) {
	id, err := uuid.Parse(task)
	if err != nil {
		return
	}
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if its {
		sess.inflight[id] = true
	} else {
		delete(sess.inflight, id)
	}
}

// listen handles what the agent says until it leaves or falls silent.
func (sess *session) listen(ctx context.Context, in <-chan received) error {
	silence := time.Duration(3 * sess.Settings.GetHeartbeatSeconds() * float64(time.Second))
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return fault.New(faultv1.Reason_REASON_DEADLINE_EXCEEDED, "no word from the agent for %s", silence)
		case got := <-in:
			if got.err != nil {
				return ended(got.err)
			}
			timer.Reset(silence)
			if err := sess.handle(ctx, got.msg); err != nil {
				return sess.giveUp(ctx, err)
			}
		}
	}
}

// giveUp ends the session with err. One that was superseded says so first, or
// the agent would come back at once and drive the newer session away in turn;
// speak says it, for it alone may.
func (sess *session) giveUp(ctx context.Context, err error) error {
	if fault.ReasonOf(err) != faultv1.Reason_REASON_SUPERSEDED {
		return err
	}
	sess.outdated <- struct{}{} // has room: this happens once
	slow := time.NewTimer(time.Second)
	defer slow.Stop()
	select {
	case <-ctx.Done():
	case <-slow.C: // an agent that does not read is not waited for
	}
	return err
}

// handle does what a message asks. One that is not understood or not valid is
// answered and changes nothing; an error ends the session, without an answer
// for what was not committed, so that the agent says it again.
func (sess *session) handle(ctx context.Context, msg *agentv1.ConnectRequest) error {
	err := sess.take(ctx, msg)
	switch fault.ReasonOf(err) {
	case faultv1.Reason_REASON_UNIMPLEMENTED, faultv1.Reason_REASON_INVALID_REQUEST, faultv1.Reason_REASON_PERMISSION_DENIED:
	default:
		return err
	}
	if err == nil {
		return nil
	}
	known := fault.From(err)
	sess.Log.WarnContext(ctx, "message refused", "cluster_id", sess.cluster, "sequence", msg.GetSequence(), "error", err)
	reason := known.Message
	if constraint, ok := known.Details["constraint"].(string); ok {
		reason += ": " + constraint
	}
	return sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Unsupported{
		Unsupported: &agentv1.Unsupported{Sequence: msg.GetSequence(), Reason: reason},
	}})
}

func (sess *session) heartbeat(ctx context.Context) error {
	mine, err := sess.Store.TouchSession(ctx, sess.cluster, sess.epoch)
	if err != nil {
		return err
	}
	if !mine {
		return fault.New(faultv1.Reason_REASON_SUPERSEDED, "a newer session of this cluster has taken over")
	}
	return sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{
		HeartbeatAck: &agentv1.HeartbeatAck{ServerTime: timestamppb.Now()},
	}})
}

// kindName is for messages of a kind this build does not know.
func kindName(msg proto.Message) string {
	if len(msg.ProtoReflect().GetUnknown()) > 0 {
		return "an unknown kind"
	}
	return "no kind"
}
