package interruption

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/workid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// margin is kept in hand before AWS acts: what is left then is deleted.
	marginSeconds = 5
	// volumesWithin is how long the last of a drain waits for volumes.
	volumesWithin = 30
	// renamed bounds how far an agent's own numbering may be ahead of ours.
	renamed = 8
)

// drain writes the task that empties the node, once an urgency. before is what
// was known until now; own is the task by which the agent drains already.
func (s *Service) drain(ctx context.Context, tx *store.Store, i *store.Interruption, before int, own uuid.UUID) (bool, error) {
	if i.State != "at_risk" && i.State != "draining" {
		return false, nil
	}
	switch {
	case !i.DrainTask.Valid:
		i.Nth = numbered(i, own)
	case forced(i.Urgency) && !forced(before) && !drained(i):
		i.Nth++ // a forced drain is another task: it supersedes the gentle one at the agent
		i.DrainOutcome, i.DrainError = "", ""
	default:
		return false, nil
	}
	i.State = "draining"
	i.DrainTask = uuid.NullUUID{UUID: workid.InterruptionDrain(i.Cluster, i.InstanceID, i.Nth), Valid: true}
	task, err := drainTask(i, time.Now())
	if err != nil {
		return false, err
	}
	return true, s.Dispatch.Add(ctx, tx, task)
}

func drained(i *store.Interruption) bool {
	return i.DrainOutcome == "drained" || i.DrainOutcome == "forced"
}

// numbered is the number under which the agent drains the node by itself, or ours.
func numbered(i *store.Interruption, own uuid.UUID) int {
	for nth := i.Nth; nth < i.Nth+renamed; nth++ {
		if own == workid.InterruptionDrain(i.Cluster, i.InstanceID, nth) {
			return nth
		}
	}
	return i.Nth
}

func drainTask(i *store.Interruption, now time.Time) (*fleetv1.Task, error) {
	parameters, err := asStruct(drainParameters(i))
	if err != nil {
		return nil, fmt.Errorf("encoding the drain of node %s: %w", i.Node, err)
	}
	return &fleetv1.Task{
		TaskId: i.DrainTask.UUID.String(), ClusterId: i.Cluster.String(), TaskType: "drain_node", Parameters: parameters, Priority: 1,
		Deadline: timestamppb.New(drainUntil(i, now)), CreatedBy: actor, Traceparent: i.Traceparent, Cause: "interruption",
	}, nil
}

func drainParameters(i *store.Interruption) *fleetv1.DrainNodeParameters {
	p := &fleetv1.DrainNodeParameters{
		NodeName: i.Node, InstanceId: i.InstanceID, Force: forced(i.Urgency), SafetyMarginSeconds: marginSeconds, VolumeDetachSeconds: volumesWithin,
	}
	switch {
	case i.Urgency >= ending: // nobody is left to end the pods in peace
		p.GracePeriod, p.SafetyMarginSeconds, p.VolumeDetachSeconds = 1, 1, 0
	case i.Action == "hibernate":
		p.GracePeriod, p.SafetyMarginSeconds, p.VolumeDetachSeconds = 5, 1, 0
	}
	return p
}

// drainUntil is the task's deadline. The margin is the agent's to keep: it is in
// the parameters. A notice that comes late still gets a short drain.
func drainUntil(i *store.Interruption, now time.Time) time.Time {
	soon := now.Add(short)
	switch {
	case i.Urgency >= ending || i.Action == "hibernate":
		return soon
	case i.Urgency == warned && i.Deadline.IsZero():
		return now.Add(notice.Lead)
	case i.Urgency == warned:
		return latest(i.Deadline, soon)
	case i.Urgency == group:
		return now.Add(groupPatience)
	case i.Deadline.IsZero() || i.Deadline.After(now.Add(plannedPatience)):
		return now.Add(plannedPatience)
	default:
		return latest(i.Deadline, now.Add(notice.Lead))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// asStruct is a parameter message as tasks carry it.
func asStruct(msg proto.Message) (*structpb.Struct, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(msg)
	if err != nil {
		return nil, err
	}
	out := &structpb.Struct{}
	return out, protojson.Unmarshal(raw, out)
}
