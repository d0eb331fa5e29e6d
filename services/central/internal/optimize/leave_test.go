package optimize

import (
	"testing"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// disconnect the cluster as the door does.
func (w *world) disconnect(t *testing.T) int {
	t.Helper()
	var ended int
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) error {
		left, err := tx.DisconnectCluster(t.Context(), w.cluster, noCustomer, Disconnected)
		if err != nil || !left.Changed {
			return err
		}
		ended, err = w.Leave(t.Context(), tx, w.cluster)
		return err
	}))
	return ended
}

func (w *world) jobs(t *testing.T, kind string) int {
	t.Helper()
	var n int
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM river_job WHERE kind = $1", kind).Scan(&n))
	return n
}

// left is the optimization after its job has swept.
func (w *world) left(t *testing.T, id uuid.UUID) *adminv1.Optimization {
	t.Helper()
	for range 2 { // the job may come twice
		must(t, w.sweep(t.Context(), id))
	}
	told, err := w.Store.Optimization(t.Context(), id, noCustomer)
	must(t, err)
	equal(t, "status", told.GetStatus(), "cancelled")
	return told
}

func TestALaunchThatIsNoNodeYetEndsWithItsCluster(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	for len(w.ec2.Calls("RunInstances")) == 0 { // the agent does not see it
		w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
	}
	equal(t, "before", w.alive(), "i-old-1 on-demand, i-old-2 on-demand, i-0002 spot")
	equal(t, "ended", w.disconnect(t), 1)
	equal(t, "ended again", w.disconnect(t), 0)
	equal(t, "jobs", w.jobs(t, "optimization_sweep"), 1)
	mentions(t, w.left(t, id).GetErrorMessage(), Disconnected, "ended: i-0002")
	equal(t, "after", w.alive(), "i-old-1 on-demand, i-old-2 on-demand")
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
	equal(t, "instances launched", len(w.ec2.Calls("RunInstances")), 1)
	equal(t, "last news", w.last(t), "optimization_complete failed")
	_, err := w.Trigger(t.Context(), noCustomer, "operator:1", &adminv1.TriggerOptimizationRequest{ClusterId: w.cluster.String(), OptimizationType: "spot_optimize"})
	wantReason(t, err, faultv1.Reason_REASON_AGENT_OFFLINE)
}

func TestANodeThatHasJoinedIsLeftRunningAndNamed(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	w.until(t, id, "drain")
	w.turn(t, id)
	w.disconnect(t)
	mentions(t, w.left(t, id).GetErrorMessage(), Disconnected, "still running: i-0002 (node 0002)", "still cordoned: old-1, old-2")
	equal(t, "ended", len(w.ec2.Calls("TerminateInstances")), 0)
}

func TestWhatMayHavePodsByNowIsNotEnded(t *testing.T) {
	for name, sql := range map[string]string{
		"the job is late":                  "UPDATE clusters SET disconnected_at = disconnected_at - interval '20 seconds', last_seen_at = last_seen_at - interval '20 seconds'",
		"the agent had long been silent":   "UPDATE clusters SET last_seen_at = disconnected_at - interval '20 seconds'",
		"the agent was never heard at all": "UPDATE clusters SET last_seen_at = NULL",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.start(t)
			for len(w.ec2.Calls("RunInstances")) == 0 {
				w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
			}
			w.disconnect(t)
			_, err := w.db.Pool.Exec(t.Context(), sql)
			must(t, err)
			mentions(t, w.left(t, id).GetErrorMessage(), "still running: i-0002")
			equal(t, "ended", len(w.ec2.Calls("TerminateInstances")), 0)
		})
	}
}

func TestALaunchWhoseAnswerWasLostIsFoundAndEnded(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	for len(w.ec2.Calls("RunInstances")) == 0 {
		w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
	}
	_, err := w.db.Pool.Exec(t.Context(), "UPDATE optimization_launches SET status = 'pending', instance_ids = '{}'")
	must(t, err)
	w.disconnect(t)
	mentions(t, w.left(t, id).GetErrorMessage(), "ended: i-0002")
}

func TestAStoryOfAConnectedClusterIsNotSwept(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	must(t, w.sweep(t.Context(), id))
	told, err := w.Store.Optimization(t.Context(), id, noCustomer)
	must(t, err)
	equal(t, "status", told.GetStatus(), "pending")
}
