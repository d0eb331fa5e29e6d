package tasks

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

var monthEnd = &agentv1.SafetyStop{Reason: "month-end closing"}

func TestAStopRefusesWhatDisrupts(t *testing.T) {
	taint := map[string]any{"node_name": "n1", "taints": []any{map[string]any{"key": "k", "effect": "NoSchedule"}}}
	scale := func(action string) map[string]any {
		return map[string]any{
			"namespace": "web", "kind": "Deployment", "name": "n1", "action": action, "schedule_id": "5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a02",
		}
	}
	for name, tc := range map[string]struct {
		kind, cause string
		params      map[string]any
		all         bool // interruptions too
		refused     bool
	}{
		"cordon":                            {"cordon_node", "", map[string]any{"node_name": "n1"}, false, true},
		"taint":                             {"taint_node", "optimization", taint, false, true},
		"drain":                             {"drain_node", "optimization", map[string]any{"node_name": "n1"}, false, true},
		"sleep":                             {"scale_workload", "schedule", scale("sleep"), false, true},
		"sleep that claims to undo nothing": {"scale_workload", "", scale("sleep"), false, true},
		"wake":                              {"scale_workload", "undo", scale("wake"), true, false},
		"wake of no cause":                  {"scale_workload", "schedule", scale("wake"), true, false},
		"undo":                              {"taint_node", "undo", taint, true, false},
		"interruption":                      {"cordon_node", "interruption", map[string]any{"node_name": "n1"}, false, false},
		"interruption, included":            {"cordon_node", "interruption", map[string]any{"node_name": "n1"}, true, true},
		"uncordon":                          {"uncordon_node", "", map[string]any{"node_name": "n1"}, true, false},
		"label":                             {"label_node", "", map[string]any{"node_name": "n1", "labels": map[string]any{"a": "b"}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, dir string) {
				b := start(t, dir)
				b.SetStop(&agentv1.SafetyStop{Reason: monthEnd.Reason, IncludeInterruptions: tc.all})
				task := offer(tc.kind, tc.params)
				task.Cause = tc.cause
				id := b.give(task)
				if !tc.refused {
					b.only(id, "success")
					return
				}
				if r := b.only(id, "cancelled"); r.GetError() != "a stop holds: month-end closing" {
					t.Fatalf("error %q", r.GetError())
				}
				if b.api.patches["n1"] != 0 || b.out.msgs[0].GetTaskAccepted() == nil {
					t.Fatalf("%d patches; first said %v", b.api.patches["n1"], b.out.msgs[0])
				}
				b.SetStop(nil)
				again := offer(tc.kind, tc.params)
				again.TaskId, again.Cause = "6a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a03", tc.cause
				b.give(again)
				if tc.kind != "drain_node" && tc.kind != "scale_workload" { // those need more of an API server
					b.only(again.TaskId, "success")
				}
			})
		})
	}
}

func TestAStopBreaksOffWhatRunsAndWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		runs, waits, passes := newStub("n1"), newStub("n1"), newStub("n2")
		running, waiting, passing := b.put(runs, 5, time.Hour), b.put(waits, 5, time.Hour), b.put(passes, 5, time.Hour)
		b.mu.Lock()
		for id, cause := range map[string]string{running: "", waiting: "optimization", passing: "undo"} {
			b.tasks[id].Task.TaskType, b.tasks[id].Task.Cause = "drain_node", cause
		}
		b.mu.Unlock()
		b.SetStop(monthEnd)
		b.SetStop(monthEnd) // with each heartbeat
		synctest.Wait()
		for _, id := range []string{running, waiting} {
			if r := b.only(id, "cancelled"); !strings.Contains(r.GetError(), "a stop holds: month-end closing") {
				t.Fatalf("error %q", r.GetError())
			}
		}
		if waits.running() || len(b.out.results(passing)) != 0 || !passes.running() {
			t.Fatal("what waited ran, or what passes was broken off")
		}
	})
}

func TestAStopThatWasKeptHoldsFromTheFirstTask(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		b.api.goAway()
		id := b.give(offer("cordon_node", map[string]any{"node_name": "n1"}))
		b.stop()
		b = startWith(t, dir, nil, monthEnd)
		synctest.Wait()
		if r := b.only(id, "cancelled"); !strings.Contains(r.GetError(), "a stop holds") || b.api.patches["n1"] != 0 {
			t.Fatalf("%v, %d patches", r, b.api.patches["n1"])
		}
	})
}
