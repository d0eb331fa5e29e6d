package agents

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
)

// TestSessionsLeaveNothingBehind is first and alone: it counts goroutines.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	h := newHouse(t)
	r := h.replica(t, bus.New(), DefaultSettings())
	l, _ := r.session(t, h)
	before := goleak.IgnoreCurrent()
	for range 5 {
		id := h.task(t, r)
		// The one before is superseded, with a task in hand.
		next, _ := r.session(t, h)
		l = next
		l.heartbeat(t)
		_ = id
	}
	l.hang()
	_ = l.ended(t)
	goleak.VerifyNone(t, before)
}

func TestSessionsAreNumberedAndTheInventoryIsAskedForOnce(t *testing.T) {
	h, r := one(t)
	first, welcome := r.session(t, h)
	equal(t, "epoch", welcome.GetSessionEpoch(), 1)
	equal(t, "server", welcome.GetServerId(), "replica")
	equal(t, "need inventory", welcome.GetNeedInventory(), true)
	equal(t, "heartbeats", welcome.GetSettings().GetHeartbeatSeconds(), 5)
	if skew := time.Since(welcome.GetServerTime().AsTime()); skew > time.Minute || skew < 0 {
		t.Errorf("server time is off by %s", skew)
	}
	first.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventorySnapshot{InventorySnapshot: &agentv1.InventorySnapshot{
		InventorySequence: 4, Last: true, Nodes: []*fleetv1.NodeMetric{{NodeName: "n", NodeType: "spot", InstanceId: "i-1"}},
	}}})
	equal(t, "acknowledged", first.next(t).GetInventoryAck().GetInventorySequence(), 4)
	first.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventoryDelta{InventoryDelta: &agentv1.InventoryDelta{InventorySequence: 6}}})
	mentions(t, first.next(t).GetInventoryResync().GetReason(), "gap")
	must(t, first.stream.CloseSend())
	_ = first.ended(t)

	second := r.connect(t, h.cluster).listen()
	second.say(t, hello(h.cluster, 4))
	welcome = second.next(t).GetWelcome()
	equal(t, "epoch", welcome.GetSessionEpoch(), 2)
	equal(t, "need inventory", welcome.GetNeedInventory(), false)
}

func hello(cluster uuid.UUID, inventory int64) *agentv1.ConnectRequest {
	return &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{
		Protocol: 1, ClusterId: cluster.String(), AgentId: "agent-0", InventorySequence: inventory,
	}}}
}

func TestAnAgentSpeaksOfItsOwnClusterAlone(t *testing.T) {
	h, r := one(t)
	other := h.clusterOf(t, "rival")
	stranger := r.connect(t, other).listen()
	stranger.say(t, hello(h.cluster, 0))
	wantReason(t, stranger.ended(t), faultv1.Reason_REASON_PERMISSION_DENIED)

	l, _ := r.session(t, h)
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Metrics{Metrics: &fleetv1.ClusterMetrics{
		ClusterId: other.String(), Timestamp: timestamppb.Now(),
	}}})
	refused := l.next(t).GetUnsupported()
	equal(t, "sequence", refused.GetSequence(), 2)
	mentions(t, refused.GetReason(), "its own cluster")

	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+other.String())
	_, err := r.calls.ListTasks(ctx, &agentv1.ListTasksRequest{ClusterId: h.cluster.String()})
	wantReason(t, err, faultv1.Reason_REASON_PERMISSION_DENIED)
	id := h.task(t, r)
	_, err = r.calls.SubmitTaskResult(ctx, &agentv1.SubmitTaskResultRequest{
		TaskId: id.String(), Result: &fleetv1.TaskResult{TaskId: id.String(), Status: "success"},
	})
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
}

func TestTheFirstWordIsAValidHello(t *testing.T) {
	h, r := one(t)
	for name, msg := range map[string]*agentv1.ConnectRequest{
		"heartbeat":    {Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{Status: "healthy"}}},
		"nothing":      {},
		"no agent":     {Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, ClusterId: h.cluster.String()}}},
		"no protocol":  {Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{AgentId: "a", ClusterId: h.cluster.String()}}},
		"not a UUID":   {Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, AgentId: "a", ClusterId: "acme"}}},
		"bad running":  {Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, AgentId: "a", ClusterId: h.cluster.String(), Running: []*agentv1.RunningTask{{TaskId: "x"}}}}},
		"long version": {Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, AgentId: "a", ClusterId: h.cluster.String(), Version: strings.Repeat("v", 65)}}},
	} {
		l := r.connect(t, h.cluster).listen()
		l.say(t, msg)
		if err := l.ended(t); err != nil {
			t.Log(name, err)
			wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
		}
	}
	_, welcome := r.session(t, h)
	equal(t, "epoch after refused hellos", welcome.GetSessionEpoch(), 1)
}

func TestALongKubernetesVersionIsNoReasonToRefuseTheAgent(t *testing.T) {
	h, r := one(t)
	l := r.connect(t, h.cluster).listen()
	msg := hello(h.cluster, 0)
	msg.GetHello().KubernetesVersion = strings.Repeat("v", 64) // the contract allows it
	l.say(t, msg)
	if l.next(t).GetWelcome() == nil {
		t.Fatal("no welcome")
	}
}

func TestF41WhatIsNotUnderstoodIsAnsweredAndTheSessionLives(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	unknown := &agentv1.ConnectRequest{} // a kind of a later version
	raw := protowire.AppendTag(nil, 900, protowire.BytesType)
	unknown.ProtoReflect().SetUnknown(protowire.AppendBytes(raw, []byte("from the future")))
	for _, c := range []struct {
		msg  *agentv1.ConnectRequest
		want string
	}{
		{unknown, "unknown kind"},
		{&agentv1.ConnectRequest{}, "no kind"},
		{hello(h.cluster, 0), "once"},
		{&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{Status: "fine"}}}, "status"},
		{&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: &fleetv1.TaskResult{TaskId: uuid.NewString(), Status: "done"}}}, "status"},
		{&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskAccepted{TaskAccepted: &agentv1.TaskAccepted{TaskId: "1"}}}, "task_id"},
		{&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventoryDelta{InventoryDelta: &agentv1.InventoryDelta{
			InventorySequence: 1, Nodes: []*fleetv1.NodeMetric{{NodeName: "n", NodeType: "reserved"}},
		}}}, "node_type"},
	} {
		l.say(t, c.msg)
		refused := l.next(t).GetUnsupported()
		equal(t, "sequence", refused.GetSequence(), l.sent)
		mentions(t, refused.GetReason(), c.want)
	}
	l.heartbeat(t)
	if l.next(t).GetHeartbeatAck().GetServerTime() == nil {
		t.Error("the session does not live")
	}
}

func TestATaskIsOfferedWithinTwoSecondsEvenWhenItsAnnouncementIsLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	losses := 0
	wakes := &forgetful{Bus: bus.New(), lose: func(topic string) bool {
		losses++
		return strings.HasPrefix(topic, "tasks:") && losses < 3
	}}
	r := h.replica(t, wakes, DefaultSettings())
	l, _ := r.session(t, h)
	start := time.Now()
	id := h.task(t, r)
	equal(t, "task", l.next(t).GetTask().GetTaskId(), id.String())
	if took := time.Since(start); took > 2500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestF36ATaskIsOfferedAtOnceAndItsResultCountsOnce(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	start := time.Now()
	id := h.task(t, r)
	task := l.next(t).GetTask()
	if took := time.Since(start); took > 800*time.Millisecond {
		t.Errorf("an announced task took %s", took)
	}
	equal(t, "task", task.GetTaskId(), id.String())
	equal(t, "attempt", task.GetAttempt(), 1)
	equal(t, "lease", task.GetLeaseSeconds(), 30)
	l.accept(t, task)
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskProgress{
		TaskProgress: &fleetv1.TaskProgress{TaskId: id.String(), Attempt: 1, Fraction: 0.5},
	}})
	for i, want := range []bool{true, false, false} {
		l.result(t, id, 1)
		ack := l.next(t).GetResultAck()
		equal(t, "acknowledged", ack.GetTaskId(), id.String())
		if ack.GetAccepted() != want {
			t.Errorf("result %d: accepted is %v", i, ack.GetAccepted())
		}
	}
	equal(t, "status", h.status(t, id), "success")
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskProgress{
		TaskProgress: &fleetv1.TaskProgress{TaskId: id.String(), Attempt: 1},
	}})
	mentions(t, l.next(t).GetTaskCancel().GetReason(), "ended")
	unknown := uuid.New()
	l.result(t, unknown, 1)
	ack := l.next(t).GetResultAck()
	equal(t, "acknowledged", ack.GetTaskId(), unknown.String())
	equal(t, "accepted", ack.GetAccepted(), false)
}

func TestACancelReachesTheAgent(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	id := h.task(t, r)
	l.accept(t, l.next(t).GetTask())
	must(t, r.tasks.Cancel(t.Context(), h.cluster, "changed our mind", id))
	cancel := l.next(t).GetTaskCancel()
	equal(t, "task", cancel.GetTaskId(), id.String())
	equal(t, "reason", cancel.GetReason(), "changed our mind")
	r.tasks.Announce(t.Context(), h.cluster)
	l.quiet(t, 300*time.Millisecond) // it was asked once
}

func TestANewerSessionDrivesTheOlderAway(t *testing.T) {
	h, r := one(t)
	old, _ := r.session(t, h)
	newest, welcome := r.session(t, h)
	equal(t, "epoch", welcome.GetSessionEpoch(), 2)
	equal(t, "reason", old.next(t).GetGoAway().GetReason(), "superseded")
	wantReason(t, old.ended(t), faultv1.Reason_REASON_SUPERSEDED)
	id := h.task(t, r)
	equal(t, "task", newest.next(t).GetTask().GetTaskId(), id.String())
}

func TestAnOlderSessionLearnsOfTheNewerWhenTheBusIsSilent(t *testing.T) {
	for name, word := range map[string]func(t *testing.T, h *house, r *replica, old *line){
		"at its heartbeat": func(t *testing.T, _ *house, _ *replica, old *line) { old.heartbeat(t) },
		"at its inventory": func(t *testing.T, _ *house, _ *replica, old *line) {
			old.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_InventoryDelta{InventoryDelta: &agentv1.InventoryDelta{InventorySequence: 1}}})
		},
		"when a task waits": func(t *testing.T, h *house, r *replica, _ *line) { h.task(t, r) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			wakes := &forgetful{Bus: bus.New(), lose: func(topic string) bool { return strings.HasPrefix(topic, "session:") }}
			r, other := h.replica(t, wakes, DefaultSettings()), h.replica(t, bus.New(), DefaultSettings())
			old, _ := r.session(t, h)
			old.heartbeat(t) // once it is answered, the session's first look for tasks is behind it
			if old.next(t).GetHeartbeatAck() == nil {
				t.Fatal("no ack")
			}
			newest, _ := other.session(t, h)
			old.quiet(t, 100*time.Millisecond)
			word(t, h, r, old)
			msg := old.next(t)
			for msg.GetHeartbeatAck() != nil { // which needs no database
				msg = old.next(t)
			}
			equal(t, "reason", msg.GetGoAway().GetReason(), "superseded")
			wantReason(t, old.ended(t), faultv1.Reason_REASON_SUPERSEDED)
			newest.heartbeat(t)
			for newest.next(t).GetHeartbeatAck() == nil { // the task may come first
			}
		})
	}
}

func TestAnAgentThatComesBackKeepsTheTasksItRuns(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	kept, ended, cancelled := h.task(t, r), h.task(t, r), h.task(t, r)
	for range 3 {
		l.accept(t, l.next(t).GetTask())
	}
	l.result(t, ended, 1)
	if l.next(t).GetResultAck() == nil {
		t.Fatal("no ack")
	}
	must(t, h.CancelTasks(t.Context(), []uuid.UUID{cancelled}, "stop"))
	l.hang()
	_ = l.ended(t)

	unknown := uuid.New() // the agent's own, on an instance's notice
	var running []*agentv1.RunningTask
	for _, id := range []uuid.UUID{kept, ended, cancelled, unknown} {
		running = append(running, &agentv1.RunningTask{TaskId: id.String(), Attempt: 1})
	}
	again, welcome := r.session(t, h, running...)
	if diff := cmp.Diff([]string{ended.String(), cancelled.String()}, welcome.GetAbandonTaskIds()); diff != "" {
		t.Fatal(diff)
	}
	equal(t, "status", h.status(t, kept), "running")
	outcomes, err := h.TaskOutcomes(t.Context(), []uuid.UUID{kept})
	must(t, err)
	equal(t, "done", outcomes[kept].Done(), false)
	again.result(t, kept, 1)
	for {
		if ack := again.next(t).GetResultAck(); ack != nil { // the cancel may come first
			equal(t, "accepted", ack.GetAccepted(), true)
			break
		}
	}
}

func TestASilentAgentIsDisconnectedAfterThreeHeartbeats(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	settings := DefaultSettings()
	settings.HeartbeatSeconds = 0.2
	r := h.replica(t, bus.New(), settings)
	l, _ := r.session(t, h)
	start := time.Now()
	for range 4 {
		<-time.After(200 * time.Millisecond)
		l.heartbeat(t)
		if l.next(t).GetHeartbeatAck() == nil {
			t.Fatal("no ack")
		}
	}
	wantReason(t, l.ended(t), faultv1.Reason_REASON_DEADLINE_EXCEEDED)
	if took := time.Since(start); took < 1300*time.Millisecond {
		t.Errorf("disconnected after %s, too early", took)
	}
	var open int
	must(t, h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM clusters WHERE session_id IS NOT NULL").Scan(&open))
	equal(t, "open sessions", open, 0)
}

func TestTasksReachTheReplicaThatHoldsTheStream(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	shared := bus.New() // as Redis makes it
	a, b := h.replica(t, shared, DefaultSettings()), h.replica(t, shared, DefaultSettings())
	l, _ := a.session(t, h)
	id := h.task(t, b)
	task := l.next(t).GetTask()
	equal(t, "task", task.GetTaskId(), id.String())
	moved, _ := b.session(t, h) // the agent moves to the other replica
	equal(t, "reason", l.next(t).GetGoAway().GetReason(), "superseded")
	id = h.task(t, a)
	equal(t, "task", moved.next(t).GetTask().GetTaskId(), id.String())
	// Even when the replicas hear nothing of each other.
	c := h.replica(t, bus.New(), DefaultSettings())
	last, _ := c.session(t, h)
	start := time.Now()
	id = h.task(t, a)
	equal(t, "task", last.next(t).GetTask().GetTaskId(), id.String())
	if took := time.Since(start); took > 2500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestF30AnAgentThatDoesNotReadIsDisconnected(t *testing.T) {
	h, r := one(t)
	l := r.connect(t, h.cluster)
	l.say(t, hello(h.cluster, 0))
	stop := time.Now().Add(20 * time.Second)
	for time.Now().Before(stop) { // each is answered
		l.sent++
		if err := l.stream.Send(&agentv1.ConnectRequest{Sequence: l.sent}); err != nil {
			break
		}
	}
	wantReason(t, l.listen().ended(t), faultv1.Reason_REASON_RATE_LIMITED)
}

func TestOffersThatWereNeverTakenAndTasksThatExpiredGiveTheirRoomBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	settings := DefaultSettings()
	settings.MaxInflightTasks = 2
	r := h.replica(t, bus.New(), settings)
	l, _ := r.session(t, h)
	for range 3 {
		h.task(t, r)
	}
	first, second := l.next(t).GetTask(), l.next(t).GetTask()
	l.quiet(t, 1200*time.Millisecond) // no room for the third
	// The first is never accepted and its lease ends; the second passes its deadline.
	_, err := h.db.Pool.Exec(t.Context(), "UPDATE tasks SET lease_until = now() - interval '1 s' WHERE task_id = $1", first.GetTaskId())
	must(t, err)
	_, err = h.db.Pool.Exec(t.Context(), "UPDATE tasks SET deadline = now() - interval '1 hour' WHERE task_id = $1", second.GetTaskId())
	must(t, err)
	again, third := l.next(t).GetTask(), l.next(t).GetTask()
	equal(t, "offered again", again.GetTaskId(), first.GetTaskId())
	equal(t, "attempt", again.GetAttempt(), 2)
	equal(t, "third", third.GetAttempt(), 1)
}

func TestAnAgentThatPollsDoesAllThatAStreamDoes(t *testing.T) {
	h, r := one(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+h.cluster.String())
	id := h.task(t, r)
	beat, err := r.calls.Heartbeat(ctx, &agentv1.HeartbeatRequest{ClusterId: h.cluster.String(), Status: "healthy", Timestamp: timestamppb.Now()})
	must(t, err)
	equal(t, "waiting", beat.GetPendingTasks(), 1)
	for range 2 { // a task stays in the list until it has ended
		listed, err := r.calls.ListTasks(ctx, &agentv1.ListTasksRequest{ClusterId: h.cluster.String()})
		must(t, err)
		equal(t, "tasks", len(listed.GetTasks()), 1)
		equal(t, "attempt", listed.GetTasks()[0].GetAttempt(), 1)
	}
	submit := func(result *fleetv1.TaskResult) *agentv1.SubmitTaskResultResponse {
		resp, err := r.calls.SubmitTaskResult(ctx, &agentv1.SubmitTaskResultRequest{TaskId: id.String(), Result: result})
		must(t, err)
		return resp
	}
	equal(t, "accepted", submit(&fleetv1.TaskResult{Status: "success"}).GetAccepted(), true)
	again := submit(&fleetv1.TaskResult{TaskId: id.String(), Status: "failed"})
	equal(t, "accepted again", again.GetAccepted(), false)
	equal(t, "status", again.GetStatus(), "success")
	_, err = r.calls.SubmitTaskResult(ctx, &agentv1.SubmitTaskResultRequest{
		TaskId: uuid.NewString(), Result: &fleetv1.TaskResult{TaskId: id.String(), Status: "success"},
	})
	wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	_, err = r.calls.SubmitMetrics(ctx, &agentv1.SubmitMetricsRequest{Metrics: &fleetv1.ClusterMetrics{
		ClusterId: h.cluster.String(), Timestamp: timestamppb.Now(), TotalNodes: 1, Complete: true,
		Nodes: []*fleetv1.NodeMetric{{NodeName: "n", NodeType: "spot"}},
	}})
	must(t, err)
	state, err := h.ClusterState(t.Context(), h.cluster, uuid.NullUUID{})
	must(t, err)
	equal(t, "nodes", len(state.GetNodes()), 1)
	stored, err := r.calls.SubmitEvents(ctx, &agentv1.SubmitEventsRequest{Events: []*fleetv1.Event{{
		EventId: "e", LastSeen: timestamppb.Now(), Reason: "Killing", Type: "Normal", ObjectKind: "Pod", ObjectName: "p",
	}}})
	must(t, err)
	equal(t, "events", stored.GetAccepted(), 1)
}

func TestACallerWhoSaysNothingIsNotWaitedForLong(t *testing.T) {
	if helloWithin > 30*time.Second {
		t.Fatalf("a caller may hold a stream for %s without a word", helloWithin)
	}
	h, r := one(t)
	l := r.connect(t, h.cluster).listen()
	ctx, cancel := context.WithTimeout(t.Context(), helloWithin+5*time.Second)
	defer cancel()
	select {
	case err := <-l.end:
		wantReason(t, err, faultv1.Reason_REASON_DEADLINE_EXCEEDED)
	case <-ctx.Done():
		t.Fatal("the stream is still open")
	}
}
