package interruption

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud/ec2test"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

func TestF11WhatNoEventToldIsFoundByThePoll(t *testing.T) {
	w := newWorld(t)
	if every := DefaultPolicy().PollEvery; every <= 0 || every > 50*time.Second {
		t.Errorf("asked every %s, which is later than 60 s after it happened", every)
	}
	for _, id := range []string{"i-a", "i-b", "i-c", "i-d"} {
		w.node("n-"+id, id, "spot")
	}
	w.report(t)
	must(t, w.poll(t.Context()))
	equal(t, "interruptions while all is well", w.count(t, "SELECT count(*) FROM interruptions"), 0)

	retires := time.Now().Add(72 * time.Hour)
	w.ec2.Put(ec2test.Instance{ID: "i-a", State: "running", Spot: true, Mark: "marked-for-termination"})
	w.ec2.SetState("i-b", "shutting-down")
	w.ec2.Forget("i-c")
	w.ec2.Put(ec2test.Instance{ID: "i-d", State: "running", Spot: true, Event: "instance-retirement", EventAt: retires})
	for range 3 {
		must(t, w.poll(t.Context()))
		must(t, w.other.poll(t.Context()))
	}
	for id, state := range map[string]string{"i-a": "draining", "i-b": "draining", "i-c": "gone", "i-d": "at_risk"} {
		row := w.row(t, id)
		equal(t, id, row.State, state)
		equal(t, id+" source", fmt.Sprint(row.Sources), "[poll]")
	}
	equal(t, "events", len(w.events(t)), 4)
	within(t, "retirement", time.Until(w.row(t, "i-d").Deadline), 71*time.Hour, 73*time.Hour)
	_, left := w.drainOf(t, "i-a")
	within(t, "marked", left, time.Minute, notice.Lead)
	w.take(t, warning("i-a", "terminate")) // the event, late
	equal(t, "events then", len(w.events(t)), 4)
}

func TestOneReplicaMakesARoundAndAnotherTheNextWhenThatDies(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		must(t, w.patrolOnce(t.Context()))
		must(t, w.other.patrolOnce(t.Context()))
	}
	equal(t, "rounds", len(w.ec2.Calls("DescribeInstanceStatus")), 1)
	w.exec(t, "UPDATE turns SET next_at = now() - interval '1 second'")
	must(t, w.other.patrolOnce(t.Context()))
	equal(t, "rounds when the next is due", len(w.ec2.Calls("DescribeInstanceStatus")), 2)
}

func TestAnAccountThatIsThrottledDoesNotStopThePollOfOthers(t *testing.T) {
	w := newWorld(t)
	w.ec2.SetState("i-0000", "stopping")
	w.ec2.Refuse("DescribeSpotInstanceRequests", "UnauthorizedOperation")
	must(t, w.poll(t.Context()))
	equal(t, "what the statuses told", w.row(t, "i-0000").State, "draining")
}

// Both replicas at work at once, with their jobs and sweeps, as in production.
func TestTwoReplicasCarryManyInterruptionsThroughOnce(t *testing.T) {
	w := newWorld(t)
	const many = 20
	for k := range many {
		name := fmt.Sprintf("m%02d", k)
		w.node(name, "i-"+name, "spot")
		w.pod("pod-"+name, name)
	}
	w.report(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 4)
	for k, service := range []*Service{w.Service, w.other} {
		go func() { done <- w.queues[k].Run(ctx) }()
		go func() { done <- service.Run(ctx) }()
	}
	for k := range many {
		id := fmt.Sprintf("i-m%02d", k)
		for _, service := range []*Service{w.Service, w.other} {
			if _, err := service.Take(t.Context(), w.queue, []notice.Notice{rebalance(id), warning(id, "terminate")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stopAt := time.Now().Add(60 * time.Second)
	for w.count(t, "SELECT count(*) FROM interruptions WHERE replacement = 'launched'") < many && time.Now().Before(stopAt) {
		time.Sleep(50 * time.Millisecond)
	}
	for k := range many {
		w.drains(t, fmt.Sprintf("i-m%02d", k), "success", nil)
	}
	for {
		through := w.count(t, "SELECT count(*) FROM interruptions WHERE terminated_at IS NOT NULL AND replacement = 'launched'")
		if through == many {
			break
		}
		if time.Now().After(stopAt) {
			t.Fatalf("%d of %d are through", through, many)
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	for range 4 {
		must(t, <-done)
	}
	equal(t, "interruptions", w.count(t, "SELECT count(*) FROM interruptions"), many)
	equal(t, "instances launched", len(w.launched()), w.count(t, "SELECT count(*) FROM interruptions WHERE replacement = 'launched'"))
	equal(t, "drains", w.count(t, "SELECT count(*) FROM tasks WHERE task_type = 'drain_node'"), many)
}
