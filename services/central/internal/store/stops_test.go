package store

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

func (h *house) stop(t *testing.T, n NewStop) uuid.UUID {
	t.Helper()
	n.Reason, n.Actor = "test", "operator:1"
	var id uuid.UUID
	must(t, h.InTx(t.Context(), func(tx *Store) error {
		stop, _, err := tx.AddStop(t.Context(), n)
		id = uuid.MustParse(stop.GetStopId())
		return err
	}))
	return id
}

func TestTheWidestStopHoldsAndIncludesInterruptionsIfAnyDoes(t *testing.T) {
	h := newHouse(t)
	other, otherCluster := h.tenant(t, "other")
	none, err := h.StopIn(t.Context(), h.cluster)
	must(t, err)
	if none != nil {
		t.Fatalf("a stop from nowhere: %v", none)
	}
	own := h.stop(t, NewStop{Scope: "cluster", Customer: some(h.customer), Cluster: some(h.cluster), IncludeInterruptions: true})
	h.stop(t, NewStop{Scope: "customer", Customer: some(other)})
	all := h.stop(t, NewStop{Scope: "customer", Customer: some(h.customer)})
	equal(t, "repeated", h.stop(t, NewStop{Scope: "customer", Customer: some(h.customer)}), all)
	got, err := h.StopIn(t.Context(), h.cluster)
	must(t, err)
	equal(t, "stop", got.GetStopId(), all.String())
	equal(t, "includes interruptions", got.GetIncludeInterruptions(), true)
	platform := h.stop(t, NewStop{Scope: "platform"})
	found, err := h.StopsIn(t.Context(), h.cluster, otherCluster)
	must(t, err)
	equal(t, "stops", len(found[h.cluster]), 3)
	equal(t, "first of the other", found[otherCluster][0].GetStopId(), platform.String())
	for _, id := range []uuid.UUID{platform, all} {
		_, lifted, err := h.LiftStop(t.Context(), id, "operator:1", "done")
		must(t, err)
		equal(t, "lifted", lifted, true)
	}
	again, lifted, err := h.LiftStop(t.Context(), all, "operator:2", "again")
	must(t, err)
	equal(t, "lifted again", lifted, false)
	equal(t, "lifted by", again.GetLiftedBy(), "operator:1")
	got, err = h.StopIn(t.Context(), h.cluster)
	must(t, err)
	equal(t, "what is left", got.GetStopId(), own.String())
}

func TestAStopCancelsOpenDrainsButNotWhatGivesBack(t *testing.T) {
	h := newHouse(t)
	_, cluster := h.tenant(t, "other")
	epoch := h.session(t)
	add := func(of uuid.UUID, kind, cause string) uuid.UUID {
		task := taskFor(of, uuid.New(), 5)
		task.TaskType, task.Cause = kind, cause
		_, err := h.AddTask(t.Context(), task)
		must(t, err)
		return uuid.MustParse(task.TaskId)
	}
	leased := add(h.cluster, "drain_node", "optimization")
	equal(t, "cause delivered", h.lease(t, epoch, 1)[0].GetCause(), "optimization")
	waiting, cordon := add(h.cluster, "drain_node", ""), add(h.cluster, "cordon_node", "optimization")
	undo, label := add(h.cluster, "drain_node", "undo"), add(h.cluster, "label_node", "optimization")
	warned, elsewhere := add(h.cluster, "drain_node", "interruption"), add(cluster, "drain_node", "optimization")
	id := h.stop(t, NewStop{Scope: "cluster", Customer: some(h.customer), Cluster: some(h.cluster)})
	for task, want := range map[uuid.UUID]string{
		leased: "leased", waiting: "cancelled", cordon: "cancelled", undo: "pending", label: "pending", warned: "pending",
	} {
		equal(t, "status", h.status(t, task), want)
	}
	status, err := h.TaskStatus(t.Context(), cluster, elsewhere)
	must(t, err)
	equal(t, "in another cluster", status, "pending")
	asked, err := h.CancelledTasks(t.Context(), h.cluster)
	must(t, err)
	equal(t, "asked to stop", len(asked), 1)
	stop, err := h.Stop(t.Context(), id, anyone)
	must(t, err)
	equal(t, "drains cancelled", stop.GetDrainsCancelled(), 2)
	equal(t, "clusters", stop.GetClusters(), 1)
	equal(t, "widened", h.stop(t, NewStop{Scope: "cluster", Customer: some(h.customer), Cluster: some(h.cluster), IncludeInterruptions: true}), id)
	equal(t, "the interruption's drain", h.status(t, warned), "cancelled")
}

// A transaction that has looked for stops and found none has written its drain
// before the stop looks for drains.
func TestAStopWaitsForWhatWasBegunBeforeIt(t *testing.T) {
	h := newHouse(t)
	id := uuid.New()
	stopped := make(chan error, 1)
	must(t, h.InTx(t.Context(), func(tx *Store) error {
		must(t, tx.BarStops(t.Context()))
		stop, err := tx.StopIn(t.Context(), h.cluster)
		if err != nil || stop != nil {
			t.Fatalf("stop %v, %v", stop, err)
		}
		go func() {
			stopped <- h.InTx(t.Context(), func(tx *Store) error {
				_, _, err := tx.AddStop(t.Context(), NewStop{Scope: "platform", Reason: "now"})
				return err
			})
		}()
		for h.count(t, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		task := taskFor(h.cluster, id, 4)
		task.TaskType, task.Cause = "drain_node", "optimization"
		_, err = tx.AddTask(t.Context(), task)
		return err
	}))
	must(t, <-stopped)
	equal(t, "the drain", h.status(t, id), "cancelled")
}
