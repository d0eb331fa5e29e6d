package agents

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func (h *house) stopAll(t *testing.T, reason string) *adminv1.Stop {
	t.Helper()
	var stop *adminv1.Stop
	must(t, h.InTx(t.Context(), func(tx *store.Store) (err error) {
		stop, _, err = tx.AddStop(t.Context(), store.NewStop{Scope: "platform", Reason: reason, IncludeInterruptions: true, Actor: "me"})
		return err
	}))
	return stop
}

// stop waits for the next word about stops.
func (l *line) stop(t *testing.T) *agentv1.SafetyStop {
	t.Helper()
	for {
		if ack := l.next(t).GetHeartbeatAck(); ack != nil {
			return ack.GetStop()
		}
	}
}

func TestAStopReachesTheAgentUnaskedAndWithEveryHeartbeat(t *testing.T) {
	h, r := one(t)
	l, welcome := r.session(t, h)
	if welcome.GetStop() != nil {
		t.Fatalf("welcomed with a stop: %v", welcome.GetStop())
	}
	made := h.stopAll(t, "all hands")
	for range 2 { // unasked, and with a heartbeat
		stop := l.stop(t)
		if stop.GetReason() != "all hands" || !stop.GetIncludeInterruptions() || !stop.GetSince().AsTime().Equal(made.GetCreatedAt().AsTime()) {
			t.Fatalf("stop %v", stop)
		}
		l.heartbeat(t)
	}
	if _, again := r.session(t, h); again.GetStop().GetReason() != "all hands" {
		t.Fatalf("welcomed without the stop: %v", again)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+h.cluster.String())
	beat := func() *agentv1.HeartbeatResponse {
		t.Helper()
		resp, err := r.calls.Heartbeat(ctx, &agentv1.HeartbeatRequest{ClusterId: h.cluster.String(), Status: "healthy", Timestamp: timestamppb.New(time.Now())})
		must(t, err)
		return resp
	}
	equal(t, "polled stop", beat().GetStop().GetReason(), "all hands")
	newest, _ := r.session(t, h)
	_, _, err := h.LiftStop(t.Context(), uuid.MustParse(made.GetStopId()), "me", "over")
	must(t, err)
	if stop := newest.stop(t); stop != nil {
		t.Fatalf("lifted, and yet %v", stop)
	}
	if stop := beat().GetStop(); stop != nil {
		t.Fatalf("lifted, and yet %v", stop)
	}
}

func TestWithoutTheDatabaseAStopIsNotForgotten(t *testing.T) {
	h, r := one(t)
	made := h.stopAll(t, "all hands")
	l, welcome := r.session(t, h)
	equal(t, "reason", welcome.GetStop().GetReason(), made.GetReason())
	_, err := h.db.Pool.Exec(t.Context(), "ALTER TABLE stops RENAME TO stops_away")
	must(t, err)
	for range 3 {
		l.heartbeat(t)
		equal(t, "stop", l.stop(t).GetReason(), "all hands")
	}
}
