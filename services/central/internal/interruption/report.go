package interruption

import (
	"context"
	"time"

	"github.com/google/uuid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Notice takes in what an instance said of itself through its metadata service,
// as an agent of the cluster passes it on. When it returns, it is committed. It is
// the same interruption that a queue may tell of, before or after.
func (s *Service) Notice(ctx context.Context, cluster uuid.UUID, n *fleetv1.NodeNotice) error {
	said := fromNode(n, time.Now())
	owners, err := s.owners(ctx, store.Scope{Cluster: uuid.NullUUID{UUID: cluster, Valid: true}}, []notice.Notice{said})
	if err != nil {
		return err
	}
	h := heard{Notice: said}
	if known := owners[said.InstanceID]; len(known) > 0 {
		h.owner = known[0]
	} else { // the agent knows its node before the inventory does
		customer, err := s.Store.CustomerOf(ctx, cluster)
		if err != nil {
			return err
		}
		h.owner = store.Owner{Cluster: cluster, Customer: customer, InstanceID: said.InstanceID, Node: n.GetNodeName()}
	}
	if id := n.GetTaskId(); id != "" {
		if h.task, err = uuid.Parse(id); err != nil {
			h.task = uuid.Nil
		}
	}
	return s.commitCounted(ctx, []heard{h})
}

// commitCounted is commit for what nobody waits to hear a verdict of.
func (s *Service) commitCounted(ctx context.Context, all []heard) error {
	fresh, err := s.commit(ctx, all)
	if err != nil {
		return err
	}
	for k, h := range all {
		verdict := listen.Duplicate
		if fresh[k] {
			verdict = listen.Taken
		}
		s.count(ctx, h.Notice, verdict)
	}
	return nil
}

// skew between clocks that is not worth correcting.
const skew = 5 * time.Second

// fromNode reads an agent's notice. What is left counts from now: the node's
// clock may be wrong, its stopwatch is not.
func fromNode(n *fleetv1.NodeNotice, now time.Time) notice.Notice {
	out := notice.Notice{
		Key: "imds/" + n.GetNoticeId(), Type: n.GetEventType(), InstanceID: n.GetInstanceId(), Action: n.GetAction(), SaidAt: now,
		Source: notice.FromIMDS, MessageID: n.GetNoticeId(), Detail: map[string]any{"node": n.GetNodeName()},
	}
	if at := n.GetNoticedAt(); at != nil {
		out.SaidAt = at.AsTime()
		out.Detail["noticed_at"] = at.AsTime().Format(time.RFC3339Nano)
	}
	left := time.Duration(n.GetRemainingSeconds() * float64(time.Second))
	if at := n.GetActionTime(); at != nil {
		out.Deadline = at.AsTime()
		if out.Type == notice.InterruptionWarning { // AWS's clock, and the same when it is sent again
			out.SaidAt = out.Deadline.Add(-notice.Lead)
		}
	}
	if left > 0 && now.Add(left).Sub(out.Deadline).Abs() > skew {
		out.Deadline = now.Add(left)
	}
	if out.Type == notice.ScheduledChange || out.Type == notice.LifecycleAction {
		out.Detail["code"], out.Action = n.GetAction(), ""
	}
	return out
}
