package agents

import (
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

// outgoingKey says which messages to an agent take each other's place, and which
// go before the rest: what begins, ends or settles work.
func outgoingKey(msg *agentv1.ConnectResponse) (key string, urgent bool) {
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectResponse_Task:
		return "task " + kind.Task.GetTaskId(), true
	case *agentv1.ConnectResponse_TaskCancel:
		return "cancel " + kind.TaskCancel.GetTaskId(), true
	case *agentv1.ConnectResponse_ResultAck:
		return "result " + kind.ResultAck.GetTaskId(), true
	case *agentv1.ConnectResponse_NodeNoticeAck:
		return "notice " + kind.NodeNoticeAck.GetNoticeId(), true
	case *agentv1.ConnectResponse_GoAway:
		return "go away", true
	case *agentv1.ConnectResponse_HeartbeatAck:
		return "heartbeat", false
	case *agentv1.ConnectResponse_InventoryAck:
		return "inventory", false
	case *agentv1.ConnectResponse_InventoryResync:
		return "resync", false
	case *agentv1.ConnectResponse_Settings:
		return "settings", false
	default:
		return "", false
	}
}

// incomingKey is the same for what an agent says.
func incomingKey(msg *agentv1.ConnectRequest) (key string, urgent bool) {
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectRequest_NodeNotice:
		return "notice " + kind.NodeNotice.GetNoticeId(), true
	case *agentv1.ConnectRequest_TaskResult:
		return "result " + kind.TaskResult.GetTaskId(), true
	case *agentv1.ConnectRequest_TaskAccepted:
		return "accepted " + kind.TaskAccepted.GetTaskId(), true
	case *agentv1.ConnectRequest_TaskProgress:
		return "progress " + kind.TaskProgress.GetTaskId(), true
	case *agentv1.ConnectRequest_Metrics:
		return "metrics", false
	case *agentv1.ConnectRequest_InventorySnapshot, *agentv1.ConnectRequest_InventoryDelta, *agentv1.ConnectRequest_Events:
		return "", false
	default:
		if msg == nil {
			return lookKey, true
		}
		return "", true
	}
}
