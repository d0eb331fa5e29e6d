package interruption

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud/ec2test"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
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
	otel.SetTextMapPropagator(propagation.TraceContext{})
	pgtest.Main(m)
}

// world is a cluster in EC2 with two central replicas over one database. The
// cluster has the spot node n0 with a pod, and n1, bought on demand.
type world struct {
	*Service
	other    *Service
	db       *pgtest.DB
	ec2      *ec2test.Server
	customer uuid.UUID
	cluster  uuid.UUID
	queue    listen.Queue
	queues   []*store.Queue

	mu    sync.Mutex
	nodes []*fleetv1.NodeMetric
	pods  []*fleetv1.Pod
	asked []*mlv1.DecisionRequest
	// decide is ml's answer; nil: ml is away.
	decide func(*mlv1.DecisionRequest) []*mlv1.Recommendation
}

type decisions struct {
	mlv1.DecisionServiceClient
	w *world
}

func (d decisions) SpotOptimize(_ context.Context, req *mlv1.SpotOptimizeRequest, _ ...grpc.CallOption) (*mlv1.SpotOptimizeResponse, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.asked = append(d.w.asked, req.GetRequest())
	if d.w.decide == nil {
		return nil, fault.Unavailable("ml", nil).GRPCStatus().Err()
	}
	return &mlv1.SpotOptimizeResponse{Decision: &mlv1.DecisionResponse{Recommendations: d.w.decide(req.GetRequest())}}, nil
}

// news is what the customer's dashboards were told, oldest first.
func (w *world) news(t *testing.T) []*adminv1.StreamResponse {
	t.Helper()
	rows, err := w.db.Pool.Query(t.Context(), "SELECT message FROM activity WHERE customer_id = $1 ORDER BY activity_id", w.customer)
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

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{db: pgtest.New(t), ec2: ec2test.New(t)}
	w.Service, w.other = w.replica(t), w.replica(t)
	w.customer, w.cluster = w.tenant(t, "acme")
	w.queue = listen.Queue{Customers: []uuid.UUID{w.customer}, Region: "us-east-1", URL: "https://sqs.us-east-1.amazonaws.com/1/q"}
	w.node("n0", "i-0000", "spot")
	w.node("n1", "i-0001", "on-demand")
	w.pod("p0", "n0")
	w.report(t)
	return w
}

// replica is one more central over the same database.
func (w *world) replica(t *testing.T) *Service {
	t.Helper()
	s, log := store.New(w.db.Pool), slog.New(slog.DiscardHandler)
	aws, err := cloud.New(t.Context(), "us-east-1", w.ec2.URL)
	must(t, err)
	service := New(Config{
		Store: s, Dispatch: dispatch.New(s, bus.New(), log), Cloud: aws, Decisions: decisions{w: w}, Log: log,
		Policy: Policy{PollEvery: time.Minute},
	})
	workers := river.NewWorkers()
	service.Register(workers)
	queue, err := store.NewQueue(s, log, workers, nil)
	must(t, err)
	service.Use(queue)
	w.queues = append(w.queues, queue)
	return service
}

func (w *world) tenant(t *testing.T, name string) (customer, cluster uuid.UUID) {
	t.Helper()
	customer, err := w.Store.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{
		CompanyName: name, Email: name, SqsQueueUrl: "https://sqs.us-east-1.amazonaws.com/1/" + name,
	}, "", newKey(name+"/admin", "admin"))
	must(t, err)
	made, err := w.Store.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{
		ClusterName: name, Region: "us-east-1", Mode: "automatic",
		Launch: &adminv1.LaunchSettings{LaunchTemplateId: "lt-1", SubnetIds: map[string]string{"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"}},
	}, newKey(name, "agent"))
	must(t, err)
	return customer, uuid.MustParse(made.GetClusterId())
}

func newKey(secret, scope string) store.NewKey {
	sum := sha256.Sum256([]byte(secret))
	return store.NewKey{Hash: sum[:], Prefix: "p", Scope: scope}
}

// node adds a Ready node whose instance runs.
func (w *world) node(name, instance, nodeType string) {
	if !slices.ContainsFunc(w.ec2.Instances(), func(one ec2test.Instance) bool { return one.ID == instance }) {
		w.ec2.Put(ec2test.Instance{ID: instance, Type: "m5.large", State: "running", Spot: nodeType == "spot", Zone: "us-east-1a"})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = append(w.nodes, &fleetv1.NodeMetric{
		NodeName: name, InstanceId: instance, InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: nodeType,
		CpuAllocatable: 2, MemoryAllocatableGb: 8, Ready: true, Architecture: "amd64",
	})
}

func (w *world) pod(uid, node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods = append(w.pods, &fleetv1.Pod{
		Uid: uid, Namespace: "web", Name: uid, NodeName: node, Phase: "Running", Owner: &fleetv1.Owner{Kind: "ReplicaSet", Uid: "rs"},
		Requests: &fleetv1.Resources{CpuMillicores: 500, MemoryBytes: 1 << 30},
	})
}

// report says what the cluster is like now.
func (w *world) report(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	must(t, w.Store.PutReport(t.Context(), w.cluster, store.Fleet{Complete: true, Nodes: w.nodes, Pods: w.pods}))
}

// leaves takes a node and its pods out of the cluster.
func (w *world) leaves(t *testing.T, name string) {
	t.Helper()
	w.mu.Lock()
	w.nodes = slices.DeleteFunc(w.nodes, func(n *fleetv1.NodeMetric) bool { return n.GetNodeName() == name })
	w.pods = slices.DeleteFunc(w.pods, func(p *fleetv1.Pod) bool { return p.GetNodeName() == name })
	w.mu.Unlock()
	w.report(t)
}

// take hands notices to the first replica and returns its verdicts.
func (w *world) take(t *testing.T, notices ...notice.Notice) []listen.Verdict {
	t.Helper()
	verdicts, err := w.Take(t.Context(), w.queue, notices)
	must(t, err)
	return verdicts
}

var began = time.Now().UTC().Truncate(time.Second)

// warning as SQS brings it.
func warning(instance, action string) notice.Notice {
	n := notice.Notice{
		Key: "spot/" + instance + "/" + action, Type: notice.InterruptionWarning, InstanceID: instance, Region: "us-east-1", Action: action,
		MessageID: "m-" + instance, SaidAt: began, Source: notice.FromSQS,
	}
	if action != "hibernate" {
		n.Deadline = began.Add(notice.Lead)
	}
	return n
}

func stateChange(instance, state string, at time.Time) notice.Notice {
	return notice.Notice{
		Key: "state/" + instance + "/" + state, Type: notice.InstanceTerminated, InstanceID: instance, Region: "us-east-1", State: state,
		MessageID: "m-" + instance + state, SaidAt: at, Source: notice.FromSQS,
	}
}

func rebalance(instance string) notice.Notice {
	return notice.Notice{
		Key: "rebalance/" + instance, Type: notice.Rebalance, InstanceID: instance, Region: "us-east-1", MessageID: "r-" + instance,
		SaidAt: began.Add(-time.Minute), Source: notice.FromSQS,
	}
}

// row is the newest interruption of an instance.
func (w *world) row(t *testing.T, instance string) *store.Interruption {
	t.Helper()
	var row *store.Interruption
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) (err error) {
		row, err = tx.LatestInterruption(t.Context(), w.cluster, instance)
		return err
	}))
	if row == nil {
		t.Fatalf("there is no interruption of %s", instance)
	}
	return row
}

// follows looks after an interruption once, and tells when again.
func (w *world) follows(t *testing.T, instance string) time.Duration {
	t.Helper()
	again, err := w.follow(t.Context(), w.row(t, instance).ID)
	must(t, err)
	return again
}

// replaces runs the job that launches.
func (w *world) replaces(t *testing.T, instance string) *store.Interruption {
	t.Helper()
	w.replaceNow(t.Context(), w.row(t, instance).ID)
	return w.row(t, instance)
}

// parameters of the drain task, and its deadline from now.
func (w *world) drainOf(t *testing.T, instance string) (*fleetv1.DrainNodeParameters, time.Duration) {
	t.Helper()
	var raw []byte
	var deadline time.Time
	row := w.row(t, instance)
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT parameters, deadline FROM tasks WHERE task_id = $1", row.DrainTask.UUID).Scan(&raw, &deadline))
	p := &fleetv1.DrainNodeParameters{}
	fields := map[string]any{}
	must(t, json.Unmarshal(raw, &fields))
	p.NodeName, _ = fields["node_name"].(string)
	p.InstanceId, _ = fields["instance_id"].(string)
	p.Force, _ = fields["force"].(bool)
	grace, _ := fields["grace_period"].(float64)
	p.GracePeriod = int32(grace)
	return p, time.Until(deadline)
}

// drains ends the drain task as an agent would, and moves the pods.
func (w *world) drains(t *testing.T, instance, status string, report map[string]any) {
	t.Helper()
	row := w.row(t, instance)
	result, err := json.Marshal(map[string]any{"task_id": row.DrainTask.UUID, "status": status, "metadata": report})
	must(t, err)
	w.exec(t, "UPDATE tasks SET status = $2, result = $3, finished_at = now(), lease_until = NULL WHERE task_id = $1", row.DrainTask.UUID, status, result)
	if status == "success" {
		w.mu.Lock()
		w.pods = slices.DeleteFunc(w.pods, func(p *fleetv1.Pod) bool { return p.GetNodeName() == row.Node })
		w.mu.Unlock()
		w.report(t)
	}
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := w.db.Pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

func (w *world) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	must(t, w.db.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// launched are the instances that were not there at the beginning.
func (w *world) launched() []string {
	var out []string
	for _, one := range w.ec2.Instances() {
		if one.Tags["cloudoptim:interruption-id"] != "" {
			kind := "on-demand"
			if one.Spot {
				kind = "spot"
			}
			out = append(out, strings.Join([]string{one.Type, one.Subnet, kind}, " "))
		}
	}
	return out
}

func (w *world) events(t *testing.T) []*fleetv1.SpotEvent {
	t.Helper()
	events, _, err := w.Store.SpotEvents(t.Context(), uuid.NullUUID{}, uuid.NullUUID{UUID: w.customer, Valid: true}, "", "", store.Page{Limit: 100})
	must(t, err)
	return events
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

func within(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %s, want %s to %s", what, got, least, most)
	}
}
