package schedule

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/pods"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// workload in the cluster, as the agent would see it.
type workload struct{ replicas, before int32 }

// world is a cluster with an agent and a decision server. Its clock begins on a
// Monday noon to come, as PostgreSQL has a clock of its own for deadlines.
type world struct {
	*Service
	db                *pgtest.DB
	customer, cluster uuid.UUID
	session           int64

	mu        sync.Mutex
	now       time.Time
	workloads map[string]*workload // Kind/namespace/name
	// fails says how the next tasks of a workload end, by its name.
	fails map[string][]string
	// stopped: the agent refuses to put anything to sleep.
	stopped bool
	// away: no report comes.
	away  bool
	done  []string // action and name, in order
	deaf  bool     // ml does not answer
	asked int
}

type decisions struct {
	mlv1.DecisionServiceClient
	w *world
}

func (d decisions) Schedule(_ context.Context, req *mlv1.ScheduleRequest, _ ...grpc.CallOption) (*mlv1.ScheduleResponse, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.asked++
	if d.w.deaf {
		return nil, context.DeadlineExceeded
	}
	seen := map[store.WorkloadName]bool{}
	for _, pod := range req.GetRequest().GetCurrentState().GetPods() {
		kind, name := pods.Workload(pod)
		seen[store.WorkloadName{Namespace: pod.GetNamespace(), Kind: kind, Name: name}] = true
	}
	out := &mlv1.DecisionResponse{}
	for one := range seen {
		v := &mlv1.WorkloadVerdict{Namespace: one.Namespace, Kind: one.Kind, Name: one.Name, Verdict: "sleep", Reason: "calendar"}
		if one.Namespace == "kube-system" {
			v.Verdict, v.Reason = "keep", "protected_namespace"
		}
		out.WorkloadVerdicts = append(out.WorkloadVerdicts, v)
	}
	return &mlv1.ScheduleResponse{Decision: out}, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(36 * time.Hour)
	for noon.Weekday() != time.Monday {
		noon = noon.Add(24 * time.Hour)
	}
	w := &world{db: pgtest.New(t), now: noon, fails: map[string][]string{}, workloads: map[string]*workload{
		"Deployment/web/front": {replicas: 3}, "Deployment/web/back": {replicas: 2}, "StatefulSet/web/db": {replicas: 1},
		"ReplicaSet/web/lone": {replicas: 1}, "Deployment/kube-system/coredns": {replicas: 2},
	}}
	s, log := store.New(w.db.Pool), slog.New(slog.DiscardHandler)
	w.Service = New(Config{Store: s, Dispatch: dispatch.New(s, bus.New(), log), Decisions: decisions{w: w}, Now: w.clock, Log: log})
	customer, err := s.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "a", Email: "a"}, "", key("1", "admin"))
	must(t, err)
	made, err := s.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{ClusterName: "acme", Region: "us-east-1"}, key("2", "agent"))
	must(t, err)
	w.customer, w.cluster = customer, uuid.MustParse(made.GetClusterId())
	session, err := s.OpenSession(t.Context(), w.cluster, "r", "")
	must(t, err)
	w.session = session.Epoch
	w.mode(t, "", "automatic")
	w.report(t)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time go by, and the agent report.
func (w *world) pass(t *testing.T, d time.Duration) {
	t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.report(t)
}

func (w *world) mode(t *testing.T, namespace, mode string) {
	t.Helper()
	scope := store.PolicyScope{Customer: w.customer, Cluster: uuid.NullUUID{UUID: w.cluster, Valid: true}, Namespace: namespace}
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) error {
		_, _, err := tx.SetPolicy(t.Context(), scope, &adminv1.PolicyValues{Mode: proto.String(mode)}, "", "me")
		return err
	}))
}

// stop everything in the cluster; the agent hears of it, and what lifts it is returned.
func (w *world) stop(t *testing.T) (lift func()) {
	t.Helper()
	var stop *adminv1.Stop
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) (err error) {
		stop, _, err = tx.AddStop(t.Context(), store.NewStop{
			Scope: "cluster", Customer: uuid.NullUUID{UUID: w.customer, Valid: true}, Cluster: uuid.NullUUID{UUID: w.cluster, Valid: true},
			Reason: "all hands", Actor: "me",
		})
		return err
	}))
	w.stopped = true
	return func() {
		_, _, err := w.Store.LiftStop(t.Context(), uuid.MustParse(stop.GetStopId()), "me", "over")
		must(t, err)
		w.stopped = false
	}
}

// recommend only.
func (w *world) recommend(t *testing.T) (lift func()) {
	t.Helper()
	w.mode(t, "", "recommend")
	return func() { w.mode(t, "", "approve") }
}

// leave: the agent reports no more.
func (w *world) leave(*testing.T) (comeBack func()) {
	w.away = true
	return func() { w.away = false }
}

// deafen ml.
func (w *world) deafen(*testing.T) (heal func()) {
	w.deaf = true
	return func() { w.deaf = false }
}

func (w *world) report(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return
	}
	all := store.Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{{NodeName: "n1", InstanceId: "i-1", NodeType: "on-demand", Ready: true}}}
	for id, one := range w.workloads {
		kind, rest, _ := strings.Cut(id, "/")
		namespace, name, _ := strings.Cut(rest, "/")
		owner, labels := &fleetv1.Owner{Kind: kind, Name: name}, map[string]string{}
		if kind == "Deployment" {
			owner, labels = &fleetv1.Owner{Kind: "ReplicaSet", Name: name + "-5d4"}, map[string]string{"pod-template-hash": "5d4"}
		}
		for i := range one.replicas {
			uid := fmt.Sprintf("%s/%d", id, i)
			all.Pods = append(all.Pods, &fleetv1.Pod{
				Uid: uid, Namespace: namespace, Name: name + fmt.Sprint(i), NodeName: "n1", Phase: "Running", Owner: owner, Labels: labels,
				Requests: &fleetv1.Resources{CpuMillicores: 500, MemoryBytes: 1 << 30}, CreatedAt: timestamppb.New(w.now.Add(-time.Hour)),
			})
		}
	}
	must(t, w.Store.PutReport(t.Context(), w.cluster, all))
	w.seen(t, w.now)
}

func (w *world) seen(t *testing.T, at time.Time) {
	t.Helper()
	_, err := w.db.Pool.Exec(t.Context(), "UPDATE clusters SET last_seen_at = $1 WHERE cluster_id = $2", at, w.cluster)
	must(t, err)
}

// agent does the tasks that wait, as the real one does, and returns how many there were.
func (w *world) agent(t *testing.T) int {
	t.Helper()
	tasks, err := w.Store.LeaseTasks(t.Context(), w.cluster, w.session, time.Minute, 100)
	must(t, err)
	for _, task := range tasks {
		id := uuid.MustParse(task.GetTaskId())
		result := w.scale(t, task)
		result.TaskId, result.Attempt = task.GetTaskId(), task.GetAttempt()
		_, err := w.Store.FinishTask(t.Context(), w.cluster, id, result)
		must(t, err)
	}
	return len(tasks)
}

func (w *world) scale(t *testing.T, task *fleetv1.Task) *fleetv1.TaskResult {
	t.Helper()
	p := &fleetv1.ScaleWorkloadParameters{}
	raw, err := task.GetParameters().MarshalJSON()
	must(t, err)
	must(t, protojson.Unmarshal(raw, p))
	if want := map[string]string{"sleep": "schedule", "wake": "undo"}[p.GetAction()]; task.GetTaskType() != "scale_workload" || task.GetCause() != want {
		t.Fatalf("task %s because of %q", task.GetTaskType(), task.GetCause())
	}
	if w.stopped && p.GetAction() == "sleep" {
		return &fleetv1.TaskResult{Status: "cancelled", Error: proto.String("a stop holds: all hands")}
	}
	if ends := w.fails[p.GetName()]; len(ends) > 0 {
		w.fails[p.GetName()] = ends[1:]
		return &fleetv1.TaskResult{Status: ends[0], Error: proto.String("it broke")}
	}
	w.done = append(w.done, p.GetAction()+" "+p.GetName())
	one := w.workloads[p.GetKind()+"/"+p.GetNamespace()+"/"+p.GetName()]
	report := &fleetv1.ScaleReport{Outcome: "left_alone"}
	switch {
	case one == nil:
		report.Outcome = "gone"
	case p.GetAction() == "sleep" && one.replicas > 0:
		one.before, one.replicas = one.replicas, 0
		report.Outcome, report.Replicas = "slept", one.before
	case p.GetAction() == "sleep" && one.before > 0:
		report.Outcome, report.Replicas = "slept", one.before
	case p.GetAction() == "wake" && one.before > 0 && one.replicas > 0:
		one.before = 0
		report.Outcome, report.Replicas = "scaled_by_hand", one.replicas
	case p.GetAction() == "wake" && one.before > 0:
		one.replicas, one.before = one.before, 0
		report.Outcome, report.Replicas, report.Ready = "woken", one.replicas, one.replicas
	}
	raw, err = protojson.MarshalOptions{UseProtoNames: true}.Marshal(report)
	must(t, err)
	metadata := &structpb.Struct{}
	must(t, metadata.UnmarshalJSON(raw))
	return &fleetv1.TaskResult{Status: "success", Metadata: metadata}
}

// settle follows the schedule up, with an agent at work, until nothing more happens.
func (w *world) settle(t *testing.T, id uuid.UUID) {
	t.Helper()
	for range 300 {
		again, err := w.follow(t.Context(), id)
		must(t, err)
		if w.agent(t) == 0 && again > heldFor {
			return
		}
		if w.get(t, id).GetState() == "held" {
			return
		}
		w.pass(t, soon)
	}
	t.Fatalf("it does not settle: %v", w.get(t, id))
}

func (w *world) get(t *testing.T, id uuid.UUID) *adminv1.Schedule {
	t.Helper()
	one, err := w.Store.Schedule(t.Context(), id, uuid.NullUUID{})
	must(t, err)
	counts, err := w.Store.CountSleepers(t.Context(), id)
	must(t, err)
	msg, err := w.message(one, counts[id])
	must(t, err)
	return msg
}

func (w *world) runs(t *testing.T, id uuid.UUID) []*adminv1.ScheduleRun {
	t.Helper()
	found, _, err := w.Runs(t.Context(), id, uuid.NullUUID{}, store.Page{Limit: 100})
	must(t, err)
	return found
}

// running replicas by name.
func (w *world) running() string {
	out := ""
	for _, id := range slices.Sorted(maps.Keys(w.workloads)) {
		out += fmt.Sprintf("%s=%d ", id[strings.LastIndex(id, "/")+1:], w.workloads[id].replicas)
	}
	return strings.TrimSpace(out)
}

const (
	dayOf   = "coredns=2 back=2 front=3 lone=1 db=1"
	nightOf = "coredns=2 back=0 front=0 lone=1 db=0"
)

func (w *world) create(t *testing.T, change func(*adminv1.Schedule)) uuid.UUID {
	t.Helper()
	set := &adminv1.Schedule{ClusterId: w.cluster.String(), Name: "nights", Calendar: office("UTC"), Enabled: true, LeadMinutes: 30}
	if change != nil {
		change(set)
	}
	made, err := w.Create(t.Context(), w.cluster, set, "me")
	must(t, err)
	return uuid.MustParse(made.GetScheduleId())
}

func (w *world) want(t *testing.T, id uuid.UUID, state, running string) {
	t.Helper()
	if got := w.get(t, id); got.GetState() != state {
		t.Errorf("state %s (%s), want %s", got.GetState(), got.GetHeldBecause(), state)
	}
	if got := w.running(); got != running {
		t.Errorf("running %s, want %s", got, running)
	}
}

func key(secret, scope string) store.NewKey {
	sum := sha256.Sum256([]byte(secret))
	return store.NewKey{Hash: sum[:], Prefix: "p", Scope: scope}
}

func stampOf(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equalLists(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
