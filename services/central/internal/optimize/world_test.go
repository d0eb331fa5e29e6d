package optimize

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud/ec2test"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/savings"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) {
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(key, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	pgtest.Main(m)
}

const (
	onDemand = 0.096
	spot     = 0.03
)

// world is a cluster in EC2 with an agent, and a decision server: two nodes
// bought on demand, old-1 and old-2, with a pod each.
type world struct {
	*Service
	db      *pgtest.DB
	ec2     *ec2test.Server
	cluster uuid.UUID
	session int64

	mu sync.Mutex
	// pods by UID: the node, or "".
	pods map[string]string
	// fails says how a task ends, by kind and node; success unless it is there.
	fails map[string]string
	// pinned pods carry the annotation that forbids moving them.
	pinned map[string]bool
	// stuck nodes are drained, and their pods find no other place.
	stuck map[string]bool
	// cordoned nodes; after says what happens when a task is done, by kind and node.
	cordoned map[string]bool
	after    map[string]func()
	// slow tasks, by kind and node, are begun and end only when they are cancelled.
	slow map[string]bool
	open map[string]*fleetv1.Task
	done []string

	decide func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error)
}

type decisions struct {
	mlv1.DecisionServiceClient
	w *world
}

func (d decisions) SpotOptimize(_ context.Context, req *mlv1.SpotOptimizeRequest, _ ...grpc.CallOption) (*mlv1.SpotOptimizeResponse, error) {
	decision, err := d.w.decide(req.GetRequest())
	return &mlv1.SpotOptimizeResponse{Decision: decision}, err
}

func (d decisions) BinPack(_ context.Context, req *mlv1.BinPackRequest, _ ...grpc.CallOption) (*mlv1.BinPackResponse, error) {
	decision, err := d.w.decide(req.GetRequest())
	return &mlv1.BinPackResponse{Decision: decision}, err
}

func (d decisions) Rightsize(_ context.Context, req *mlv1.RightsizeRequest, _ ...grpc.CallOption) (*mlv1.RightsizeResponse, error) {
	decision, err := d.w.decide(req.GetRequest())
	return &mlv1.RightsizeResponse{Decision: decision}, err
}

type market struct{ mlv1.MarketServiceClient }

func (market) ListPrices(_ context.Context, req *mlv1.ListPricesRequest, _ ...grpc.CallOption) (*mlv1.ListPricesResponse, error) {
	resp := &mlv1.ListPricesResponse{}
	for _, kind := range req.GetInstanceTypes() {
		resp.Prices = append(resp.Prices, &mlv1.Price{InstanceType: kind, AvailabilityZone: "us-east-1a", Spot: spot, OnDemand: onDemand})
	}
	return resp, nil
}

// PublishDashboard is what the guard tells.
func (w *world) PublishDashboard(ctx context.Context, customer uuid.UUID, news *adminv1.StreamResponse) error {
	return w.Store.Tell(ctx, customer, news)
}

// news is what the dashboards were told, oldest first.
func (w *world) news(t *testing.T) []*adminv1.StreamResponse {
	t.Helper()
	rows, err := w.db.Pool.Query(t.Context(), "SELECT message FROM activity ORDER BY activity_id")
	must(t, err)
	raw, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	must(t, err)
	all := make([]*adminv1.StreamResponse, len(raw))
	for k := range raw {
		all[k] = &adminv1.StreamResponse{}
		must(t, proto.Unmarshal(raw[k], all[k]))
	}
	return all
}

// last of the news, as type and status.
func (w *world) last(t *testing.T) string {
	t.Helper()
	all := w.news(t)
	return all[len(all)-1].GetType() + " " + all[len(all)-1].GetStatus()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{
		db: pgtest.New(t), ec2: ec2test.New(t), pods: map[string]string{"p1": "old-1", "p2": "old-2"},
		fails: map[string]string{}, stuck: map[string]bool{}, pinned: map[string]bool{}, cordoned: map[string]bool{}, after: map[string]func(){},
		slow: map[string]bool{}, open: map[string]*fleetv1.Task{}, decide: swap,
	}
	s, log := store.New(w.db.Pool), slog.New(slog.DiscardHandler)
	aws, err := cloud.New(t.Context(), "us-east-1", w.ec2.URL)
	must(t, err)
	w.Service = New(Config{
		Store: s, Dispatch: dispatch.New(s, bus.New(), log), Book: savings.New(s, market{}, log), Cloud: aws,
		Decisions: decisions{w: w}, Log: log,
	})
	workers := river.NewWorkers()
	w.Register(workers)
	queue, err := store.NewQueue(s, log, workers, nil)
	must(t, err)
	w.Use(queue)
	customer, err := s.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "a", Email: "a"}, "", key("1", "admin"))
	must(t, err)
	w.cluster = w.clusterOf(t, customer, "acme", &adminv1.LaunchSettings{LaunchTemplateId: "lt-1", SubnetIds: map[string]string{"us-east-1a": "subnet-a"}})
	w.ec2.Add("i-old-1")
	w.ec2.Add("i-old-2")
	session, err := s.OpenSession(t.Context(), w.cluster, "r", "")
	must(t, err)
	w.session = session.Epoch
	must(t, w.report(t.Context()))
	must(t, w.Book.Price(t.Context(), false))
	return w
}

func (w *world) clusterOf(t *testing.T, customer uuid.UUID, name string, launch *adminv1.LaunchSettings) uuid.UUID {
	t.Helper()
	made, err := w.Store.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{ClusterName: name, Region: "us-east-1", Launch: launch, Mode: "automatic"}, key(name, "agent"))
	must(t, err)
	return uuid.MustParse(made.GetClusterId())
}

func key(secret, scope string) store.NewKey {
	sum := sha256.Sum256([]byte(secret))
	return store.NewKey{Hash: sum[:], Prefix: "p", Scope: scope}
}

// swap launches one spot node for both old ones.
func swap(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
	return &mlv1.DecisionResponse{
		EstimatedSavings: 100, ConfidenceScore: 0.9,
		Recommendations: []*mlv1.Recommendation{{
			InstanceType: "c5.large", AvailabilityZone: "us-east-1a", NodeType: "spot", NodeCount: 1, HourlyPrice: spot, OnDemandHourlyPrice: onDemand,
		}},
		ExecutionPlan: []*mlv1.ExecutionStep{drainStep("old-1", "old-2")},
	}, nil
}

func drainStep(nodes ...any) *mlv1.ExecutionStep {
	var ids []any
	for _, node := range nodes {
		ids = append(ids, fmt.Sprint("i-", node))
	}
	list, err := structpb.NewStruct(map[string]any{"node_names": nodes, "instance_ids": ids})
	if err != nil {
		return nil
	}
	return &mlv1.ExecutionStep{Action: "drain_node", Parameters: list}
}

// report says what the cluster is like now: every running instance is a node.
func (w *world) report(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := store.Fleet{Complete: true}
	for _, one := range w.ec2.Instances() {
		if one.State != "running" {
			continue
		}
		nodeType := "on-demand"
		if one.Spot {
			nodeType = "spot"
		}
		all.Nodes = append(all.Nodes, &fleetv1.NodeMetric{
			NodeName: strings.TrimPrefix(one.ID, "i-"), InstanceId: one.ID, InstanceType: one.Type, AvailabilityZone: "us-east-1a",
			NodeType: nodeType, CpuAllocatable: 2, MemoryAllocatableGb: 4, Ready: true,
			Unschedulable: w.cordoned[strings.TrimPrefix(one.ID, "i-")],
		})
	}
	for _, uid := range slices.Sorted(maps.Keys(w.pods)) {
		phase := "Running"
		if w.pods[uid] == "" {
			phase = "Pending"
		}
		forbids := ""
		if w.pinned[uid] {
			forbids = "cloudoptim.io/do-not-disrupt"
		}
		all.Pods = append(all.Pods, &fleetv1.Pod{
			DoNotDisrupt: forbids, Uid: uid, Namespace: "web", Name: uid, NodeName: w.pods[uid], Phase: phase, Owner: &fleetv1.Owner{Kind: "ReplicaSet", Uid: "rs-" + uid},
			Requests: &fleetv1.Resources{CpuMillicores: 500, MemoryBytes: 1 << 30}, CreatedAt: timestamppb.New(time.Now().Add(-time.Hour)),
		})
	}
	return w.Store.PutReport(ctx, w.cluster, all)
}

// agent does the tasks that wait and reports.
func (w *world) agent(ctx context.Context) error {
	tasks, err := w.Store.LeaseTasks(ctx, w.cluster, w.session, time.Minute, 100)
	if err != nil {
		return err
	}
	if err := w.breakOff(ctx); err != nil {
		return err
	}
	for _, task := range tasks {
		what := task.GetTaskType() + " " + task.GetParameters().GetFields()["node_name"].GetStringValue()
		if w.slow[what] {
			w.open[what] = task
			w.done = append(w.done, what)
			continue
		}
		result := w.perform(task)
		if _, err := w.Store.FinishTask(ctx, w.cluster, uuid.MustParse(task.GetTaskId()), result); err != nil {
			return err
		}
	}
	return w.report(ctx)
}

// breakOff ends slow tasks that central no longer wants, or that are slow no more.
func (w *world) breakOff(ctx context.Context) error {
	cancelled, err := w.Store.CancelledTasks(ctx, w.cluster)
	if err != nil {
		return err
	}
	for what, task := range w.open {
		result := &fleetv1.TaskResult{TaskId: task.GetTaskId(), Status: "success", Attempt: task.GetAttempt()}
		for _, c := range cancelled {
			if c.ID.String() == task.GetTaskId() {
				why := "cancelled by central: " + c.Reason
				result.Status, result.Error = "cancelled", &why
			}
		}
		if result.Status == "success" && w.slow[what] {
			continue
		}
		if result.Status == "success" {
			result = w.perform(task)
		} else { // as it cleans up
			delete(w.cordoned, task.GetParameters().GetFields()["node_name"].GetStringValue())
		}
		delete(w.open, what)
		if _, err := w.Store.FinishTask(ctx, w.cluster, uuid.MustParse(task.GetTaskId()), result); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) perform(task *fleetv1.Task) *fleetv1.TaskResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	node := task.GetParameters().GetFields()["node_name"].GetStringValue()
	what := task.GetTaskType() + " " + node
	w.done = append(w.done, what)
	result := &fleetv1.TaskResult{TaskId: task.GetTaskId(), Status: "success", Attempt: task.GetAttempt()}
	if why := w.fails[what]; why != "" {
		result.Status, result.Error = "failed", &why
		return result
	}
	switch task.GetTaskType() {
	case "cordon_node", "drain_node":
		w.cordoned[node] = true
	case "uncordon_node":
		delete(w.cordoned, node)
	}
	if happens := w.after[what]; happens != nil {
		defer happens()
	}
	for uid, on := range w.pods {
		switch {
		case task.GetTaskType() == "drain_node" && on == node && w.stuck[node]:
			w.pods[uid] = ""
		case task.GetTaskType() == "drain_node" && on == node:
			w.pods[uid] = "elsewhere"
		case task.GetTaskType() == "uncordon_node" && on == "":
			w.pods[uid] = node
		}
	}
	return result
}

// start triggers an optimization onto spot.
func (w *world) start(t *testing.T) uuid.UUID {
	t.Helper()
	return w.startOf(t, "spot_optimize")
}

func (w *world) startOf(t *testing.T, optimization string) uuid.UUID {
	t.Helper()
	started, err := w.Trigger(t.Context(), noCustomer, "operator:1", &adminv1.TriggerOptimizationRequest{
		ClusterId: w.cluster.String(), OptimizationType: optimization,
	})
	must(t, err)
	return uuid.MustParse(started.GetOptimizationId())
}

// turn carries the optimization on as far as it goes, then lets the agent and the book do their part.
func (w *world) turn(t *testing.T, id uuid.UUID) {
	t.Helper()
	story, err := w.Store.Story(t.Context(), id)
	must(t, err)
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: story.Generation})
	must(t, w.agent(t.Context()))
	must(t, w.Book.Price(t.Context(), false)) // as it does each second
}

// story carries the optimization on until it ends, the agent taking its turns.
func (w *world) story(t *testing.T, id uuid.UUID) *adminv1.Optimization {
	t.Helper()
	stop := time.Now().Add(20 * time.Second)
	for time.Now().Before(stop) {
		w.turn(t, id)
		told, err := w.Store.Optimization(t.Context(), id, noCustomer)
		must(t, err)
		if told.GetCompletedAt() != nil {
			return told
		}
		time.Sleep(10 * time.Millisecond)
	}
	story, err := w.Store.Story(t.Context(), id)
	must(t, err)
	t.Fatalf("the story hangs at %s: %+v", steps[story.Step-1].name, story.Steps[story.Step-1])
	return nil
}

// until carries the optimization on until the step of that name waits for something.
func (w *world) until(t *testing.T, id uuid.UUID, step string) {
	t.Helper()
	stop := time.Now().Add(20 * time.Second)
	for time.Now().Before(stop) {
		w.turn(t, id)
		story, err := w.Store.Story(t.Context(), id)
		must(t, err)
		if steps[story.Step-1].name == step && story.Steps[story.Step-1].StartedAt != nil {
			return
		}
	}
	t.Fatalf("the story never comes to %s", step)
}

// impatientStory is story where the named step has been at it for fifteen seconds.
func (w *world) impatientStory(t *testing.T, id uuid.UUID, step string) *adminv1.Optimization {
	t.Helper()
	w.until(t, id, step)
	_, err := w.db.Pool.Exec(t.Context(), "UPDATE optimization_steps SET started_at = now() - interval '15 seconds' WHERE optimization_id = $1 AND status = 'running'", id)
	must(t, err)
	return w.story(t, id)
}

// age makes the step in hand look as if it had begun long ago.
func (w *world) age(t *testing.T, id uuid.UUID) {
	t.Helper()
	_, err := w.db.Pool.Exec(t.Context(), "UPDATE optimization_steps SET started_at = now() - interval '3 days' WHERE optimization_id = $1 AND status = 'running'", id)
	must(t, err)
}

func (w *world) did(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, one := range w.done {
		if one == what {
			n++
		}
	}
	return n
}

// alive are the running instances.
func (w *world) alive() string {
	var ids []string
	for _, one := range w.ec2.Instances() {
		if one.State == "running" {
			kind := "on-demand"
			if one.Spot {
				kind = "spot"
			}
			ids = append(ids, one.ID+" "+kind)
		}
	}
	return strings.Join(ids, ", ")
}

func stepsOf(told *adminv1.Optimization) string {
	var out []string
	for _, step := range told.GetSteps() {
		out = append(out, step.GetName()+" "+step.GetStatus())
	}
	return strings.Join(out, ", ")
}

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

func mentions(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, one := range want {
		if !strings.Contains(got, one) {
			t.Errorf("%q does not mention %q", got, one)
		}
	}
}

func wantReason(t *testing.T, err error, want faultv1.Reason) {
	t.Helper()
	if got := fault.ReasonOf(err); err == nil || got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}
