package interruption

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ends are all that is said of a spot instance that is taken back, in the order it happens.
func ends(instance string) []notice.Notice {
	return []notice.Notice{
		rebalance(instance), warning(instance, "terminate"),
		stateChange(instance, "shutting-down", began.Add(2*time.Minute)), stateChange(instance, "terminated", began.Add(3*time.Minute)),
	}
}

// final is what an interruption knows in the end; how it came there is left out.
func final(i *store.Interruption) string {
	return fmt.Sprint(i.State, i.Urgency, i.Action, i.Causes, i.Sources, i.Deadline.UTC(), i.GoneAt.UTC(), i.Replacement, i.ClosedAt.IsZero(), i.Nth)
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var out [][]int
	for _, shorter := range permutations(n - 1) {
		for at := 0; at <= len(shorter); at++ {
			one := append(append(append([]int{}, shorter[:at]...), n-1), shorter[at:]...)
			out = append(out, one)
		}
	}
	return out
}

func TestF2EveryOrderOfWhatIsSaidEndsInTheSameState(t *testing.T) {
	w := newWorld(t)
	orders := permutations(4)
	equal(t, "orders", len(orders), 24)
	for k := range orders {
		name, id := fmt.Sprintf("f%02d", k), fmt.Sprintf("i-f%02d", k)
		w.node(name, id, "spot")
		w.pod("pod-"+name, name)
	}
	w.report(t)
	want := ""
	for k, order := range orders {
		id := fmt.Sprintf("i-f%02d", k)
		all := ends(id)
		var said []notice.Notice
		for _, at := range order {
			said = append(said, all[at])
			if rand.N(2) == 0 { // said again, now or with what comes later
				said = append(said, all[order[rand.N(len(said))%len(order)]])
			}
		}
		for len(said) > 0 { // in one batch, or several, at either replica
			n := 1 + rand.N(len(said))
			service := []*Service{w.Service, w.other}[rand.N(2)]
			_, err := service.Take(t.Context(), w.queue, said[:n])
			must(t, err)
			said = said[n:]
		}
		w.take(t, all...) // and once more
		row := w.replaces(t, id)
		got := final(row)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("order %v ends in %s, others in %s", order, got, want)
		}
		equal(t, id+": interruptions", w.count(t, "SELECT count(*) FROM interruptions WHERE instance_id = $1", id), 1)
		equal(t, id+": events", w.count(t, "SELECT count(*) FROM spot_events WHERE instance_id = $1 AND state = 'gone'", id), 4)
		if n := w.count(t, "SELECT count(*) FROM tasks WHERE parameters->>'instance_id' = $1", id); n > 1 {
			t.Errorf("%s has %d drains", id, n)
		}
	}
	if !strings.HasPrefix(want, "gone5terminate") {
		t.Errorf("all end in %s", want)
	}
	equal(t, "launched", len(w.launched()), len(orders))
}

// Any notices in any two orders are known the same, without a database: the rule
// behind the test above, for all kinds of notices.
func TestF2WhatAnInterruptionKnowsDoesNotDependOnTheOrder(t *testing.T) {
	s := &Service{}
	kinds := []notice.Notice{
		rebalance("i"), warning("i", "terminate"), warning("i", "stop"), warning("i", "hibernate"),
		stateChange("i", "shutting-down", began), stateChange("i", "stopping", began.Add(time.Minute)),
		stateChange("i", "stopped", began.Add(2*time.Minute)), stateChange("i", "terminated", began.Add(3*time.Minute)),
		{Type: notice.ScheduledChange, SaidAt: began, Deadline: began.Add(24 * time.Hour), Source: notice.FromPoll},
		{Type: notice.CapacityReservation, SaidAt: began, Deadline: began.Add(time.Hour), Action: "terminate", Source: notice.FromSQS},
		{Type: notice.LifecycleAction, SaidAt: began, Source: notice.FromSQS, Hook: &notice.Hook{Group: "g", Name: "h", Token: "t"}},
		{Type: notice.InterruptionWarning, SaidAt: began, Deadline: began.Add(notice.Lead), Action: "terminate", Source: notice.FromIMDS},
	}
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.SampledFrom(kinds), 1, 12).Draw(t, "said")
		order := rapid.Permutation(some).Draw(t, "in another order")
		a, b := &store.Interruption{ID: uuid.Nil, State: "at_risk"}, &store.Interruption{ID: uuid.Nil, State: "at_risk"}
		for k := range some {
			add(a, s.press(some[k]), some[k])
			add(b, s.press(order[k]), order[k])
		}
		if final(a)+a.HookToken != final(b)+b.HookToken {
			t.Fatalf("%s\n%s", final(a), final(b))
		}
	})
}
