package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// lines are what the dashboards were told, one each: severity, status and message.
func (w *world) lines(t *testing.T) []string {
	t.Helper()
	rows, err := w.db.Pool.Query(t.Context(), "SELECT message FROM activity WHERE customer_id = $1 AND cluster_id = $2 ORDER BY activity_id", w.customer, w.cluster)
	must(t, err)
	raw, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	must(t, err)
	lines := []string{}
	for _, one := range raw {
		news := &adminv1.StreamResponse{}
		must(t, proto.Unmarshal(one, news))
		if news.GetType() != "schedule" || uuid.Validate(news.GetSubject()) != nil || news.GetTimestamp() == nil {
			t.Errorf("told %v", news)
		}
		lines = append(lines, news.GetSeverity()+" "+news.GetStatus()+": "+news.GetMessage())
	}
	return lines
}

// failCommits lets every transaction fail in its last moment that audits something of a schedule, until mend.
func (w *world) failCommits(t *testing.T) (mend func()) {
	t.Helper()
	for _, sql := range []string{
		`CREATE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$`,
		`CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.action LIKE 'schedule.%') EXECUTE FUNCTION fail_commit()`,
	} {
		_, err := w.db.Pool.Exec(t.Context(), sql)
		must(t, err)
	}
	return func() {
		_, err := w.db.Pool.Exec(t.Context(), "DROP FUNCTION fail_commit CASCADE")
		must(t, err)
	}
}

var day = []string{
	"info created: schedule nights was made",
	"info falling_asleep: schedule nights puts its workloads to sleep",
	"info asleep: schedule nights put 3 workloads to sleep",
	"info waking: schedule nights wakes its workloads",
	"info awake: schedule nights woke 3 workloads",
}

func TestADayIsToldFromSleepToWake(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.settle(t, id)
	w.pass(t, toEvening)
	w.settle(t, id)
	w.settle(t, id) // nothing moves, nothing is told
	w.pass(t, toMorning)
	w.settle(t, id)
	equalLists(t, w.lines(t), day)
	// Each in the transaction that did it: the audit log has its act.
	var alone int
	must(t, w.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM activity a WHERE NOT EXISTS (
		SELECT 1 FROM audit_log l WHERE l.xmin = a.xmin AND l.subject = $1)`, id.String()).Scan(&alone))
	if alone != 0 {
		t.Errorf("%d lines are of transactions of their own", alone)
	}
}

func TestWhatIsNotCommittedIsNotTold(t *testing.T) {
	w := newWorld(t)
	mend := w.failCommits(t)
	if _, err := w.Create(t.Context(), w.cluster, &adminv1.Schedule{ClusterId: w.cluster.String(), Name: "nights", Calendar: office("UTC")}, "me"); err == nil {
		t.Fatal("it was made without its commit")
	}
	equalLists(t, w.lines(t), []string{})
	mend()
	id := w.create(t, nil)
	w.pass(t, toEvening)
	mend = w.failCommits(t)
	if _, err := w.follow(t.Context(), id); err == nil {
		t.Error("it fell asleep without its commit")
	}
	equalLists(t, w.lines(t), day[:1])
	mend()
	w.settle(t, id)
	equalLists(t, w.lines(t), day[:3])
}

func TestWhatHoldsItIsToldOnceAndThatNothingDoesAnyMore(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening-time.Minute)
	lift := w.stop(t)
	for range 4 {
		w.pass(t, time.Minute)
		_, err := w.follow(t.Context(), id)
		must(t, err)
	}
	held := []string{day[0], "warning held: schedule nights is held: " + w.get(t, id).GetHeldBecause()}
	equalLists(t, w.lines(t), held)
	w.pass(t, 12*time.Hour) // the morning has come, it never slept
	w.settle(t, id)
	equalLists(t, w.lines(t), append(held, "info awake: schedule nights is no longer held: its workloads are awake"))
	lift()
}

func TestWhatDoesNotWakeIsAnError(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	w.settle(t, id)
	w.fails["front"] = []string{"failed", "failed", "failed", "failed", "failed"}
	w.pass(t, toMorning)
	for len(w.runs(t, id)) < 2 || w.runs(t, id)[0].GetFinishedAt() == nil {
		_, err := w.follow(t.Context(), id)
		must(t, err)
		w.agent(t)
		w.pass(t, 30*time.Second)
	}
	equalLists(t, w.lines(t), append(day[:4:4], "error failed: schedule nights woke 2 workloads; web/front: it broke"))
}

func TestWhatPeopleDoToASchedule(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	set := w.get(t, id)
	change := func(do func()) {
		do()
		now, err := w.Update(t.Context(), id, uuid.NullUUID{}, set, "me")
		must(t, err)
		set = now
	}
	change(func() { set.LeadMinutes = 5 })
	change(func() { set.Enabled = false })
	change(func() { set.Enabled = true })
	until := w.clock().Add(time.Hour)
	for _, at := range []time.Time{until, w.clock().Add(-time.Hour)} {
		_, err := w.Wake(t.Context(), id, uuid.NullUUID{}, &adminv1.WakeScheduleRequest{Until: timestamppb.New(at)}, "me")
		must(t, err)
	}
	for range 2 {
		must(t, w.Delete(t.Context(), id, uuid.NullUUID{}, "me"))
	}
	got := strings.Join(w.lines(t), "\n")
	want := strings.Join([]string{
		day[0], "info changed: schedule nights was changed", "info changed: schedule nights was disabled", "info changed: schedule nights was enabled",
		"info wake_until: schedule nights stays awake until " + until.UTC().Format("2006-01-02 15:04") + " UTC",
		"info wake_until: schedule nights goes by its calendar again", "info deleted: schedule nights was deleted",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
