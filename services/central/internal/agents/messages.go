package agents

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// take does what one message asks; it is valid.
func (sess *session) take(ctx context.Context, msg *agentv1.ConnectRequest) error {
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectRequest_NodeNotice:
		return sess.notice(ctx, kind.NodeNotice)
	case *agentv1.ConnectRequest_TaskAccepted:
		return sess.accepted(ctx, kind.TaskAccepted)
	case *agentv1.ConnectRequest_TaskProgress:
		return sess.progress(ctx, kind.TaskProgress)
	case *agentv1.ConnectRequest_TaskResult:
		return sess.result(ctx, kind.TaskResult)
	case *agentv1.ConnectRequest_Metrics:
		return sess.metrics(ctx, kind.Metrics)
	case *agentv1.ConnectRequest_Events:
		_, err := sess.addEvents(ctx, sess.cluster, kind.Events.GetEvents())
		return err
	case *agentv1.ConnectRequest_InventorySnapshot:
		return sess.snapshot(ctx, kind.InventorySnapshot)
	case *agentv1.ConnectRequest_InventoryDelta:
		return sess.delta(ctx, kind.InventoryDelta)
	case *agentv1.ConnectRequest_Unsupported:
		sess.Log.WarnContext(ctx, "the agent does not know a message", "cluster_id", sess.cluster, "reason", kind.Unsupported.GetReason())
		return nil
	case *agentv1.ConnectRequest_Heartbeat: // which listen answers
		return fault.Invalid("status", "must be one of healthy, degraded, unhealthy")
	case *agentv1.ConnectRequest_Hello:
		return fault.Invalid("hello", "must be said once")
	default:
		return fault.New(faultv1.Reason_REASON_UNIMPLEMENTED, "the message has %s", kindName(proto.Message(msg)))
	}
}

// accepted renews the lease; an offer that ran out meanwhile comes again.
func (sess *session) accepted(ctx context.Context, msg *agentv1.TaskAccepted) error {
	id, err := uuid.Parse(msg.GetTaskId())
	if err != nil {
		return err
	}
	_, err = sess.Store.AcceptTask(ctx, sess.cluster, id, msg.GetAttempt(), dispatch.RunLease)
	return err
}

func (sess *session) progress(ctx context.Context, msg *fleetv1.TaskProgress) error {
	id, err := uuid.Parse(msg.GetTaskId())
	if err != nil {
		return err
	}
	reason, open, err := sess.Store.ProgressTask(ctx, sess.cluster, id, msg, dispatch.RunLease)
	if err != nil {
		return err
	}
	if !open {
		reason = "the task has ended"
	}
	if reason == "" {
		return nil
	}
	sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_TaskCancel{
		TaskCancel: &agentv1.TaskCancel{TaskId: msg.GetTaskId(), Attempt: msg.GetAttempt(), Reason: reason},
	}})
	return nil
}

// result is acknowledged once it is committed; one that is not central's is
// acknowledged too, or the agent would send it for ever, unless the notice that
// made it central's is still to come.
func (sess *session) result(ctx context.Context, msg *fleetv1.TaskResult) error {
	accepted, err := sess.finish(ctx, sess.cluster, sess.epoch, msg)
	unknown := fault.ReasonOf(err) == faultv1.Reason_REASON_NOT_FOUND
	if err != nil && (!unknown || len(sess.owed) > 0) {
		return err
	}
	sess.hold(msg.GetTaskId(), false)
	sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_ResultAck{
		ResultAck: &agentv1.ResultAck{TaskId: msg.GetTaskId(), Accepted: accepted},
	}})
	return nil
}

// notice is acknowledged once it is committed.
func (sess *session) notice(ctx context.Context, msg *fleetv1.NodeNotice) error {
	if sess.Interruptions == nil {
		return fault.New(faultv1.Reason_REASON_UNIMPLEMENTED, "this central does not act on notices")
	}
	if err := sess.Interruptions.Notice(ctx, sess.cluster, msg); err != nil {
		if sess.owed == nil {
			sess.owed = map[string]bool{}
		}
		sess.owed[msg.GetNoticeId()] = true
		return err
	}
	delete(sess.owed, msg.GetNoticeId())
	sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_NodeNoticeAck{
		NodeNoticeAck: &agentv1.NodeNoticeAck{NoticeId: msg.GetNoticeId()},
	}})
	return nil
}

func (sess *session) metrics(ctx context.Context, msg *fleetv1.ClusterMetrics) error {
	if msg.GetClusterId() != sess.cluster.String() {
		return fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "an agent speaks of its own cluster alone")
	}
	return sess.takeMetrics(ctx, sess.cluster, msg)
}

func (sess *session) snapshot(ctx context.Context, page *agentv1.InventorySnapshot) error {
	inForce, err := sess.Store.PutSnapshot(ctx, sess.cluster, sess.epoch, page)
	if err != nil {
		return sess.resync(err)
	}
	if inForce {
		sess.inventoryAck(page.GetInventorySequence())
	}
	return nil
}

func (sess *session) delta(ctx context.Context, delta *agentv1.InventoryDelta) error {
	if err := sess.Store.PutDelta(ctx, sess.cluster, sess.epoch, delta); err != nil {
		return sess.resync(err)
	}
	sess.inventoryAck(delta.GetInventorySequence())
	return nil
}

func (sess *session) resync(err error) error {
	if !errors.Is(err, store.ErrResync) {
		return err
	}
	sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_InventoryResync{
		InventoryResync: &agentv1.InventoryResync{Reason: store.ErrResync.Message},
	}})
	return nil
}

func (sess *session) inventoryAck(sequence int64) {
	sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_InventoryAck{
		InventoryAck: &agentv1.InventoryAck{InventorySequence: sequence},
	}})
}

// kindName is for messages of a kind this build does not know.
func kindName(msg proto.Message) string {
	if len(msg.ProtoReflect().GetUnknown()) > 0 {
		return "an unknown kind"
	}
	return "no kind"
}
