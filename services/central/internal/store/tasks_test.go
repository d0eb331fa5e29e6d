package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func TestATaskThatIsWrittenTwiceIsOneTask(t *testing.T) {
	h := newHouse(t)
	id := h.task(t, 3)
	again := taskFor(h.cluster, id, 9)
	fresh, err := h.AddTask(t.Context(), again)
	must(t, err)
	equal(t, "new", fresh, false)
	leased := h.lease(t, h.session(t), 10)
	if len(leased) != 1 || leased[0].GetPriority() != 3 {
		t.Fatalf("got %v, want the first task alone", leased)
	}
	equal(t, "parameter", leased[0].GetParameters().GetFields()["node_name"].GetStringValue(), "n1")
}

func TestTasksAreHandedOutMostUrgentFirst(t *testing.T) {
	h := newHouse(t)
	var want []string
	for _, priority := range []int32{9, 1, 5, 10, 2, 2, 7} {
		h.task(t, priority)
	}
	epoch := h.session(t)
	var got []int32
	for _, task := range h.lease(t, epoch, 4) {
		got = append(got, task.GetPriority())
		want = append(want, task.GetTaskId())
	}
	if diff := cmp.Diff([]int32{1, 2, 2, 5}, got); diff != "" {
		t.Fatal(diff)
	}
	for _, task := range h.lease(t, epoch, 4) {
		got = append(got, task.GetPriority())
		want = append(want, task.GetTaskId())
	}
	if diff := cmp.Diff([]int32{1, 2, 2, 5, 7, 9, 10}, got); diff != "" {
		t.Fatal(diff)
	}
	polled, err := h.PollTasks(t.Context(), h.cluster, time.Minute)
	must(t, err)
	var order []string
	for _, task := range polled {
		order = append(order, task.GetTaskId())
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Fatalf("polling: %s", diff)
	}
}

func TestALeaseThatRunsOutMakesTheNextAttempt(t *testing.T) {
	h := newHouse(t)
	id, epoch := h.task(t, 1), h.session(t)
	first := h.lease(t, epoch, 1)
	equal(t, "attempt", first[0].GetAttempt(), 1)
	if again := h.lease(t, epoch, 1); len(again) != 0 {
		t.Fatalf("a leased task was handed out again: %v", again)
	}
	h.exec(t, "UPDATE tasks SET lease_until = now() - interval '1 second'")
	waiting, err := h.ReleaseTasks(t.Context())
	must(t, err)
	if diff := cmp.Diff([]uuid.UUID{h.cluster}, waiting); diff != "" {
		t.Fatal(diff)
	}
	second := h.lease(t, epoch, 1)
	equal(t, "attempt", second[0].GetAttempt(), 2)

	mine, err := h.AcceptTask(t.Context(), h.cluster, id, 1, time.Minute)
	must(t, err)
	equal(t, "accepting the attempt that ran out", mine, false)
	mine, err = h.AcceptTask(t.Context(), h.cluster, id, 2, time.Minute)
	must(t, err)
	equal(t, "accepting the attempt in force", mine, true)
	equal(t, "status", h.status(t, id), "running")
}

func TestAnOlderSessionIsHandedNoTasks(t *testing.T) {
	h := newHouse(t)
	h.task(t, 1)
	old, newest := h.session(t), h.session(t)
	_, err := h.LeaseTasks(t.Context(), h.cluster, old, time.Second, 1)
	wantReason(t, err, faultv1.Reason_REASON_SUPERSEDED)
	equal(t, "tasks of the newest", len(h.lease(t, newest, 1)), 1)
}

func TestTheFirstResultWinsAndALaterOneIsEvidence(t *testing.T) {
	h := newHouse(t)
	id := h.task(t, 1)
	h.lease(t, h.session(t), 1)
	good := &fleetv1.TaskResult{TaskId: id.String(), Status: "success", Attempt: 1, Logs: "done"}
	ended, err := h.FinishTask(t.Context(), h.cluster, id, good)
	must(t, err)
	equal(t, "status", ended.GetStatus(), "success")

	for range 3 { // said again: nothing
		ended, err = h.FinishTask(t.Context(), h.cluster, id, good)
		must(t, err)
		if ended != nil {
			t.Fatal("a repeated result ended the task again")
		}
	}
	equal(t, "evidence of repeats", h.count(t, "SELECT count(*) FROM task_late_results"), 0)

	ended, err = h.FinishTask(t.Context(), h.cluster, id, &fleetv1.TaskResult{TaskId: id.String(), Status: "failed", Attempt: 2})
	must(t, err)
	if ended != nil {
		t.Fatal("a second result ended the task again")
	}
	equal(t, "status", h.status(t, id), "success")
	equal(t, "evidence", h.count(t, "SELECT count(*) FROM task_late_results WHERE attempt = 2 AND result->>'status' = 'failed'"), 1)
	outcomes, err := h.TaskOutcomes(t.Context(), []uuid.UUID{id, uuid.New()})
	must(t, err)
	equal(t, "outcomes", len(outcomes), 1)
	equal(t, "logs", outcomes[id].Result.GetLogs(), "done")
	equal(t, "done", outcomes[id].Done(), true)
}

func TestARepeatedResultOfAPollingAgentIsNoEvidence(t *testing.T) {
	h := newHouse(t)
	id := h.task(t, 1)
	_, err := h.PollTasks(t.Context(), h.cluster, time.Minute)
	must(t, err)
	result := &fleetv1.TaskResult{TaskId: id.String(), Status: "success"} // polling agents name no attempt
	for range 3 {
		_, err := h.FinishTask(t.Context(), h.cluster, id, result)
		must(t, err)
	}
	equal(t, "evidence", h.count(t, "SELECT count(*) FROM task_late_results"), 0)
}

func TestATaskOfAnotherClusterIsNotFound(t *testing.T) {
	h := newHouse(t)
	id := h.task(t, 1)
	_, other := h.tenant(t, "rival")
	_, err := h.FinishTask(t.Context(), other, id, &fleetv1.TaskResult{TaskId: id.String(), Status: "success"})
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	_, err = h.TaskStatus(t.Context(), other, id)
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	for what, got := range map[string]func() (bool, error){
		"accepted": func() (bool, error) { return h.AcceptTask(t.Context(), other, id, 0, time.Minute) },
		"resumed":  func() (bool, error) { return h.ResumeTask(t.Context(), other, id, 1, 1, time.Minute) },
		"renewed": func() (bool, error) {
			_, open, err := h.ProgressTask(t.Context(), other, id, &fleetv1.TaskProgress{TaskId: id.String()}, time.Minute)
			return open, err
		},
	} {
		mine, err := got()
		must(t, err)
		equal(t, what, mine, false)
	}
	polled, err := h.PollTasks(t.Context(), other, time.Minute)
	must(t, err)
	equal(t, "polled", len(polled), 0)
	equal(t, "status", h.status(t, id), "pending")
}

func TestCancellingEndsWaitingTasksAndAsksForTheEndOfOthers(t *testing.T) {
	h := newHouse(t)
	running, epoch := h.task(t, 1), h.session(t)
	h.lease(t, epoch, 1)
	waiting := h.task(t, 1)
	must(t, h.CancelTasks(t.Context(), []uuid.UUID{running, waiting}, "no longer needed"))
	equal(t, "waiting", h.status(t, waiting), "cancelled")
	equal(t, "running", h.status(t, running), "leased")
	asked, err := h.CancelledTasks(t.Context(), h.cluster)
	must(t, err)
	if diff := cmp.Diff([]CancelledTask{{ID: running, Attempt: 1, Reason: "no longer needed"}}, asked); diff != "" {
		t.Fatal(diff)
	}
	reason, open, err := h.ProgressTask(t.Context(), h.cluster, running, &fleetv1.TaskProgress{TaskId: running.String(), Fraction: 0.5}, time.Minute)
	must(t, err)
	equal(t, "open", open, true)
	equal(t, "reason", reason, "no longer needed")
	kept, err := h.ResumeTask(t.Context(), h.cluster, running, epoch, 1, time.Minute)
	must(t, err)
	equal(t, "resumed", kept, false)
	must(t, h.CancelTasks(t.Context(), []uuid.UUID{running}, "another reason"))
	asked, err = h.CancelledTasks(t.Context(), h.cluster)
	must(t, err)
	equal(t, "the first reason stays", asked[0].Reason, "no longer needed")
}

func TestATaskEndsAfterItsDeadlineAndGraceUnlessItsResultComesInTime(t *testing.T) {
	h := newHouse(t)
	late, inTime, cancelled := h.task(t, 1), h.task(t, 1), h.task(t, 1)
	h.lease(t, h.session(t), 10)
	must(t, h.CancelTasks(t.Context(), []uuid.UUID{cancelled}, "stop"))
	h.exec(t, "UPDATE tasks SET deadline = now() - interval '10 seconds'")
	expired, err := h.ExpireTasks(t.Context(), 15*time.Second)
	must(t, err)
	equal(t, "within the grace", len(expired), 0)
	_, err = h.FinishTask(t.Context(), h.cluster, inTime, &fleetv1.TaskResult{TaskId: inTime.String(), Status: "success"})
	must(t, err)
	expired, err = h.ExpireTasks(t.Context(), 5*time.Second)
	must(t, err)
	equal(t, "expired", len(expired), 2)
	got := fmt.Sprint(h.status(t, late), h.status(t, inTime), h.status(t, cancelled))
	equal(t, "statuses", got, fmt.Sprint("timeout", "success", "cancelled"))

	_, err = h.FinishTask(t.Context(), h.cluster, late, &fleetv1.TaskResult{TaskId: late.String(), Status: "success", Attempt: 1})
	must(t, err)
	equal(t, "evidence", h.count(t, "SELECT count(*) FROM task_late_results"), 1)
	if tasks := h.lease(t, 1, 10); len(tasks) != 0 {
		t.Fatalf("ended tasks were handed out: %v", tasks)
	}
}

func TestTwoReplicasNeverLeaseTheSameTask(t *testing.T) {
	h := newHouse(t)
	const tasks = 60
	for range tasks {
		h.task(t, 5)
	}
	epoch := h.session(t)
	got := make(chan []*fleetv1.Task, 4)
	for range 4 {
		go func() {
			leased, err := h.LeaseTasks(t.Context(), h.cluster, epoch, time.Minute, tasks)
			if err != nil {
				t.Error(err)
			}
			got <- leased
		}()
	}
	seen := map[string]bool{}
	for range 4 {
		for _, task := range <-got {
			if seen[task.GetTaskId()] {
				t.Errorf("task %s was leased twice", task.GetTaskId())
			}
			seen[task.GetTaskId()] = true
		}
	}
	for _, task := range h.lease(t, epoch, tasks) { // skipped while they were locked
		seen[task.GetTaskId()] = true
	}
	equal(t, "leased", len(seen), tasks)
}
