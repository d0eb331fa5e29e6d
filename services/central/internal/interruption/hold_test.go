package interruption

import (
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// mode sets that of the cluster.
func (w *world) mode(t *testing.T, mode string) {
	t.Helper()
	owner, err := w.Store.CustomerOf(t.Context(), w.cluster)
	must(t, err)
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) error {
		values := &adminv1.PolicyValues{Mode: proto.String(mode)}
		_, _, err := tx.SetPolicy(t.Context(), store.PolicyScope{Customer: owner, Cluster: some(w.cluster)}, values, "", "admin:1")
		return err
	}))
}

// stop everything in the cluster, interruptions too where include says so.
func (w *world) stop(t *testing.T, include bool) (lift func()) {
	t.Helper()
	owner, err := w.Store.CustomerOf(t.Context(), w.cluster)
	must(t, err)
	var id uuid.UUID
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) error {
		stop, _, err := tx.AddStop(t.Context(), store.NewStop{
			Scope: "cluster", Customer: some(owner), Cluster: some(w.cluster), Reason: "an incident", Actor: "operator:1", IncludeInterruptions: include,
		})
		id = uuid.MustParse(stop.GetStopId())
		return err
	}))
	return func() {
		_, _, err := w.Store.LiftStop(t.Context(), id, "operator:1", "over")
		must(t, err)
	}
}

func (w *world) tasks(t *testing.T) int {
	t.Helper()
	var n int
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM tasks").Scan(&n))
	return n
}

func TestInAClusterThatIsOnlyLookedAtAnInterruptionIsNoted(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.ReadOnly)
	equal(t, "verdict", w.take(t, warning("i-0000", "terminate"))[0], listen.Taken)
	equal(t, "said again", w.take(t, warning("i-0000", "terminate"))[0], listen.Duplicate)
	events, _, err := w.Store.SpotEvents(t.Context(), some(w.cluster), uuid.NullUUID{}, "", "", store.Page{Limit: 10})
	must(t, err)
	equal(t, "events", len(events), 1)
	equal(t, "action", events[0].GetActionTaken(), "recorded")
	equal(t, "tasks", w.tasks(t), 0)
	equal(t, "launched", len(w.launched()), 0)
}

func TestWindowsBudgetsAndOrdinaryStopsDoNotHoldUpInterruptions(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Recommend)
	w.stop(t, false)
	w.take(t, warning("i-0000", "terminate"))
	equal(t, "state", w.row(t, "i-0000").State, "draining")
	var cause string
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT cause FROM tasks WHERE task_type = 'drain_node'").Scan(&cause))
	equal(t, "cause", cause, "interruption")
}

func TestAStopThatIncludesInterruptionsHoldsThemUntilItIsLifted(t *testing.T) {
	w := newWorld(t)
	w.decide = recommend("c5.large", "us-east-1a", "on-demand")
	lift := w.stop(t, true)
	w.take(t, warning("i-0000", "terminate"))
	for range 3 {
		w.follows(t, "i-0000")
	}
	row := w.row(t, "i-0000")
	equal(t, "remembered", row.State+" "+row.Replacement, "at_risk ")
	equal(t, "tasks", w.tasks(t), 0)
	lift()
	w.follows(t, "i-0000")
	row = w.row(t, "i-0000")
	equal(t, "caught up", row.State+" "+row.Replacement, "draining pending")
	equal(t, "replaced", w.replaces(t, "i-0000").Replacement, "launched")
}

func TestADrainThatAStopBrokeOffIsDoneAgain(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	first := w.row(t, "i-0000").DrainTask.UUID
	lift := w.stop(t, true)
	outcomes, err := w.Store.TaskOutcomes(t.Context(), []uuid.UUID{first})
	must(t, err)
	equal(t, "the waiting drain", outcomes[first].Status, "cancelled")
	w.follows(t, "i-0000")
	equal(t, "meanwhile", w.row(t, "i-0000").DrainTask.UUID, first)
	if again := w.replaceNow(t.Context(), w.row(t, "i-0000").ID); again == 0 || len(w.launched()) != 0 {
		t.Errorf("a replacement is launched while the stop holds: %v", w.launched())
	}
	lift()
	w.follows(t, "i-0000")
	row := w.row(t, "i-0000")
	if row.DrainTask.UUID == first || row.State != "draining" || row.DrainOutcome != "" {
		t.Errorf("not drained again: %+v", row)
	}
	outcomes, err = w.Store.TaskOutcomes(t.Context(), []uuid.UUID{row.DrainTask.UUID})
	must(t, err)
	equal(t, "the new drain", outcomes[row.DrainTask.UUID].Status, "pending")
}
