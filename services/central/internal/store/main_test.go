package store

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var anyone = uuid.NullUUID{}

// house is a database with one customer and one cluster.
type house struct {
	*Store
	db                *pgtest.DB
	customer, cluster uuid.UUID
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	h := &house{Store: New(db.Pool), db: db}
	h.customer, h.cluster = h.tenant(t, "acme")
	return h
}

// tenant makes a customer with a cluster of the same name.
func (h *house) tenant(t *testing.T, name string) (customer, cluster uuid.UUID) {
	t.Helper()
	customer, err := h.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{
		CompanyName: name, Email: name + "@example.com", AwsRoleArn: "arn:aws:iam::123456789012:role/" + name,
	}, "external-"+name, newKey(name+"/admin", "admin"))
	must(t, err)
	made, err := h.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{
		ClusterName: name, Region: "us-east-1",
		Launch: &adminv1.LaunchSettings{LaunchTemplateId: "lt-1", SubnetIds: map[string]string{"us-east-1a": "subnet-a"}},
	}, newKey(name+"/agent", "agent"))
	must(t, err)
	return customer, uuid.MustParse(made.GetClusterId())
}

func newKey(secret, scope string) NewKey {
	sum := sha256.Sum256([]byte(secret))
	return NewKey{Hash: sum[:], Prefix: "co_test", Scope: scope, CreatedBy: "test"}
}

// exec runs SQL as central.
func (h *house) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := h.db.Pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

// count is the number a query returns.
func (h *house) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	must(t, h.db.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// session opens one and returns its epoch.
func (h *house) session(t *testing.T) int64 {
	t.Helper()
	opened, err := h.OpenSession(t.Context(), h.cluster, "replica", "v1.31")
	must(t, err)
	return opened.Epoch
}

func (h *house) state(t *testing.T) *fleetv1.ClusterState {
	t.Helper()
	state, err := h.ClusterState(t.Context(), h.cluster, anyone)
	must(t, err)
	return state
}

// task writes a waiting task and returns its id.
func (h *house) task(t *testing.T, priority int32) uuid.UUID {
	t.Helper()
	id := uuid.New()
	fresh, err := h.AddTask(t.Context(), taskFor(h.cluster, id, priority))
	must(t, err)
	if !fresh {
		t.Fatal("a new task was there already")
	}
	return id
}

func taskFor(cluster, id uuid.UUID, priority int32) *fleetv1.Task {
	return &fleetv1.Task{
		TaskId: id.String(), ClusterId: cluster.String(), TaskType: "cordon_node", Priority: priority,
		Parameters: &structpb.Struct{Fields: map[string]*structpb.Value{"node_name": structpb.NewStringValue("n1")}},
		Deadline:   timestamppb.New(time.Now().Add(time.Minute)), CreatedBy: "test",
	}
}

// lease hands waiting tasks to the newest session.
func (h *house) lease(t *testing.T, epoch int64, limit int) []*fleetv1.Task {
	t.Helper()
	tasks, err := h.LeaseTasks(t.Context(), h.cluster, epoch, 5*time.Second, limit)
	must(t, err)
	return tasks
}

func (h *house) status(t *testing.T, task uuid.UUID) string {
	t.Helper()
	status, err := h.TaskStatus(t.Context(), h.cluster, task)
	must(t, err)
	return status
}

func node(name, instance string) *fleetv1.NodeMetric {
	return &fleetv1.NodeMetric{
		NodeName: name, InstanceId: instance, InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: "on-demand",
		CpuAllocatable: 2, MemoryAllocatableGb: 8, Ready: true,
	}
}

func pod(uid, nodeName string) *fleetv1.Pod {
	phase := "Running"
	if nodeName == "" {
		phase = "Pending"
	}
	return &fleetv1.Pod{
		Uid: uid, Namespace: "web", Name: "pod-" + uid, NodeName: nodeName, Phase: phase,
		Requests: &fleetv1.Resources{CpuMillicores: 500, MemoryBytes: 1 << 30},
	}
}

func budget(uid string) *fleetv1.PodDisruptionBudget {
	return &fleetv1.PodDisruptionBudget{Uid: uid, Namespace: "web", Name: "pdb-" + uid}
}

func names(state *fleetv1.ClusterState) string {
	out := ""
	for _, n := range state.GetNodes() {
		out += n.GetNodeName() + " "
	}
	for _, p := range state.GetPods() {
		out += p.GetUid() + " "
	}
	for _, b := range state.GetPodDisruptionBudgets() {
		out += b.GetUid() + " "
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantReason(t *testing.T, err error, want faultv1.Reason) {
	t.Helper()
	if got := fault.ReasonOf(err); err == nil || got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
