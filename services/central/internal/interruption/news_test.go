package interruption

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

// failCommits lets every transaction fail in its last moment that audits something of ours, until mend.
func (w *world) failCommits(t *testing.T) (mend func()) {
	t.Helper()
	w.exec(t, `CREATE OR REPLACE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$`)
	w.exec(t, `CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.action LIKE 'interruption.%') EXECUTE FUNCTION fail_commit()`)
	return func() { w.exec(t, `DROP TRIGGER fail_commit ON audit_log`) }
}

// lines are the news, one each: node, status and what was done.
func (w *world) lines(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, one := range w.news(t) {
		lines = append(lines, one.GetStatus()+" | "+one.GetMessage()+" | "+one.GetSpotEvent().GetEventType()+" "+one.GetSpotEvent().GetActionTaken())
	}
	return strings.Join(lines, "\n")
}

func TestWhatIsNotCommittedIsNotTold(t *testing.T) {
	w := newWorld(t)
	mend := w.failCommits(t)
	if _, err := w.Take(t.Context(), w.queue, []notice.Notice{warning("i-0000", "terminate")}); err == nil {
		t.Fatal("it was taken without its commit")
	}
	equal(t, "told", w.lines(t), "")
	mend()
	w.take(t, warning("i-0000", "terminate"))
	taken := "draining | node n0: draining, replacement_pending | interruption_warning draining, replacement_pending"
	equal(t, "told", w.lines(t), taken)
	mend = w.failCommits(t)
	w.drains(t, "i-0000", "success", map[string]any{"phase": "drained"})
	if _, err := w.follow(t.Context(), w.row(t, "i-0000").ID); err == nil {
		t.Error("the drain's end was noted without its commit")
	}
	equal(t, "told", w.lines(t), taken)
	mend()
	w.follows(t, "i-0000")
	equal(t, "told", w.lines(t), taken+"\ndrained | node n0: drained, replacement_pending | interruption_warning drained, replacement_pending")
}

// TestALineIsOfTheTransactionThatItTellsOf: so that a crash loses both or neither. Each line has its act in the audit log.
func TestALineIsOfTheTransactionThatItTellsOf(t *testing.T) {
	w := newWorld(t)
	w.decide = recommend("c5.large", "us-east-1a", "on-demand")
	w.take(t, warning("i-0000", "terminate"))
	w.replaces(t, "i-0000")
	w.drains(t, "i-0000", "success", map[string]any{"phase": "drained"})
	w.follows(t, "i-0000") // drained
	w.follows(t, "i-0000") // ended
	w.take(t, stateChange("i-0000", "terminated", began.Add(2*time.Minute)))
	if n := len(w.news(t)); n != 5 {
		t.Errorf("%d lines:\n%s", n, w.lines(t))
	}
	equal(t, "lines of transactions of their own", w.count(t, `SELECT count(*) FROM activity a WHERE NOT EXISTS (
		SELECT 1 FROM audit_log l WHERE l.xmin = a.xmin AND l.action LIKE 'interruption.%')`), 0)
}

func TestAReplicaThatDiesBehindTheCommitHasToldOfIt(t *testing.T) {
	w := newWorld(t)
	w.Store.OnTell(runtime.Goexit) // nothing that comes after the commit is done
	died := make(chan struct{})
	go func() {
		defer close(died)
		_, err := w.Take(t.Context(), w.queue, []notice.Notice{warning("i-0000", "terminate")})
		t.Errorf("it did not die: %v", err)
	}()
	<-died
	taken := "draining | node n0: draining, replacement_pending | interruption_warning draining, replacement_pending"
	equal(t, "told", w.lines(t), taken)
	// AWS's message was not deleted: another replica takes it, and finds all done.
	verdicts, err := w.other.Take(t.Context(), w.queue, []notice.Notice{warning("i-0000", "terminate")})
	must(t, err)
	equal(t, "verdicts", len(verdicts), 1)
	equal(t, "told", w.lines(t), taken)
}

// TestSeveralThingsSaidAtOnceAreToldAsTheyAreInTheEnd: what was said first is not told as it was half-way.
func TestSeveralThingsSaidAtOnceAreToldAsTheyAreInTheEnd(t *testing.T) {
	w := newWorld(t)
	w.take(t, rebalance("i-0000"), warning("i-0000", "terminate"))
	for _, one := range w.news(t) {
		equal(t, "event", one.GetSpotEvent().GetEventType()+" "+one.GetSpotEvent().GetActionTaken(), "interruption_warning draining, replacement_pending")
	}
	equal(t, "lines", len(w.news(t)), 2)
}
