package optimize

import (
	"runtime"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
)

// failCommits lets every transaction fail in its last moment that writes such rows, until mend.
func (w *world) failCommits(t *testing.T, table, when string) (mend func()) {
	t.Helper()
	w.exec(t, `CREATE OR REPLACE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$`)
	w.exec(t, `CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT ON `+table+` DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (`+when+`) EXECUTE FUNCTION fail_commit()`)
	return func() { w.exec(t, `DROP TRIGGER fail_commit ON `+table) }
}

// lines are the news, one each: type, status and step.
func (w *world) lines(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, one := range w.news(t) {
		lines = append(lines, strings.TrimSpace(one.GetType()+" "+one.GetStatus()+" "+one.GetStep()))
	}
	return strings.Join(lines, "\n")
}

const wholeStory = `optimization_started pending
optimization_step completed state
optimization_step completed decide
optimization_step completed launch
optimization_step completed ready
optimization_step completed label
optimization_step completed drain
optimization_step completed terminate
optimization_step completed verify
optimization_complete success`

func TestWhatIsNotCommittedIsNotTold(t *testing.T) {
	w := newWorld(t)
	mend := w.failCommits(t, "audit_log", "NEW.action LIKE 'optimization.%'")
	if _, err := w.Trigger(t.Context(), noCustomer, "operator:1", &adminv1.TriggerOptimizationRequest{
		ClusterId: w.cluster.String(), OptimizationType: "spot_optimize",
	}); err == nil {
		t.Fatal("it was begun without its commit")
	}
	equal(t, "told", w.lines(t), "")
	mend()
	id := w.start(t)
	mend = w.failCommits(t, "audit_log", "NEW.action LIKE 'optimization.%'")
	w.turn(t, id)
	w.turn(t, id)
	equal(t, "told", w.lines(t), "optimization_started pending")
	mend()
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
	equal(t, "told", w.lines(t), wholeStory)
}

// TestALineIsOfTheTransactionThatItTellsOf: so that a crash loses both or neither. Each line has its act in the audit log.
func TestALineIsOfTheTransactionThatItTellsOf(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	_, err := w.Approve(t.Context(), w.deciding(id, "do it"))
	must(t, err)
	w.story(t, id)
	equal(t, "told", w.lines(t), strings.Replace(wholeStory, "decide\n", "decide\noptimization_waiting approval decide\noptimization_decided approved\n", 1))
	var alone int
	must(t, w.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM activity a WHERE NOT EXISTS (
		SELECT 1 FROM audit_log l WHERE l.xmin = a.xmin AND l.subject = a.optimization_id::text)`).Scan(&alone))
	equal(t, "lines of transactions of their own", alone, 0)
}

func TestAReplicaThatDiesBehindTheCommitHasToldOfIt(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	w.Store.OnTell(runtime.Goexit) // nothing that comes after the commit is done
	died := make(chan struct{})
	go func() {
		defer close(died)
		w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
		t.Error("it did not die")
	}()
	<-died
	equal(t, "told", w.lines(t), "optimization_started pending\noptimization_step completed state")
	w.Store.OnTell(func() {})
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
	equal(t, "told", w.lines(t), wholeStory)
}

func TestAWaitIsNotedAndToldOrNeither(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	lift := w.stop(t)
	mend := w.failCommits(t, "activity", "NEW.type = 'optimization_waiting'")
	for range 5 {
		w.turn(t, id)
	}
	equal(t, "waits for", w.told(t, id).GetWaitingFor().GetCode(), "")
	equal(t, "told", w.heard(t, "optimization_waiting", "stop"), 0)
	mend()
	w.waits(t, id, guard.ForStop)
	w.turn(t, id)
	equal(t, "told", w.heard(t, "optimization_waiting", "stop"), 1)
	lift()
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
}

// TestASnoozeThatEndsIsToldOnce: in the transaction that ends it.
func TestASnoozeThatEndsIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	_, err := w.Snooze(t.Context(), w.deciding(id, "later"), time.Now().Add(time.Hour))
	must(t, err)
	w.exec(t, "UPDATE optimization_history SET snoozed_until = now()")
	mend := w.failCommits(t, "audit_log", "NEW.action = 'optimization.snooze_ended'")
	before := w.heard(t, "optimization_waiting", "approval")
	if err := w.remember(t.Context()); err == nil {
		t.Error("it ended without its commit")
	}
	equal(t, "told", w.heard(t, "optimization_waiting", "approval"), before)
	mend()
	w.exec(t, "DELETE FROM turns")
	must(t, w.remember(t.Context()))
	equal(t, "told", w.heard(t, "optimization_waiting", "approval"), before+1)
}
