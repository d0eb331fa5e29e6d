package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
)

// helloWithin bounds how long a caller may hold a stream without saying who it is.
const helloWithin = 10 * time.Second

// Connect is the life of one session: hello, welcome, then each side speaks when
// it has something to say, until the line breaks or a newer session takes over.
func (s *Server) Connect(stream grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	in := receive(ctx, stream)
	hello, err := firstWord(ctx, in)
	if err != nil {
		return err
	}
	sess, err := s.open(ctx, stream, hello)
	if err != nil {
		return err
	}
	defer s.leave(sess)
	s.Log.InfoContext(ctx, "agent connected", "cluster_id", sess.cluster, "agent_id", hello.GetAgentId(),
		"session_epoch", sess.epoch, "version", hello.GetVersion())
	go func() { cancel(sess.speakSafely(ctx)) }()
	err = sess.listen(ctx, in)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	s.Log.InfoContext(ctx, "agent disconnected", "cluster_id", sess.cluster, "session_epoch", sess.epoch, "reason", fmt.Sprint(err))
	return err
}

type received struct {
	msg *agentv1.ConnectRequest
	err error
}

// receive reads in a goroutine of its own, so that waiting for a message can
// end; it ends with the stream.
func receive(ctx context.Context, stream grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]) <-chan received {
	in := make(chan received)
	go func() {
		for {
			msg, err := stream.Recv()
			select {
			case in <- received{msg, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return in
}

func firstWord(ctx context.Context, in <-chan received) (*agentv1.Hello, error) {
	timeout := time.NewTimer(helloWithin)
	defer timeout.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timeout.C:
		return nil, fault.New(faultv1.Reason_REASON_DEADLINE_EXCEEDED, "no hello within %s", helloWithin)
	case first := <-in:
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
func (s *Server) open(ctx context.Context, stream grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse], hello *agentv1.Hello) (*session, error) {
	cluster := uuid.MustParse(hello.GetClusterId()) // checked by firstWord
	opened, err := s.Store.OpenSession(ctx, cluster, s.Replica, hello.GetKubernetesVersion())
	if err != nil {
		return nil, err
	}
	sess := &session{
		Server: s, stream: stream, cluster: cluster, epoch: opened.Epoch, out: make(chan *agentv1.ConnectResponse, outbound),
		outdated: make(chan struct{}, 1), inflight: map[uuid.UUID]bool{}, cancelled: map[uuid.UUID]bool{},
	}
	// Older sessions of this cluster, wherever they are, learn of it at once.
	if err := s.Bus.Publish(ctx, sessionTopic(cluster), fmt.Append(nil, opened.Epoch)); err != nil {
		s.Log.WarnContext(ctx, "announcing a session; older ones learn of it at their heartbeat", "cluster_id", cluster, "error", err)
	}
	abandon, err := sess.resume(ctx, hello.GetRunning())
	if err != nil {
		return nil, err
	}
	return sess, sess.send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Welcome{Welcome: &agentv1.Welcome{
		SessionId: opened.ID.String(), SessionEpoch: opened.Epoch, ServerId: s.Replica, ServerTime: timestamppb.Now(), Settings: s.Settings,
		NeedInventory:  opened.InventorySequence == 0 || opened.InventorySequence != hello.GetInventorySequence(),
		AbandonTaskIds: abandon,
	}}})
}

// resume keeps the tasks that the agent still runs with it; those central no longer wants are returned.
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
		if !kept {
			abandon = append(abandon, r.GetTaskId())
			continue
		}
		sess.inflight[id] = true
	}
	return abandon, nil
}

func (s *Server) leave(sess *session) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // the stream's own context is over
	defer cancel()
	if err := s.Store.CloseSession(ctx, sess.cluster, sess.epoch); err != nil {
		s.Log.WarnContext(ctx, "closing a session", "cluster_id", sess.cluster, "error", err)
	}
}

func sessionTopic(cluster uuid.UUID) string { return "session:" + cluster.String() }

// ended tells an ordinary end of a stream from a failure.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
