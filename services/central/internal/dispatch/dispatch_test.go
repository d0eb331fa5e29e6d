package dispatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type house struct {
	*Dispatcher
	db      *pgtest.DB
	cluster uuid.UUID
	wake    <-chan []byte
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	wakes := bus.New()
	h := &house{Dispatcher: New(store.New(db.Pool), wakes, slog.New(slog.DiscardHandler)), db: db}
	customer, err := h.store.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "a", Email: "a"}, "", key("1", "admin"))
	must(t, err)
	made, err := h.store.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{ClusterName: "c", Region: "r"}, key("2", "agent"))
	must(t, err)
	h.cluster = uuid.MustParse(made.GetClusterId())
	wake, stop := wakes.Subscribe(Topic(h.cluster))
	t.Cleanup(stop)
	h.wake = wake
	return h
}

func key(secret, scope string) store.NewKey {
	sum := sha256.Sum256([]byte(secret))
	return store.NewKey{Hash: sum[:], Prefix: "p", Scope: scope}
}

func (h *house) task() *fleetv1.Task {
	return &fleetv1.Task{
		TaskId: uuid.NewString(), ClusterId: h.cluster.String(), TaskType: "drain_node", Priority: 4, Parameters: &structpb.Struct{},
		Deadline: timestamppb.New(time.Now().Add(time.Minute)),
	}
}

func (h *house) add(t *testing.T) uuid.UUID {
	t.Helper()
	task := h.task()
	must(t, h.store.InTx(t.Context(), func(tx *store.Store) error { return h.Add(t.Context(), tx, task, task) }))
	return uuid.MustParse(task.GetTaskId())
}

func (h *house) status(t *testing.T, id uuid.UUID) string {
	t.Helper()
	status, err := h.store.TaskStatus(t.Context(), h.cluster, id)
	must(t, err)
	return status
}

// woken tells whether the cluster's tasks were announced meanwhile.
func (h *house) woken(d time.Duration) bool {
	select {
	case <-h.wake:
		return true
	case <-time.After(d):
		return false
	}
}

func TestATaskFallsWithTheTransactionThatCausedIt(t *testing.T) {
	h := newHouse(t)
	task, broken := h.task(), errors.New("broken")
	err := h.store.InTx(t.Context(), func(tx *store.Store) error {
		must(t, h.Add(t.Context(), tx, task))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := h.store.TaskStatus(t.Context(), h.cluster, uuid.MustParse(task.GetTaskId())); err == nil {
		t.Fatal("the task is there")
	}
	bad := h.task()
	bad.TaskId = "not a UUID"
	if err := h.Add(t.Context(), h.store, bad); err == nil {
		t.Fatal("a task without a name was written")
	}
}

func TestTheSweepAnnouncesWhatWaitsAndReleasesWhatWasLeftLying(t *testing.T) {
	h := newHouse(t)
	must(t, h.sweep(t.Context()))
	if h.woken(50 * time.Millisecond) {
		t.Fatal("announced without a task")
	}
	id := h.add(t)
	must(t, h.sweep(t.Context()))
	if !h.woken(time.Second) {
		t.Fatal("a waiting task was not announced")
	}
	session, err := h.store.OpenSession(t.Context(), h.cluster, "r", "")
	must(t, err)
	leased, err := h.store.LeaseTasks(t.Context(), h.cluster, session.Epoch, 50*time.Millisecond, 1)
	must(t, err)
	if len(leased) != 1 {
		t.Fatal("nothing was leased")
	}
	must(t, h.sweep(t.Context()))
	if h.woken(100*time.Millisecond) || h.status(t, id) != "leased" {
		t.Fatal("a leased task was announced")
	}
	must(t, h.sweep(t.Context()))
	if !h.woken(time.Second) || h.status(t, id) != "pending" {
		t.Fatal("a lease that ran out was not released")
	}
}

func TestTheSweepEndsTasksPastTheirDeadlineAndGrace(t *testing.T) {
	h := newHouse(t)
	inGrace, past, cancelled := h.add(t), h.add(t), h.add(t)
	session, err := h.store.OpenSession(t.Context(), h.cluster, "r", "")
	must(t, err)
	_, err = h.store.LeaseTasks(t.Context(), h.cluster, session.Epoch, time.Minute, 10)
	must(t, err)
	must(t, h.Cancel(t.Context(), h.cluster, "stop", cancelled))
	if !h.woken(time.Second) {
		t.Fatal("a cancel was not announced")
	}
	for id, ago := range map[uuid.UUID]time.Duration{inGrace: expireGrace / 2, past: 2 * expireGrace, cancelled: 2 * expireGrace} {
		_, err := h.db.Pool.Exec(t.Context(), "UPDATE tasks SET deadline = $2 WHERE task_id = $1", id, time.Now().Add(-ago))
		must(t, err)
	}
	must(t, h.sweep(t.Context()))
	for id, want := range map[uuid.UUID]string{inGrace: "leased", past: "timeout", cancelled: "cancelled"} {
		if got := h.status(t, id); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCancellingAWaitingTaskEndsIt(t *testing.T) {
	h := newHouse(t)
	id := h.add(t)
	must(t, h.Cancel(t.Context(), h.cluster, "stop", id))
	if got := h.status(t, id); got != "cancelled" {
		t.Fatal(got)
	}
}

func TestRunSweepsUntilItIsToldToStop(t *testing.T) {
	h := newHouse(t)
	h.add(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	for range 2 {
		if !h.woken(3 * time.Second) {
			t.Fatal("no sweep")
		}
	}
	cancel()
	must(t, <-done)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
