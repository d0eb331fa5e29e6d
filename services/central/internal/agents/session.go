package agents

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// outMessages and outBytes bound what waits for a slow agent. One that lets more
	// come together is disconnected, never silently short of a message: the rows are
	// the truth, and its next session begins with them.
	outMessages, outBytes = 64, 128 << 10
	// inUrgent, inOther and inBytes bound what waits for the database.
	inUrgent, inOther, inBytes = 256, 2, 1 << 20
	// takeWithin bounds the work on one message.
	takeWithin = 10 * time.Second
	// farewell is how long the last word may take.
	farewell = time.Second
	// awayFor is how long an agent that was superseded is asked to stay away.
	awayFor = time.Minute
	// lookKey is the queue's key for looking for tasks.
	lookKey = "look"
)

// conditions are those of an agent that Heartbeat.status may tell.
var conditions = []string{"healthy", "degraded", "unhealthy"}

// session is one live stream. An idle one costs two goroutines, which wait: its
// call's, and listen. Those that work and that send live while there is something to do.
type session struct {
	*Server
	stream  connection
	ctx     context.Context //nolint:containedctx // the stream's: it is the session's life
	end     context.CancelCauseFunc
	cluster uuid.UUID
	epoch   int64
	// goAwayAt is when the agent is asked to connect anew; asked, that it was.
	goAwayAt time.Time
	asked    atomic.Bool
	// touchAt is when it is next written down that the session lives. keep only.
	touchAt time.Time
	// heard is when the agent last spoke and sendingSince since when a message waits
	// for it to read, 0 for none, in nanoseconds since 1970.
	heard, sendingSince atomic.Int64
	// held: what the agent said waits for the database, so it is not silent.
	held atomic.Bool
	// stop is the one that holds in the cluster, nil for none.
	stop atomic.Pointer[agentv1.SafetyStop]
	// watched: the agent was told to do nothing by itself about an instance's notice. keep only, after open.
	watched bool
	sent    int64 // only one goroutine sends at a time

	mu  sync.Mutex
	out queue[*agentv1.ConnectResponse]
	// in has nil where tasks are to be looked for.
	in               queue[*agentv1.ConnectRequest]
	pumping, working bool
	// room gets a value when something was taken from in.
	room chan struct{}
	// more tasks wait than out had room for.
	more bool
	// last is why the session ends once its last word is said.
	last error
	// failing: the last message could not be committed. Worker only.
	failing bool
	// inflight are the tasks that the agent has; cancelled those it was asked to stop.
	inflight, cancelled map[uuid.UUID]bool
	// owed are notices not committed yet: results may be of the tasks they begin.
	owed map[string]bool
}

func newSession(ctx context.Context, end context.CancelCauseFunc, s *Server, stream connection, cluster uuid.UUID, epoch int64) *session {
	sess := &session{
		Server: s, stream: stream, ctx: ctx, end: end, cluster: cluster, epoch: epoch, goAwayAt: agedBetween(s.StreamAge), touchAt: agedBetween(touchEvery),
		room: make(chan struct{}, 1), pumping: true, // nothing is sent before the welcome
	}
	sess.heard.Store(time.Now().UnixNano())
	return sess
}

func (sess *session) send(msg *agentv1.ConnectResponse) error {
	sess.sent++
	msg.Sequence = sess.sent
	return sess.stream.Send(msg)
}

func tooSlow() error {
	return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "the agent reads too slowly")
}

// say queues an answer; an agent that does not read loses the session.
func (sess *session) say(msg *agentv1.ConnectResponse) {
	if !sess.queue(msg) {
		sess.end(tooSlow())
	}
}

// queue is say for what may wait in the database instead; false: no room.
func (sess *session) queue(msg *agentv1.ConnectResponse) bool {
	key, urgent := outgoingKey(msg)
	size := proto.Size(msg)
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if sess.last != nil {
		return true // its last word is said
	}
	full := sess.out.len() >= outMessages || sess.out.bytes+size > outBytes
	if full && sess.out.len() > 0 && !sess.out.holds(key) {
		return false
	}
	sess.out.put(entry[*agentv1.ConnectResponse]{key, msg, size}, urgent)
	sess.startPump()
	return true
}

// startPump needs mu.
func (sess *session) startPump() {
	if !sess.pumping {
		sess.pumping = true
		go sess.pump()
	}
}

// pump sends what waits, and ends when nothing does.
func (sess *session) pump() {
	for {
		sess.mu.Lock()
		msg, ok := sess.out.take()
		if !ok {
			sess.pumping = false
			more, last := sess.more, sess.last
			sess.more = false
			sess.mu.Unlock()
			if last != nil {
				sess.end(last)
			} else if more {
				sess.look()
			}
			return
		}
		sess.mu.Unlock()
		sess.sendingSince.Store(time.Now().UnixNano())
		err := sess.send(msg)
		sess.sendingSince.Store(0)
		if err != nil {
			sess.end(err)
			return
		}
	}
}

// superseded tells the agent to stay away and ends the session: one that was
// only cut off would come back at once and drive the newer session away in turn.
func (sess *session) superseded() {
	why := fault.New(faultv1.Reason_REASON_SUPERSEDED, "a newer session of this cluster has taken over")
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if sess.last != nil {
		return
	}
	msg := goAway("superseded", awayFor)
	sess.last = why
	sess.out.clear()
	sess.out.put(entry[*agentv1.ConnectResponse]{msg: msg}, true)
	sess.startPump()
	time.AfterFunc(farewell, func() { sess.end(why) }) // an agent that does not read is not waited for
}

// look makes the session look for tasks and cancels.
func (sess *session) look() {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.in.put(entry[*agentv1.ConnectRequest]{key: lookKey}, true)
	sess.startWork()
}

// startWork needs mu.
func (sess *session) startWork() {
	if !sess.working {
		sess.working = true
		go sess.work()
	}
}

// listen takes what the agent says until the stream ends.
func (sess *session) listen() {
	sess.mu.Lock()
	sess.pumping = false
	if sess.out.len() > 0 || sess.more || sess.last != nil {
		sess.startPump()
	}
	sess.mu.Unlock()
	for {
		msg, err := sess.stream.Recv()
		if err != nil {
			sess.end(ended(err))
			return
		}
		sess.heard.Store(time.Now().UnixNano())
		// Answered here: it must not wait for the database, and there are thousands a
		// second. What is not a plain heartbeat is checked where it is worked on, for
		// the stack that the check needs would stay with this goroutine.
		if beat := msg.GetHeartbeat(); beat != nil && slices.Contains(conditions, beat.GetStatus()) {
			sess.say(heartbeatAck(sess.stop.Load()))
			continue
		}
		if !sess.hear(msg) {
			return
		}
	}
}

// hear queues a message for work; false: the session has ended. While there is
// no room, nothing more is read, and HTTP/2 holds the agent back; but when the
// database is away, what has no room is not taken: the agent says it again.
func (sess *session) hear(msg *agentv1.ConnectRequest) bool {
	key, urgent := incomingKey(msg)
	e := entry[*agentv1.ConnectRequest]{key, msg, proto.Size(msg)}
	for {
		sess.mu.Lock()
		full := sess.in.len() > 0 && !sess.in.holds(key) &&
			(sess.in.bytes+e.size > inBytes || urgent && len(sess.in.urgent) >= inUrgent || !urgent && len(sess.in.other) >= inOther)
		if !full {
			sess.in.put(e, urgent)
			sess.startWork()
		}
		failing := sess.failing
		sess.mu.Unlock()
		if !full {
			return true
		}
		if failing {
			sess.Log.WarnContext(sess.ctx, "not taking a message while the database is away", "cluster_id", sess.cluster, "kind", key)
			return true
		}
		sess.held.Store(true)
		select {
		case <-sess.room:
		case <-sess.ctx.Done():
			return false
		}
		sess.heard.Store(time.Now().UnixNano())
		sess.held.Store(false)
	}
}

// work does what waits, one after the other, and ends when nothing does.
func (sess *session) work() {
	for {
		sess.mu.Lock()
		msg, ok := sess.in.take()
		if !ok || sess.ctx.Err() != nil || sess.last != nil {
			sess.working = false
			sess.mu.Unlock()
			return
		}
		sess.mu.Unlock()
		select {
		case sess.room <- struct{}{}:
		default:
		}
		sess.handle(msg)
	}
}

// handle does what a message asks. One that is not understood or not allowed is
// answered and changes nothing. One that could not be committed is not answered,
// so that the agent says it again; the session lives.
func (sess *session) handle(msg *agentv1.ConnectRequest) {
	ctx, cancel := context.WithTimeout(sess.ctx, takeWithin)
	defer cancel()
	err := sess.attempt(ctx, msg)
	reason := fault.ReasonOf(err)
	committed := err == nil || sess.ctx.Err() != nil
	switch {
	case committed:
	case reason == faultv1.Reason_REASON_UNIMPLEMENTED, reason == faultv1.Reason_REASON_INVALID_REQUEST, reason == faultv1.Reason_REASON_PERMISSION_DENIED:
		committed = true
		sess.refuse(msg, err)
	case reason == faultv1.Reason_REASON_SUPERSEDED:
		committed = true
		sess.superseded()
	default:
		unanswered.Add(ctx, 1)
		key, _ := incomingKey(msg)
		sess.Log.ErrorContext(ctx, "a message could not be committed and is not acknowledged", "cluster_id", sess.cluster,
			"sequence", msg.GetSequence(), "kind", key, "error", err)
	}
	sess.mu.Lock()
	sess.failing = !committed
	sess.mu.Unlock()
}

// attempt is take where a panic costs one message, not the server.
func (sess *session) attempt(ctx context.Context, msg *agentv1.ConnectRequest) (err error) {
	defer func() {
		if p := recover(); p != nil {
			sess.Log.ErrorContext(ctx, "taking a message panicked", "cluster_id", sess.cluster, "panic", p, "stack", string(debug.Stack()))
			err = fault.New(faultv1.Reason_REASON_UNIMPLEMENTED, "internal error")
		}
	}()
	if msg == nil {
		return sess.deliver(ctx)
	}
	if err := rpc.Validate(msg); err != nil {
		return err
	}
	return sess.take(ctx, msg)
}

func (sess *session) refuse(msg *agentv1.ConnectRequest, err error) {
	known := fault.From(err)
	sess.Log.WarnContext(sess.ctx, "message refused", "cluster_id", sess.cluster, "sequence", msg.GetSequence(), "error", err)
	reason := known.Message
	if constraint, ok := known.Details["constraint"].(string); ok {
		reason += ": " + constraint
	}
	sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Unsupported{
		Unsupported: &agentv1.Unsupported{Sequence: msg.GetSequence(), Reason: reason},
	}})
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
		outcome, known := outcomes[id]
		if !known || outcome.Done() || outcome.Status == "pending" {
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
	switch {
	case !its:
		delete(sess.inflight, id)
	case sess.inflight == nil:
		sess.inflight = map[uuid.UUID]bool{id: true}
	default:
		sess.inflight[id] = true
	}
}

// ask notes that the agent is asked to stop a task; false: it was already.
func (sess *session) ask(task store.CancelledTask) bool {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if sess.cancelled[task.ID] {
		return false
	}
	if sess.cancelled == nil {
		sess.cancelled = map[uuid.UUID]bool{}
	}
	sess.cancelled[task.ID] = true
	return true
}
