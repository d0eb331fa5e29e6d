package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// helloWithin bounds how long a caller may hold a stream without saying who it is.
	helloWithin = 10 * time.Second
	// spreadHeader tells the agent over how many seconds to spread its return when
	// this replica is lost without a word.
	spreadHeader = "cloudoptim-reconnect-spread"
)

type connection = grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]

// Connect is the life of one session: hello, welcome, then each side speaks when
// it has something to say, until the line breaks or a newer session takes over.
func (s *Server) Connect(stream connection) error {
	if s.stopping() {
		return fault.Unavailable("this replica stops: central", nil)
	}
	if err := s.gate.admit(); err != nil {
		refused.Add(stream.Context(), 1)
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	line := &incoming{stream: stream, first: make(chan received, 1), opened: make(chan *session, 1)}
	go line.read(ctx)
	sess, hello, err := s.begin(ctx, cancel, stream, line)
	if err != nil {
		return err
	}
	s.enter(sess)
	live.Add(ctx, 1)
	defer live.Add(ctx, -1)
	defer s.leave(sess)
	s.Log.InfoContext(ctx, "agent connected", "cluster_id", sess.cluster, "agent_id", hello.GetAgentId(),
		"session_epoch", sess.epoch, "version", hello.GetVersion())
	line.opened <- sess
	<-ctx.Done()
	if err = context.Cause(ctx); errors.Is(err, errEnded) {
		err = nil
	}
	s.Log.InfoContext(ctx, "agent disconnected", "cluster_id", sess.cluster, "session_epoch", sess.epoch, "reason", fmt.Sprint(err))
	return err
}

// begin hears the hello and opens the session in a goroutine of its own: the stack
// that this needs would otherwise stay with the stream for hours.
func (s *Server) begin(ctx context.Context, cancel context.CancelCauseFunc, stream connection, line *incoming) (sess *session, hello *agentv1.Hello, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				s.Log.ErrorContext(ctx, "opening a session panicked", "panic", p, "stack", string(debug.Stack()))
				err = fault.New(faultv1.Reason_REASON_INTERNAL, "internal error")
			}
		}()
		if hello, err = firstWord(ctx, line.first); err == nil {
			sess, err = s.open(ctx, cancel, stream, hello)
		}
	}()
	<-done
	return sess, hello, err
}

type received struct {
	msg *agentv1.ConnectRequest
	err error
}

// incoming reads a stream in a goroutine of its own, which ends with the stream:
// so that waiting for a message can end.
type incoming struct {
	stream connection
	first  chan received
	opened chan *session
}

func (in *incoming) read(ctx context.Context) {
	msg, err := in.stream.Recv()
	in.first <- received{msg, err}
	if err != nil {
		return
	}
	select {
	case sess := <-in.opened:
		sess.listen()
	case <-ctx.Done():
	}
}

func firstWord(ctx context.Context, first <-chan received) (*agentv1.Hello, error) {
	timeout := time.NewTimer(helloWithin)
	defer timeout.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timeout.C:
		return nil, fault.New(faultv1.Reason_REASON_DEADLINE_EXCEEDED, "no hello within %s", helloWithin)
	case first := <-first:
		if first.err != nil {
			return nil, first.err
		}
		hello := first.msg.GetHello()
		if hello == nil {
			return nil, fault.Invalid("hello", "must be the first message")
		}
		if err := rpc.Validate(hello); err != nil {
			return nil, err
		}
		cluster, err := uuid.Parse(hello.GetClusterId())
		if err != nil {
			return nil, fault.Invalid("cluster_id", "must be valid UUID")
		}
		return hello, auth.Cluster(ctx, cluster)
	}
}

// open makes the session the one that is heard and says welcome.
func (s *Server) open(ctx context.Context, cancel context.CancelCauseFunc, stream connection, hello *agentv1.Hello) (*session, error) {
	cluster := uuid.MustParse(hello.GetClusterId()) // checked by firstWord
	if err := s.knocks(ctx, cluster); err != nil {
		refused.Add(ctx, 1)
		return nil, err
	}
	leave, err := s.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	opened, err := s.Store.OpenSessionOf(ctx, store.Opening{
		Cluster: cluster, Replica: s.Replica, AgentID: hello.GetAgentId(), LeaderEpoch: hello.GetLeaderEpoch(),
		KubernetesVersion: hello.GetKubernetesVersion(), Version: hello.GetVersion(),
	})
	if err != nil {
		return nil, s.notOpened(ctx, stream, hello, err)
	}
	if opened.Twin {
		twins.Add(ctx, 1)
		s.Log.ErrorContext(ctx, "two agents speak for one cluster: the newer is heard; look for a copy of the agent or of its key",
			"cluster_id", cluster, "agent_id", hello.GetAgentId(), "session_epoch", opened.Epoch)
	}
	sess := newSession(ctx, cancel, s, stream, cluster, opened.Epoch)
	// Older sessions of this cluster, wherever they are, learn of it at once.
	if err := s.Bus.Publish(ctx, sessionTopic(cluster), fmt.Append(nil, opened.Epoch)); err != nil {
		s.Log.WarnContext(ctx, "announcing a session; older ones learn of it from the database", "cluster_id", cluster, "error", err)
	}
	abandon, err := sess.resume(ctx, hello.GetRunning())
	if err != nil {
		return nil, err
	}
	stop, err := s.stopIn(ctx, cluster)
	if err != nil {
		return nil, err
	}
	sess.stop.Store(stop)
	modes, err := s.watched(ctx, cluster)
	if err != nil {
		return nil, err
	}
	sess.watched = modes[cluster]
	if opened.Work {
		sess.look()
	}
	_ = stream.SetHeader(metadata.Pairs(spreadHeader, fmt.Sprintf("%.3f", s.spread().Seconds())))
	return sess, sess.send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Welcome{Welcome: &agentv1.Welcome{
		SessionId: opened.ID.String(), SessionEpoch: opened.Epoch, ServerId: s.Replica, ServerTime: timestamppb.Now(), Settings: s.settings(sess.watched),
		NeedInventory:  opened.InventorySequence == 0 || opened.InventorySequence != hello.GetInventorySequence(),
		AbandonTaskIds: abandon, Stop: stop,
	}}})
}

// notOpened tells a leader that was replaced to stay away: an error alone it
// would take for a passing one.
func (s *Server) notOpened(ctx context.Context, stream connection, hello *agentv1.Hello, err error) error {
	if fault.ReasonOf(err) != faultv1.Reason_REASON_SUPERSEDED {
		return err
	}
	s.Log.WarnContext(ctx, "an agent whose lease was lost is refused", "cluster_id", hello.GetClusterId(),
		"agent_id", hello.GetAgentId(), "leader_epoch", hello.GetLeaderEpoch())
	msg := goAway("superseded", awayFor)
	msg.Sequence = 1
	_ = stream.Send(msg)
	return fault.New(faultv1.Reason_REASON_SUPERSEDED, "an agent with a newer lease has taken over")
}

// resume keeps the tasks that the agent still runs with it; those central no
// longer wants are returned. One that central has never heard of is the agent's
// own, begun on an instance's notice while central was away: its notice follows.
func (sess *session) resume(ctx context.Context, running []*agentv1.RunningTask) ([]string, error) {
	var abandon []string
	for _, r := range running {
		id, err := uuid.Parse(r.GetTaskId())
		if err != nil {
			continue
		}
		kept, err := sess.Store.ResumeTask(ctx, sess.cluster, id, sess.epoch, r.GetAttempt(), dispatch.RunLease)
		if err != nil {
			return nil, err
		}
		if kept {
			sess.hold(r.GetTaskId(), true)
			continue
		}
		if _, err := sess.Store.TaskStatus(ctx, sess.cluster, id); fault.ReasonOf(err) == faultv1.Reason_REASON_NOT_FOUND {
			continue
		}
		abandon = append(abandon, r.GetTaskId())
	}
	return abandon, nil
}

// errEnded is an ordinary end of a stream.
var errEnded = errors.New("the agent left")

// ended tells an ordinary end of a stream from a failure.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return err
}

// agedBetween is a time between half of an age and all of it from now.
func agedBetween(age time.Duration) time.Time { return time.Now().Add(age/2 + rand.N(age/2+1)) }
