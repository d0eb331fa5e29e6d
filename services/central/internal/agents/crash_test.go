package agents

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/db"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// die ends a replica between two of its steps, as a power cut would.
func (r *replica) die() { r.server.Stop() }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never became true: %s", what)
}

func TestF28ATaskHasOneEffectWhereverAReplicaDies(t *testing.T) {
	for name, diesAfter := range map[string]func(t *testing.T, h *house, l *line, task *fleetv1.Task, r *replica){
		"after the offer, which the agent never saw": func(*testing.T, *house, *line, *fleetv1.Task, *replica) {},
		"before it hears of the acceptance": func(_ *testing.T, _ *house, l *line, task *fleetv1.Task, r *replica) {
			r.die()
			_ = l.stream.Send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskAccepted{
				TaskAccepted: &agentv1.TaskAccepted{TaskId: task.GetTaskId(), Attempt: 1},
			}})
		},
		"after the acceptance": func(t *testing.T, h *house, l *line, task *fleetv1.Task, _ *replica) {
			l.accept(t, task)
			eventually(t, "running", func() bool { return h.status(t, uuid.MustParse(task.GetTaskId())) == "running" })
		},
		"after the result, before its ack": func(t *testing.T, h *house, l *line, task *fleetv1.Task, _ *replica) {
			l.accept(t, task)
			l.result(t, uuid.MustParse(task.GetTaskId()), 1)
			eventually(t, "finished", func() bool { return h.status(t, uuid.MustParse(task.GetTaskId())) == "success" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			first := h.replica(t, bus.New(), DefaultSettings())
			l, _ := first.session(t, h)
			id := h.task(t, first)
			task := l.next(t).GetTask()
			diesAfter(t, h, l, task, first)
			first.die()
			_ = l.ended(t)

			// The agent as it is: what it accepted it runs once, and the result it keeps until it is acknowledged.
			var running []*agentv1.RunningTask
			effects, inHand := 0, name != "after the offer, which the agent never saw"
			if inHand {
				effects++
				running = append(running, &agentv1.RunningTask{TaskId: id.String(), Attempt: 1})
			}
			second := h.replica(t, bus.New(), DefaultSettings())
			again, welcome := second.session(t, h, running...)
			attempt := int32(1)
			if !inHand {
				_, err := h.db.Pool.Exec(t.Context(), "UPDATE tasks SET lease_until = now() - interval '1 s' WHERE status = 'leased'")
				must(t, err)
				task := again.next(t).GetTask()
				equal(t, "offered again", task.GetTaskId(), id.String())
				effects, attempt = effects+1, task.GetAttempt()
				again.accept(t, task)
			}
			finished := name == "after the result, before its ack"
			equal(t, "abandoned", len(welcome.GetAbandonTaskIds()) == 1, finished)
			again.result(t, id, attempt)
			ack := again.next(t).GetResultAck()
			equal(t, "acknowledged", ack.GetTaskId(), id.String())
			equal(t, "accepted now", ack.GetAccepted(), !finished)
			equal(t, "status", h.status(t, id), "success")
			equal(t, "effects", effects, 1)
			var late int
			must(t, h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM task_late_results").Scan(&late))
			equal(t, "evidence of a second run", late, 0)
			again.quiet(t, 300*time.Millisecond)
		})
	}
}

// wire puts a replica on a port, behind a proxy that can misbehave.
func wire(t *testing.T, to string) *toxiproxy.Proxy {
	t.Helper()
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "line", "127.0.0.1:0", to)
	must(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	return proxy
}

func swallow(t *testing.T, proxy *toxiproxy.Proxy) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		_, err := proxy.Toxics.AddToxicJson(strings.NewReader(`{"type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`))
		must(t, err)
	}
}

// listen serves a replica on loopback and returns where.
func (r *replica) listen(t testing.TB) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = r.server.Server.Serve(lis) }()
	return lis.Addr().String()
}

// over is a replica reached by address.
func (r *replica) over(t *testing.T, address string) *replica {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	remote := *r
	remote.conn, remote.calls = conn, agentv1.NewAgentServiceClient(conn)
	return &remote
}

func TestF29CentralSeesAPathThatSwallowsPacketsAndTheTaskGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.replica(t, bus.New(), DefaultSettings())
	proxy := wire(t, r.listen(t))
	l, _ := r.over(t, proxy.Listen).session(t, h)
	id := h.task(t, r)
	l.accept(t, l.next(t).GetTask())
	eventually(t, "running", func() bool { return h.status(t, id) == "running" })
	began := time.Now()
	swallow(t, proxy)
	for len(r.agents.all()) > 0 {
		if time.Since(began) > 20*time.Second {
			t.Fatal("central did not see it within 20 s")
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Logf("seen after %s", time.Since(began).Round(10*time.Millisecond))
	again, welcome := r.session(t, h, &agentv1.RunningTask{TaskId: id.String(), Attempt: 1})
	equal(t, "abandoned", len(welcome.GetAbandonTaskIds()), 0)
	again.result(t, id, 1)
	equal(t, "accepted", again.next(t).GetResultAck().GetAccepted(), true)
}

func TestF30AnAgentThatDoesNotReadHoldsLittleMemory(t *testing.T) {
	h := newHouse(t)
	r := h.replica(t, bus.New(), DefaultSettings())
	address := r.listen(t)
	const agents, each = 40, 200
	var clusters []string
	for i := range agents {
		cluster := h.clusterOf(t, fmt.Sprintf("c%d", i))
		clusters = append(clusters, cluster.String())
		_, err := h.db.Pool.Exec(t.Context(), `INSERT INTO tasks (task_id, cluster_id, task_type, parameters, priority, deadline)
			SELECT gen_random_uuid(), $1, 'cordon_node', jsonb_build_object('reason', repeat('x', 4000)), 1, now() + interval '1 hour'
			FROM generate_series(1, $2)`, cluster, each)
		must(t, err)
	}
	warm, _ := r.session(t, h) // what is made once, such as compiled rules, is not an agent's
	warm.hang()
	eventually(t, "it is gone", func() bool { return len(r.agents.all()) == 0 })
	before := heap()
	startHerd(t, address, clusters, deaf+"=1")
	eventually(t, "all are blocked", func() bool {
		blocked := 0
		for _, sess := range r.agents.all() {
			if since := sess.sendingSince.Load(); since != 0 && time.Since(time.Unix(0, since)) > time.Second {
				blocked++
			}
		}
		return blocked == agents
	})
	held := (heap() - before) / agents
	t.Logf("%d KiB for each agent that does not read", held>>10)
	if held > 256<<10 {
		t.Errorf("more than 256 KiB")
	}
	for _, sess := range r.agents.all() {
		sess.mu.Lock()
		if sess.out.len() > outMessages || sess.out.bytes > outBytes {
			t.Errorf("%d messages, %d bytes wait", sess.out.len(), sess.out.bytes)
		}
		sess.mu.Unlock()
	}
	eventually(t, "they are disconnected", func() bool { return len(r.agents.all()) == 0 })
}

func heap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func TestF30UrgentMessagesOvertakeAndNewerOnesTakeTheOldersPlace(t *testing.T) {
	var q queue[string]
	q.put(entry[string]{"inventory", "ack 1", 10}, false)
	q.put(entry[string]{"", "unsupported", 10}, false)
	q.put(entry[string]{"inventory", "ack 2", 30}, false)
	q.put(entry[string]{"task a", "task", 5}, true)
	equal(t, "bytes", q.bytes, 45)
	equal(t, "messages", q.len(), 3)
	for _, want := range []string{"task", "ack 2", "unsupported"} {
		got, _ := q.take()
		equal(t, "next", got, want)
	}
	if _, ok := q.take(); ok || q.bytes != 0 {
		t.Errorf("%d bytes remain", q.bytes)
	}
}

func TestF32AgentsAreAskedToMoveBeforeTheirStreamEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	settings := DefaultSettings()
	r := h.replica(t, bus.New(), settings, func(cfg *Config) { cfg.StreamAge = 2 * time.Second })
	l, _ := r.session(t, h)
	id := h.task(t, r)
	l.accept(t, l.next(t).GetTask())
	began := time.Now()
	away := l.next(t).GetGoAway()
	equal(t, "reason", away.GetReason(), "age")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("asked after %s", took)
	}
	second := h.task(t, r) // the old stream still works
	equal(t, "task", l.next(t).GetTask().GetTaskId(), second.String())
	next, welcome := r.session(t, h, &agentv1.RunningTask{TaskId: id.String(), Attempt: 1}, &agentv1.RunningTask{TaskId: second.String(), Attempt: 1})
	equal(t, "abandoned", len(welcome.GetAbandonTaskIds()), 0)
	equal(t, "the old one", l.next(t).GetGoAway().GetReason(), "superseded")
	for _, task := range []uuid.UUID{id, second} {
		next.result(t, task, 1)
		equal(t, "accepted", next.next(t).GetResultAck().GetAccepted(), true)
	}
}

func TestF32AReplicaThatStopsAsksAllToMoveAndTakesNoMore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.replica(t, bus.New(), DefaultSettings())
	l, _ := r.session(t, h)
	left := make(chan struct{})
	go func() { defer close(left); r.agents.Leave(t.Context()) }()
	equal(t, "reason", l.next(t).GetGoAway().GetReason(), "draining")
	wantReason(t, r.connect(t, h.cluster).listen().ended(t), faultv1.Reason_REASON_UNAVAILABLE)
	other := h.replica(t, bus.New(), DefaultSettings())
	_, _ = other.session(t, h)
	l.hang()
	<-left
}

func TestF34AnOldSessionThatClosesChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	// Neither hears of the other: only the database knows.
	a, b := h.replica(t, bus.New(), DefaultSettings()), h.replica(t, bus.New(), DefaultSettings())
	old, _ := a.session(t, h)
	newest, welcome := b.session(t, h)
	old.hang()
	_ = old.ended(t)
	eventually(t, "the old one is gone", func() bool { return len(a.agents.all()) == 0 })
	var session uuid.UUID
	must(t, h.db.Pool.QueryRow(t.Context(), "SELECT session_id FROM clusters WHERE cluster_id = $1", h.cluster).Scan(&session))
	equal(t, "session", session.String(), welcome.GetSessionId())
	id := h.task(t, b)
	equal(t, "task", newest.next(t).GetTask().GetTaskId(), id.String())
}

// helloOf opens a session as a named agent.
func (r *replica) helloOf(t *testing.T, h *house, agent string, leader int64) *line {
	t.Helper()
	l := r.connect(t, h.cluster).listen()
	msg := hello(h.cluster, 0)
	msg.GetHello().AgentId, msg.GetHello().LeaderEpoch = agent, leader
	l.say(t, msg)
	return l
}

func TestF35OfTwoAgentsWithOneIdentityTheNewerIsHeardAndItIsSaidLoudly(t *testing.T) {
	h, r := one(t)
	old := r.helloOf(t, h, "original", 0)
	_ = old.next(t).GetWelcome()
	clone := r.helloOf(t, h, "clone", 0)
	if clone.next(t).GetWelcome() == nil {
		t.Fatal("the newer was not welcomed")
	}
	away := old.next(t).GetGoAway()
	equal(t, "reason", away.GetReason(), "superseded")
	if away.GetReconnectAfterSeconds() < 30 {
		t.Errorf("asked to stay away for %v s", away.GetReconnectAfterSeconds())
	}
	wantReason(t, old.ended(t), faultv1.Reason_REASON_SUPERSEDED)
	mentions(t, r.log.String(), "two agents speak for one cluster")
}

func TestF38ALeaderThatWasReplacedIsRefused(t *testing.T) {
	h, r := one(t)
	first := r.helloOf(t, h, "a", 3)
	_ = first.next(t).GetWelcome()
	second := r.helloOf(t, h, "b", 4)
	if second.next(t).GetWelcome() == nil {
		t.Fatal("the new leader was not welcomed")
	}
	equal(t, "the old one", first.next(t).GetGoAway().GetReason(), "superseded")
	// It was paused and wakes up.
	stale := r.helloOf(t, h, "a", 3)
	equal(t, "reason", stale.next(t).GetGoAway().GetReason(), "superseded")
	wantReason(t, stale.ended(t), faultv1.Reason_REASON_SUPERSEDED)
	id := h.task(t, r)
	equal(t, "task of the leader", second.next(t).GetTask().GetTaskId(), id.String())
	if strings.Contains(r.log.String(), "two agents speak") {
		t.Error("a change of leaders was taken for a clone")
	}
	// A lease that was deleted begins again at one: after a minute's silence it counts.
	second.hang()
	_ = second.ended(t)
	_, err := h.db.Pool.Exec(t.Context(), "UPDATE clusters SET session_seen_at = now() - interval '2 minutes'")
	must(t, err)
	if r.helloOf(t, h, "c", 1).next(t).GetWelcome() == nil {
		t.Fatal("a new lease was refused for ever")
	}
}

func TestF37RemainingTimeNeedsNoCommonClock(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{
			Heartbeat: &agentv1.Heartbeat{Status: "healthy", Timestamp: timestamppb.New(time.Now().Add(skew))},
		}})
		if l.next(t).GetHeartbeatAck() == nil {
			t.Fatal("no ack")
		}
		id := h.task(t, r) // with a minute to go
		task := l.next(t).GetTask()
		if left := task.GetRemainingSeconds(); left < 59 || left > 60 {
			t.Errorf("%v s remain, want 60", left)
		}
		l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: &fleetv1.TaskResult{
			TaskId: id.String(), Status: "success", Attempt: 1, ExecutedAt: timestamppb.New(time.Now().Add(skew)),
		}}})
		equal(t, "accepted", l.next(t).GetResultAck().GetAccepted(), true)
	}
}

// keyed is a house whose door checks real keys.
func keyed(t *testing.T) (*house, *replica, *auth.Keys, [2]string) {
	t.Helper()
	t.Parallel()
	h := newHouse(t)
	wakes := bus.New()
	checks := auth.NewKeys(h.Store, wakes, discard())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = checks.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	var secrets [2]string
	for i := range secrets {
		secret, prefix, sum := auth.NewSecret("agent")
		secrets[i] = secret
		var customer uuid.UUID
		must(t, h.db.Pool.QueryRow(t.Context(), "SELECT customer_id FROM clusters WHERE cluster_id = $1", h.cluster).Scan(&customer))
		_, err := h.CreateKey(t.Context(), uuid.NullUUID{UUID: customer, Valid: true}, uuid.NullUUID{UUID: h.cluster, Valid: true},
			store.NewKey{Hash: sum, Prefix: prefix, Scope: "agent"})
		must(t, err)
	}
	return h, h.replicaOf(t, rpc.ServerConfig{Authorizer: checks}, wakes, DefaultSettings()), checks, secrets
}

// as opens a session with a key.
func (r *replica) as(t *testing.T, h *house, secret string) *line {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret))
	t.Cleanup(cancel)
	stream, err := r.calls.Connect(ctx)
	must(t, err)
	l := (&line{stream: stream, in: make(chan *agentv1.ConnectResponse, 1000), end: make(chan error, 1), hang: cancel}).listen()
	l.say(t, hello(h.cluster, 0))
	if l.next(t).GetWelcome() == nil {
		t.Fatal("no welcome")
	}
	return l
}

func TestF39AStreamEndsWithItsKeyAndARotatedKeyLeavesNoGap(t *testing.T) {
	h, r, checks, secrets := keyed(t)
	old := r.as(t, h, secrets[0])
	next := r.as(t, h, secrets[1]) // rotation: both keys count for a while
	equal(t, "the old one", old.next(t).GetGoAway().GetReason(), "superseded")
	revoke := func(secret string) {
		key, err := h.KeyByHash(t.Context(), auth.Hash(secret))
		must(t, err)
		_, err = h.db.Pool.Exec(t.Context(), "UPDATE api_keys SET revoked_at = now() WHERE api_key_id = $1", key.ID.UUID)
		must(t, err)
		checks.Revoked(t.Context(), key.ID.UUID)
	}
	revoke(secrets[0])
	next.heartbeat(t)
	if next.next(t).GetHeartbeatAck() == nil {
		t.Fatal("the stream of the new key suffered from the end of the old one")
	}
	began := time.Now()
	revoke(secrets[1])
	wantReason(t, next.ended(t), faultv1.Reason_REASON_UNAUTHENTICATED)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("cut after %s", took)
	}
}

func TestF40WhileTheDatabaseIsAwayTheStreamStaysAndNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	at, err := url.Parse(h.db.DSN)
	must(t, err)
	proxy := wire(t, at.Host)
	at.Host = proxy.Listen
	at.RawQuery += "&" + db.TenantSetting + "=" + db.Everyone
	pool, err := pgxpool.New(t.Context(), at.String())
	must(t, err)
	t.Cleanup(pool.Close)
	direct := h.Store
	h.Store = store.New(pool)
	heard := &interruptions{}
	settings := DefaultSettings()
	settings.HeartbeatSeconds = 1
	r := h.replica(t, bus.New(), settings, func(cfg *Config) { cfg.Interruptions = heard })
	heard.fail = func(*fleetv1.NodeNotice) error { return pool.Ping(context.Background()) }
	h.Store = direct
	l, _ := r.session(t, h)
	id := h.task(t, r)
	l.accept(t, l.next(t).GetTask())
	eventually(t, "running", func() bool { return h.status(t, id) == "running" })

	proxy.Stop() // connections break, new ones are refused
	l.result(t, id, 1)
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_NodeNotice{NodeNotice: &fleetv1.NodeNotice{
		NoticeId: "n", EventType: "interruption_warning", NodeName: "n", InstanceId: "i-1",
	}}})
	for range 8 { // far longer than three heartbeats
		l.heartbeat(t)
		if msg := l.next(t); msg.GetHeartbeatAck() == nil {
			t.Fatalf("got %v while the database was away", msg)
		}
		<-time.After(time.Second)
	}
	equal(t, "status", h.status(t, id), "running")
	must(t, proxy.Start())
	// The agent says again what was not acknowledged.
	eventually(t, "the database is back", func() bool { return pool.Ping(t.Context()) == nil })
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_NodeNotice{NodeNotice: &fleetv1.NodeNotice{
		NoticeId: "n", EventType: "interruption_warning", NodeName: "n", InstanceId: "i-1",
	}}})
	equal(t, "notice", l.next(t).GetNodeNoticeAck().GetNoticeId(), "n")
	l.result(t, id, 1)
	equal(t, "accepted", l.next(t).GetResultAck().GetAccepted(), true)
	equal(t, "status", h.status(t, id), "success")
}

func TestF42APanicCostsOneMessage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	heard := &interruptions{fail: func(*fleetv1.NodeNotice) error { panic("boom") }}
	r := h.replica(t, bus.New(), DefaultSettings(), func(cfg *Config) { cfg.Interruptions = heard })
	l, _ := r.session(t, h)
	l.say(t, notice("n"))
	equal(t, "refused", l.next(t).GetUnsupported().GetSequence(), l.sent)
	l.heartbeat(t)
	if l.next(t).GetHeartbeatAck() == nil {
		t.Fatal("the session does not live")
	}
	mentions(t, r.log.String(), "boom")
}

func notice(id string) *agentv1.ConnectRequest {
	return &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_NodeNotice{NodeNotice: &fleetv1.NodeNotice{
		NoticeId: id, EventType: "interruption_warning", NodeName: "n", InstanceId: "i-1",
	}}}
}

func TestANoticeIsAcknowledgedOnceItIsCommittedAndItsTaskIsNotAbandoned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	heard := &interruptions{fail: func(*fleetv1.NodeNotice) error { return errors.New("the database is away") }}
	r := h.replica(t, bus.New(), DefaultSettings(), func(cfg *Config) { cfg.Interruptions = heard })
	own := uuid.New() // the drain that the agent began by itself
	l, welcome := r.session(t, h, &agentv1.RunningTask{TaskId: own.String()})
	equal(t, "abandoned", len(welcome.GetAbandonTaskIds()), 0)
	l.say(t, notice("n"))
	l.result(t, own, 0)
	l.quiet(t, 300*time.Millisecond) // nothing is committed, so nothing is acknowledged: not even a result that is unknown yet
	heard.mu.Lock()
	heard.fail = func(*fleetv1.NodeNotice) error {
		_, err := h.AddTask(context.Background(), &fleetv1.Task{
			TaskId: own.String(), ClusterId: h.cluster.String(), TaskType: "drain_node", Priority: 1, Parameters: &structpb.Struct{},
			Deadline: timestamppb.New(time.Now().Add(time.Minute)),
		})
		return err
	}
	heard.mu.Unlock()
	l.say(t, notice("n"))
	equal(t, "notice", l.next(t).GetNodeNoticeAck().GetNoticeId(), "n")
	l.result(t, own, 0)
	for {
		if ack := l.next(t).GetResultAck(); ack != nil { // the task may be offered first
			equal(t, "accepted", ack.GetAccepted(), true)
			break
		}
	}

	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+h.cluster.String())
	before := heard.times()
	_, err := r.calls.SubmitEvents(ctx, &agentv1.SubmitEventsRequest{Events: []*fleetv1.Event{{
		EventId: "e", LastSeen: timestamppb.Now(), Reason: "NodeNotice", Type: "Warning", ObjectKind: "Node", ObjectName: "n", Notice: notice("m").GetNodeNotice(),
	}}})
	must(t, err)
	equal(t, "heard over REST", heard.times()-before, 1)
}

func TestWithoutInterruptionsNoticesAreAnsweredAsUnsupported(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	l.say(t, notice("n"))
	mentions(t, l.next(t).GetUnsupported().GetReason(), "notices")
}

func TestABurstOfTwoHundredUrgentTasksReachesTheAgentAtOnce(t *testing.T) {
	h, r := one(t)
	l, _ := r.session(t, h)
	write := func(n, priority int) {
		_, err := h.db.Pool.Exec(t.Context(), `INSERT INTO tasks (task_id, cluster_id, task_type, parameters, priority, deadline)
			SELECT gen_random_uuid(), $1, 'drain_node', '{}', $3, now() + interval '2 minutes' FROM generate_series(1, $2)`, h.cluster, n, priority)
		must(t, err)
	}
	write(100, 5)
	r.tasks.Announce(t.Context(), h.cluster)
	for range DefaultSettings().GetMaxInflightTasks() {
		equal(t, "priority", l.next(t).GetTask().GetPriority(), 5)
	}
	write(200, 1)
	began := time.Now()
	r.tasks.Announce(t.Context(), h.cluster)
	for range 200 {
		equal(t, "priority", l.next(t).GetTask().GetPriority(), 1)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	l.quiet(t, 100*time.Millisecond) // the others wait for room
}

func TestAResultOfAnEarlierAttemptCountsUnlessTheNewerRunsElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		newer func(t *testing.T, h *house, r *replica, id uuid.UUID) // what happens to the task after the offer
		want  bool
	}{
		"when nobody was offered the newer": {func(t *testing.T, h *house, _ *replica, _ uuid.UUID) {
			_, err := h.db.Pool.Exec(t.Context(), "UPDATE tasks SET status = 'pending', lease_until = NULL")
			must(t, err)
		}, true},
		"when the newer was offered to the same session": {func(t *testing.T, h *house, _ *replica, _ uuid.UUID) {
			_, err := h.db.Pool.Exec(t.Context(), "UPDATE tasks SET status = 'running', attempt = 2")
			must(t, err)
		}, true},
		"when the newer runs in a newer session": {func(t *testing.T, h *house, _ *replica, id uuid.UUID) {
			_, err := h.OpenSession(t.Context(), h.cluster, "elsewhere", "")
			must(t, err)
			_, err = h.db.Pool.Exec(t.Context(), "UPDATE tasks SET status = 'running', attempt = 2 WHERE task_id = $1", id)
			must(t, err)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, r := one(t)
			l, _ := r.session(t, h)
			id := h.task(t, r)
			l.accept(t, l.next(t).GetTask())
			eventually(t, "running", func() bool { return h.status(t, id) == "running" })
			c.newer(t, h, r, id)
			l.result(t, id, 1)
			for {
				if ack := l.next(t).GetResultAck(); ack != nil {
					equal(t, "accepted", ack.GetAccepted(), c.want)
					return
				}
			}
		})
	}
}

func TestTasksReachTheOtherReplicaThroughRedisAndWithoutIt(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("this test needs the program redis-server: install Debian's package redis-server")
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := lis.Addr().(*net.TCPAddr).Port
	_ = lis.Close()
	redis := exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	must(t, redis.Start())
	t.Cleanup(func() { _ = redis.Process.Kill(); _ = redis.Wait() })

	h := newHouse(t)
	buses := [2]*bus.Bus{}
	for i := range buses {
		buses[i] = bus.NewRedis(bus.RedisConfig{Host: "127.0.0.1", Port: port}, discard())
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = buses[i].Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
	}
	heard, stop := buses[1].Subscribe("probe")
	defer stop()
	eventually(t, "the replicas hear each other", func() bool {
		_ = buses[0].Publish(t.Context(), "probe", nil)
		return len(heard) > 0
	})
	writer := h.replica(t, buses[0], DefaultSettings())
	holder := h.replica(t, buses[1], DefaultSettings())
	l, _ := holder.session(t, h)
	joined := time.Now()
	var slowest time.Duration
	for range 5 { // between two sweeps
		<-time.After(1100 * time.Millisecond)
		began := time.Now()
		id := h.task(t, writer)
		equal(t, "task", l.next(t).GetTask().GetTaskId(), id.String())
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("through Redis within %s", slowest)
	// A burst of connects counts on both together.
	refused := 0
	for range 12 {
		for _, r := range []*replica{writer, holder} {
			if _, err := r.knock(t, h); err != nil {
				refused++
				equal(t, "code", status.Code(err).String(), "ResourceExhausted")
				if retryInfo(err) == nil {
					t.Error("refused without saying when to come again")
				}
			}
		}
	}
	// One session is there, and each six seconds let in one more.
	if most, least := 24-9, 24-9-int(time.Since(joined)/(6*time.Second))-1; refused > most || refused < least {
		t.Errorf("%d of 24 connects were refused, want %d to %d", refused, least, most)
	}

	must(t, redis.Process.Kill())
	_ = redis.Wait()
	_, err = h.db.Pool.Exec(t.Context(), "UPDATE tasks SET status = 'success', finished_at = now(), lease_until = NULL")
	must(t, err)
	l, _ = h.replica(t, bus.New(), DefaultSettings()).session(t, h) // a third, which hears nobody
	for range 3 {
		began := time.Now()
		id := h.task(t, writer)
		equal(t, "task", l.next(t).GetTask().GetTaskId(), id.String())
		if took := time.Since(began); took > 2500*time.Millisecond {
			t.Errorf("without Redis it took %s", took)
		}
	}
}

// knock connects and leaves.
func (r *replica) knock(t *testing.T, h *house) (*agentv1.Welcome, error) {
	t.Helper()
	l := r.connect(t, h.cluster)
	defer l.hang()
	l.say(t, hello(h.cluster, 0))
	msg, err := l.stream.Recv()
	return msg.GetWelcome(), err
}

func retryInfo(err error) *errdetails.RetryInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info
		}
	}
	return nil
}
