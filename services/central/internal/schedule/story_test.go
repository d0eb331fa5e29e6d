package schedule

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// The world begins on Monday noon; it sleeps at 20:00 and wakes at 07:30.
const (
	toEvening = 8 * time.Hour
	toMorning = 11*time.Hour + 30*time.Minute
)

func TestItSleepsAtTheSpansEndAndWakesBeforeTheNext(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, func(s *adminv1.Schedule) {
		s.WakeOrder = []*mlv1.WakeStage{
			{Workloads: []string{"web/db"}, ReadyMinutes: proto.Float64(2)}, {Workloads: []string{"web/Deployment/back"}},
		}
	})
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
	if len(w.done) != 0 || w.asked != 0 {
		t.Fatalf("done %v, asked %d times", w.done, w.asked)
	}
	w.pass(t, toEvening-time.Minute)
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
	w.pass(t, time.Minute)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	equalLists(t, w.done, []string{"sleep front", "sleep back", "sleep db"})
	if got := w.get(t, id); got.GetWorkloadsAsleep() != 3 || got.GetNext()[0].GetAction() != "wake" {
		t.Fatalf("asleep: %v", got)
	}
	w.pass(t, toMorning-time.Minute-w.lateBy(t, "20:00"))
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	w.pass(t, time.Minute)
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
	equalLists(t, w.done[3:], []string{"wake db", "wake back", "wake front"})
	runs := w.runs(t, id)
	if len(runs) != 2 || runs[0].GetAction() != "wake" || runs[1].GetAction() != "sleep" {
		t.Fatalf("runs %v", runs)
	}
	for _, run := range runs {
		if run.GetStatus() != "completed" || run.GetWorkloads() != 3 || len(run.GetProblems()) != 0 || run.GetReason() != "calendar" {
			t.Fatalf("run %v", run)
		}
	}
	var entries int
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE subject = $1 AND actor = 'schedule_service'", id.String()).Scan(&entries))
	if entries != 4 {
		t.Fatalf("%d audit entries, want begin and end of both runs", entries)
	}
}

// lateBy is how much later it is than a time of this day.
func (w *world) lateBy(t *testing.T, clock string) time.Duration {
	t.Helper()
	at, err := time.Parse("15:04", clock)
	must(t, err)
	now := w.clock()
	return now.Sub(now.Truncate(24 * time.Hour).Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute))
}

func TestWhatHoldsItAndWhatDoesNot(t *testing.T) {
	for name, c := range map[string]struct {
		hold func(*world, *testing.T) (lift func())
		says string
	}{
		"a stop":            {(*world).stop, "all hands"},
		"the mode":          {(*world).recommend, "recommend"},
		"a stale state":     {(*world).leave, "older than"},
		"no decision by ml": {(*world).deafen, "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.create(t, nil)
			w.pass(t, toEvening-2*time.Minute)
			lift := c.hold(w, t)
			w.pass(t, 2*time.Minute)
			w.settle(t, id)
			w.want(t, id, "held", dayOf)
			if why := w.get(t, id).GetHeldBecause(); !strings.Contains(why, c.says) {
				t.Fatalf("held because %q", why)
			}
			if len(w.done) != 0 || len(w.runs(t, id)) != 0 {
				t.Fatalf("done %v, runs %v", w.done, w.runs(t, id))
			}
			lift()
			w.pass(t, time.Minute)
			w.settle(t, id)
			w.want(t, id, "asleep", nightOf)
			c.hold(w, t)
			w.pass(t, 12*time.Hour)
			w.settle(t, id)
			if state := w.get(t, id).GetState(); w.running() != dayOf || (state != "awake" && name != "a stale state") {
				t.Fatalf("waking was held: %s, running %s", state, w.running())
			}
		})
	}
}

func TestASilentAgentHoldsWakingUntilItIsBack(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	w.away = true
	w.pass(t, 12*time.Hour)
	_, err := w.follow(t.Context(), id)
	must(t, err)
	w.want(t, id, "held", nightOf)
	if why := w.get(t, id).GetHeldBecause(); why != offline {
		t.Fatalf("held because %q", why)
	}
	w.away = false
	w.pass(t, time.Minute)
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
}

func TestAStopInTheMiddleIsWaitedOut(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	_, err := w.follow(t.Context(), id) // tasks are written
	must(t, err)
	lift := w.stop(t)
	w.agent(t)
	w.settle(t, id)
	w.want(t, id, "held", dayOf)
	for range 30 { // however long it takes
		w.pass(t, time.Minute)
		w.settle(t, id)
	}
	lift()
	w.settle(t, id)
	w.pass(t, time.Minute)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	if runs := w.runs(t, id); len(runs) != 1 || runs[0].GetStatus() != "completed" || runs[0].GetWorkloads() != 3 {
		t.Fatalf("runs %v", runs)
	}
}

func TestMissedTransitionsAreNotMadeUpFor(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, 3*24*time.Hour+time.Hour) // Thursday, after three nights
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
	if runs := w.runs(t, id); len(runs) != 0 {
		t.Fatalf("nights were made up for: %v", runs)
	}
	w.pass(t, 2*24*time.Hour) // Saturday
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	if runs := w.runs(t, id); len(runs) != 1 {
		t.Fatalf("runs %v", runs)
	}
}

func TestWakeUntilThenItSleepsAgainByItself(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	w.settle(t, id)
	wake := func(until time.Time) error {
		_, err := w.Wake(t.Context(), id, uuid.NullUUID{}, &adminv1.WakeScheduleRequest{Until: timestamppb.New(until), Reason: "release"}, "me")
		return err
	}
	must(t, wake(w.clock().Add(2*time.Hour)))
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
	if got := w.get(t, id); got.GetNext()[0].GetReason() != "wake_until" || got.GetWakeUntil() == nil {
		t.Fatalf("next %v", got.GetNext())
	}
	w.pass(t, 2*time.Hour)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	must(t, wake(w.clock().Add(2*time.Hour)))
	w.settle(t, id)
	must(t, wake(w.clock().Add(-time.Hour))) // ends it
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	if err := wake(w.clock().Add(15 * 24 * time.Hour)); fault.ReasonOf(err) != faultv1.Reason_REASON_INVALID_REQUEST {
		t.Fatalf("woken for 15 days: %v", err)
	}
	reasons := ""
	for _, run := range w.runs(t, id) {
		reasons += run.GetAction() + " " + run.GetReason() + ", "
	}
	if reasons != "sleep calendar, wake wake_now, sleep calendar, wake wake_now, sleep calendar, " {
		t.Fatalf("runs: %s", reasons)
	}
}

func TestWakingBreaksFallingAsleepOff(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, func(s *adminv1.Schedule) {
		s.WakeOrder = []*mlv1.WakeStage{{Workloads: []string{"web/db"}}}
	})
	w.pass(t, toEvening)
	_, err := w.follow(t.Context(), id)
	must(t, err)
	w.agent(t) // front and back sleep, db would be next
	w.pass(t, soon)
	_, err = w.follow(t.Context(), id)
	must(t, err)
	_, err = w.Wake(t.Context(), id, uuid.NullUUID{}, &adminv1.WakeScheduleRequest{Until: timestamppb.New(w.clock().Add(time.Hour))}, "me")
	must(t, err)
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
	runs := w.runs(t, id)
	if len(runs) != 2 || runs[1].GetStatus() != "failed" || !strings.Contains(runs[1].GetProblems()[0], "broken off") || runs[0].GetWorkloads() != 2 {
		t.Fatalf("runs %v", runs)
	}
}

func TestAWakeThatIsBrokenOffIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	wake := func(in time.Duration) {
		t.Helper()
		_, err := w.Wake(t.Context(), id, uuid.NullUUID{}, &adminv1.WakeScheduleRequest{Until: timestamppb.New(w.clock().Add(in))}, "me")
		must(t, err)
	}
	wake(time.Hour)
	_, err := w.follow(t.Context(), id) // tasks are written, and nobody does them
	must(t, err)
	w.pass(t, soon)
	w.stop(t)
	wake(-time.Hour)
	w.settle(t, id)
	w.want(t, id, "held", nightOf)
	wake(time.Hour)
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
}

func TestDisablingAndDeletingWakes(t *testing.T) {
	for _, action := range []string{"disabled", "deleted"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld(t)
			id := w.create(t, nil)
			w.pass(t, toEvening)
			w.settle(t, id)
			w.want(t, id, "asleep", nightOf)
			if action == "deleted" {
				for range 2 {
					must(t, w.Delete(t.Context(), id, uuid.NullUUID{UUID: w.customer, Valid: true}, "me"))
				}
				if left, _, err := w.List(t.Context(), uuid.NullUUID{}, uuid.NullUUID{}, store.Page{Limit: 9}); err != nil || len(left) != 0 {
					t.Fatalf("listed %v, %v", left, err)
				}
				w.create(t, nil) // its name is free
			} else {
				set := w.get(t, id)
				set.Enabled = false
				_, err := w.Update(t.Context(), id, uuid.NullUUID{}, set, "me")
				must(t, err)
			}
			w.settle(t, id)
			w.want(t, id, "disabled", dayOf)
			if run := w.runs(t, id)[0]; run.GetReason() != action || run.GetWorkloads() != 3 {
				t.Fatalf("run %v", run)
			}
			w.pass(t, 24*time.Hour)
			w.settle(t, id)
			w.want(t, id, "disabled", dayOf)
		})
	}
}

func TestWhoScalesByHandWinsAndTheRunSaysSo(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	w.settle(t, id)
	w.workloads["Deployment/web/back"].replicas = 1
	w.pass(t, time.Hour)
	w.settle(t, id)
	if w.running() != "coredns=2 back=1 front=0 lone=1 db=0" {
		t.Fatalf("running %s", w.running())
	}
	delete(w.workloads, "StatefulSet/web/db")
	w.pass(t, 11*time.Hour)
	w.settle(t, id)
	w.want(t, id, "awake", "coredns=2 back=1 front=3 lone=1")
	run := w.runs(t, id)[0]
	problems := strings.Join(run.GetProblems(), "; ")
	if run.GetStatus() != "completed" || run.GetWorkloads() != 1 || !strings.Contains(problems, "web/back: somebody scaled it to 1") ||
		!strings.Contains(problems, "web/db: there is no such StatefulSet") {
		t.Fatalf("run %v", run)
	}
}

func TestWhatFailsIsTriedAgainAndToldOf(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.fails["front"] = []string{"failed", "timeout", "failed"}
	w.pass(t, toEvening)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	w.fails["front"] = []string{"failed", "failed", "failed", "failed", "failed"}
	w.pass(t, 12*time.Hour)
	w.settle(t, id)
	w.want(t, id, "awake", "coredns=2 back=2 front=0 lone=1 db=1")
	if run := w.runs(t, id)[0]; run.GetStatus() != "failed" || run.GetProblems()[0] != "web/front: it broke" {
		t.Fatalf("run %v", run)
	}
	w.pass(t, wakeAgain)
	w.settle(t, id)
	w.want(t, id, "awake", dayOf)
}

func TestManyReplicasGiveEachWorkloadOneTask(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	for range 3 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { w.look(t.Context(), id) })
		}
		all.Wait()
	}
	var tasks, runs int
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM schedule_runs)").Scan(&tasks, &runs))
	if tasks != 3 || runs != 1 {
		t.Fatalf("%d tasks of %d runs", tasks, runs)
	}
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
}

func TestAttendTakesThoseWhoseTimeHasCome(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	must(t, w.attend(t.Context()))
	w.want(t, id, "falling_asleep", dayOf)
	asked := w.asked
	must(t, w.attend(t.Context())) // its time has not come
	if w.asked != asked {
		t.Fatal("it was looked at again at once")
	}
}

func TestANamespaceThatAPolicyKeepsDoesNotSleep(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.mode(t, "web", "read_only")
	w.pass(t, toEvening)
	w.settle(t, id)
	w.want(t, id, "asleep", dayOf)
}

func TestASchedulesOwnersAndVersions(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	stranger := uuid.NullUUID{UUID: uuid.New(), Valid: true}
	set := w.get(t, id)
	for name, err := range map[string]error{
		"update": second(w.Update(t.Context(), id, stranger, set, "x")), "delete": w.Delete(t.Context(), id, stranger, "x"),
		"wake": second(w.Wake(t.Context(), id, stranger, &adminv1.WakeScheduleRequest{}, "x")),
		"runs": func() error { _, _, err := w.Runs(t.Context(), id, stranger, store.Page{Limit: 1}); return err }(),
	} {
		if fault.ReasonOf(err) != faultv1.Reason_REASON_NOT_FOUND {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
	_, err := w.Create(t.Context(), w.cluster, set, "me")
	if fault.ReasonOf(err) != faultv1.Reason_REASON_CONFLICT {
		t.Errorf("a second of the same name: %v", err)
	}
	set.LeadMinutes = 5
	now, err := w.Update(t.Context(), id, uuid.NullUUID{}, set, "me")
	must(t, err)
	if now.GetEtag() == set.GetEtag() || now.GetLeadMinutes() != 5 {
		t.Fatalf("updated to %v", now)
	}
	if _, err := w.Update(t.Context(), id, uuid.NullUUID{}, set, "me"); fault.ReasonOf(err) != faultv1.Reason_REASON_CONFLICT {
		t.Errorf("an old version: %v", err)
	}
	now.Calendar = office("Europe/Atlantis")
	if _, err := w.Update(t.Context(), id, uuid.NullUUID{}, now, "me"); fault.From(err).Details["field"] != "schedule.calendar.time_zone" {
		t.Errorf("no such zone: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAPreviewChangesNothing(t *testing.T) {
	w := newWorld(t)
	set := &adminv1.Schedule{ClusterId: w.cluster.String(), Name: "x", Calendar: office("UTC")}
	got, err := w.Preview(t.Context(), w.cluster, set)
	must(t, err)
	verdicts := map[string]string{}
	for _, v := range got.GetWorkloads() {
		verdicts[v.GetName()] = v.GetVerdict() + " " + v.GetReason()
	}
	for name, want := range map[string]string{
		"front": "sleep calendar", "db": "sleep calendar", "lone": "keep not_scalable", "coredns": "keep protected_namespace",
	} {
		if verdicts[name] != want {
			t.Errorf("%s: %s, want %s", name, verdicts[name], want)
		}
	}
	if got.GetHoursAsleepPerWeek() != 108 || got.GetCpuCores() != 3 || got.GetMemoryGb() != 6 || len(got.GetNext()) != 10 {
		t.Fatalf("preview %v", got)
	}
	if left, _, err := w.List(t.Context(), uuid.NullUUID{}, uuid.NullUUID{}, store.Page{Limit: 9}); err != nil || len(left) != 0 {
		t.Fatalf("listed %v, %v", left, err)
	}
}

func TestADisconnectionEndsSchedulesAndLeavesAsleepWhatSleeps(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, nil)
	w.pass(t, toEvening)
	w.settle(t, id)
	w.want(t, id, "asleep", nightOf)
	w.pass(t, toMorning) // a wake is under way
	_, err := w.follow(t.Context(), id)
	must(t, err)
	w.want(t, id, "waking", nightOf)

	left, err := w.Store.DisconnectCluster(t.Context(), w.cluster, uuid.NullUUID{}, "sold")
	must(t, err)
	if left.Schedules != 1 || left.Asleep != 3 {
		t.Errorf("ended %d schedules, %d workloads are asleep", left.Schedules, left.Asleep)
	}
	w.want(t, id, "held", nightOf)
	one := w.get(t, id)
	if one.GetEnabled() || one.GetWorkloadsAsleep() != 3 || !strings.Contains(one.GetHeldBecause(), "cloudoptim.io/replicas-before-sleep") {
		t.Errorf("left as %v", one)
	}
	runs := w.runs(t, id)
	if run := runs[0]; run.GetAction() != "wake" || run.GetStatus() != "failed" || run.GetFinishedAt() == nil || len(run.GetProblems()) != 1 {
		t.Errorf("the wake that was under way: %v", run)
	}
	_, err = w.db.Pool.Exec(t.Context(), "UPDATE schedules SET look_at = now() - interval '1 hour'")
	must(t, err)
	claimed, err := w.Store.ClaimSchedules(t.Context(), lease, attendMany)
	must(t, err)
	if len(claimed) != 0 {
		t.Errorf("somebody goes on looking after %v", claimed)
	}
	if _, err = w.follow(t.Context(), id); fault.ReasonOf(err) != faultv1.Reason_REASON_CONFLICT { // one that was claimed just before
		t.Errorf("followed up with %v", err)
	}
	for what, err := range map[string]error{
		"created": failure(w.Create(t.Context(), w.cluster, &adminv1.Schedule{Name: "x", Calendar: office("UTC")}, "me")),
		"updated": failure(w.Update(t.Context(), id, uuid.NullUUID{}, &adminv1.Schedule{
			ClusterId: w.cluster.String(), Name: "x", Etag: one.GetEtag(), Calendar: office("UTC"), Enabled: true,
		}, "me")),
		"woken": failure(w.Wake(t.Context(), id, uuid.NullUUID{}, &adminv1.WakeScheduleRequest{Until: timestamppb.New(w.clock().Add(time.Hour))}, "me")),
	} {
		if fault.ReasonOf(err) != faultv1.Reason_REASON_CONFLICT {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func failure[T any](_ T, err error) error { return err }
