package agents

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(herdAt); address != "" {
		herd(address)
		return
	}
	pgtest.Main(m)
}

// keys lets everyone in as the agent of the cluster that the bearer names.
type keys struct{}

func (keys) Authorize(ctx context.Context, _ string, _ *accessv1.Policy, bearer string) (context.Context, error) {
	cluster, err := uuid.Parse(bearer)
	return auth.With(ctx, auth.Caller{
		Kind: accessv1.Caller_CALLER_AGENT, Scope: "agent", ClusterID: uuid.NullUUID{UUID: cluster, Valid: true},
	}), err
}

// forgetful is a bus that loses what lose says.
type forgetful struct {
	*bus.Bus
	mu   sync.Mutex
	lose func(topic string) bool
}

func (f *forgetful) Publish(ctx context.Context, topic string, payload []byte) error {
	f.mu.Lock()
	lost := f.lose(topic)
	f.mu.Unlock()
	if lost {
		return nil
	}
	return f.Bus.Publish(ctx, topic, payload)
}

// house is a database with one cluster.
type house struct {
	*store.Store
	db      *pgtest.DB
	cluster uuid.UUID
}

func newHouse(t *testing.T) *house {
	t.Helper()
	db := pgtest.New(t)
	h := &house{Store: store.New(db.Pool), db: db}
	h.cluster = h.clusterOf(t, "acme")
	return h
}

func (h *house) clusterOf(t *testing.T, name string) uuid.UUID {
	t.Helper()
	customer, err := h.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: name, Email: name + "@example.com"},
		"", store.NewKey{Hash: hash(name + "1"), Prefix: "p", Scope: "admin"})
	must(t, err)
	made, err := h.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{ClusterName: name, Region: "us-east-1"},
		store.NewKey{Hash: hash(name + "2"), Prefix: "p", Scope: "agent"})
	must(t, err)
	return uuid.MustParse(made.GetClusterId())
}

func hash(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// replica is one server with a sweep, as central has it.
type replica struct {
	conn   *grpc.ClientConn
	tasks  *dispatch.Dispatcher
	calls  agentv1.AgentServiceClient
	agents *Server
	server *rpc.Server
	log    *journal
}

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// interruptions notes what it hears; fail decides what it answers.
type interruptions struct {
	mu    sync.Mutex
	heard []string
	fail  func(notice *fleetv1.NodeNotice) error
}

func (i *interruptions) Notice(_ context.Context, _ uuid.UUID, n *fleetv1.NodeNotice) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.heard = append(i.heard, n.GetNoticeId())
	if i.fail != nil {
		return i.fail(n)
	}
	return nil
}

func (i *interruptions) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.heard)
}

func (h *house) replica(t *testing.T, wakes Bus, settings *agentv1.Settings, change ...func(*Config)) *replica {
	t.Helper()
	return h.replicaOf(t, rpc.ServerConfig{Authorizer: keys{}}, wakes, settings, change...)
}

func (h *house) replicaOf(t *testing.T, door rpc.ServerConfig, wakes Bus, settings *agentv1.Settings, change ...func(*Config)) *replica {
	t.Helper()
	written := &journal{}
	log := slog.New(slog.NewTextHandler(written, nil))
	door.Log = log
	server := rpc.NewServer(door)
	cfg := Config{Store: h.Store, Bus: wakes, Log: log, Replica: "replica", Settings: settings}
	for _, one := range change {
		one(&cfg)
	}
	served := New(cfg)
	agentv1.RegisterAgentServiceServer(server, served)
	conn, err := rpc.InProcess(server)
	must(t, err)
	r := &replica{
		conn: conn, tasks: dispatch.New(h.Store, wakes, log), calls: agentv1.NewAgentServiceClient(conn),
		agents: served, server: server, log: written,
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var sweep sync.WaitGroup
	sweep.Go(func() { _ = r.tasks.Run(ctx) })
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		cancel()
		sweep.Wait()
	})
	return r
}

// one is a house with one replica and a bus that loses nothing.
func one(t *testing.T) (*house, *replica) {
	t.Helper()
	t.Parallel()
	h := newHouse(t)
	return h, h.replica(t, bus.New(), DefaultSettings())
}

// task writes a task and announces it as the stories do.
func (h *house) task(t *testing.T, r *replica) uuid.UUID {
	t.Helper()
	id := uuid.New()
	must(t, h.InTx(t.Context(), func(tx *store.Store) error {
		return r.tasks.Add(t.Context(), tx, &fleetv1.Task{
			TaskId: id.String(), ClusterId: h.cluster.String(), TaskType: "cordon_node", Priority: 2, Parameters: &structpb.Struct{},
			Deadline: timestamppb.New(time.Now().Add(time.Minute)),
		})
	}))
	r.tasks.Announce(t.Context(), h.cluster)
	return id
}

func (h *house) status(t *testing.T, task uuid.UUID) string {
	t.Helper()
	status, err := h.TaskStatus(t.Context(), h.cluster, task)
	must(t, err)
	return status
}

// line is an agent's end of a stream.
type line struct {
	stream grpc.BidiStreamingClient[agentv1.ConnectRequest, agentv1.ConnectResponse]
	in     chan *agentv1.ConnectResponse
	// end has the error that the stream ended with.
	end  chan error
	sent int64
	hang func()
}

// connect opens a stream as the cluster's agent, without a word.
func (r *replica) connect(t *testing.T, as uuid.UUID) *line {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+as.String()))
	t.Cleanup(cancel)
	stream, err := r.calls.Connect(ctx)
	must(t, err)
	return &line{stream: stream, in: make(chan *agentv1.ConnectResponse, 1000), end: make(chan error, 1), hang: cancel}
}

// listen reads until the stream ends.
func (l *line) listen() *line {
	go func() {
		for {
			msg, err := l.stream.Recv()
			if err != nil {
				l.end <- err
				return
			}
			l.in <- msg
		}
	}()
	return l
}

// session is connect, hello and welcome.
func (r *replica) session(t *testing.T, h *house, running ...*agentv1.RunningTask) (*line, *agentv1.Welcome) {
	t.Helper()
	l := r.connect(t, h.cluster).listen()
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{
		Protocol: 1, ClusterId: h.cluster.String(), AgentId: "agent-0", KubernetesVersion: "v1.31", Running: running,
	}}})
	welcome := l.next(t).GetWelcome()
	if welcome == nil {
		t.Fatal("no welcome")
	}
	return l, welcome
}

func (l *line) say(t *testing.T, msg *agentv1.ConnectRequest) {
	t.Helper()
	l.sent++
	msg.Sequence = l.sent
	must(t, l.stream.Send(msg))
}

func (l *line) next(t *testing.T) *agentv1.ConnectResponse {
	t.Helper()
	select {
	case msg := <-l.in:
		return msg
	case err := <-l.end:
		select {
		case msg := <-l.in: // came before the end
			l.end <- err
			return msg
		default:
		}
		t.Fatalf("the stream ended: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return nil
}

// quiet fails when something comes meanwhile.
func (l *line) quiet(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case msg := <-l.in:
		t.Fatalf("unexpected: %v", msg)
	case err := <-l.end:
		t.Fatalf("the stream ended: %v", err)
	case <-time.After(d):
	}
}

// ended waits for the end of the stream, whatever comes before it, and returns why.
func (l *line) ended(t *testing.T) error {
	t.Helper()
	patience := time.After(10 * time.Second)
	for {
		select {
		case err := <-l.end:
			return err
		case <-l.in:
		case <-patience:
			t.Fatal("the stream did not end")
			return nil
		}
	}
}

func (l *line) heartbeat(t *testing.T) {
	t.Helper()
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{Status: "healthy"}}})
}

func (l *line) accept(t *testing.T, task *fleetv1.Task) {
	t.Helper()
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskAccepted{
		TaskAccepted: &agentv1.TaskAccepted{TaskId: task.GetTaskId(), Attempt: task.GetAttempt()},
	}})
}

func (l *line) result(t *testing.T, task uuid.UUID, attempt int32) {
	t.Helper()
	l.say(t, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{
		TaskResult: &fleetv1.TaskResult{TaskId: task.String(), Status: "success", Attempt: attempt},
	}})
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantReason(t *testing.T, err error, want faultv1.Reason) {
	t.Helper()
	if got := fault.ReasonOf(err); err == nil || got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}

func mentions(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%q does not mention %q", got, want)
	}
}
