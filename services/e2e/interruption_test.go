//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// notice is how long AWS lets a spot instance live after its warning.
const notice = 2 * time.Minute

// TestSpotInterruption is the guide's example 2: AWS warns in SQS, and everything
// that ran on the node runs elsewhere before AWS takes it.
func TestSpotInterruption(t *testing.T) {
	traces := collectTraces(t)
	s := newStage(t, append(cluster("12", "90", "5"), "--spot", "0.7")...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	budgets, err := s.WatchBudgets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	news := listen(ctx, t, s)
	victim := busiestSpotNode(t, s)
	moved := podsToMove(t, s, victim.Name)
	before := instances(t, s)

	warned := time.Now()
	warn(t, s, victim.InstanceID)
	event := awaitEvent(ctx, t, s, victim.InstanceID, "gone")

	if took := time.Since(warned); took > notice {
		t.Errorf("the node was gone %s after the warning, AWS takes it after %s", took, notice)
	}
	t.Logf("%d pods moved, node gone %s after the warning: %s", len(moved), time.Since(warned).Round(100*time.Millisecond), event.ActionTaken)
	requireDocumented(t, s, event, victim, warned)
	requireReplacement(t, s, event, before)
	requireNodeGone(t, s, victim)
	requireEveryPodRuns(t, s)
	requireBudgetsKept(t, budgets)
	requireTold(t, news, event)
	requireOneTrace(ctx, t, traces)
	requireQuietQueue(t, s)
}

// TestTheSameWarningTwiceIsOneInterruption sends what SQS may deliver twice, and
// EventBridge may send twice under other ids.
func TestTheSameWarningTwiceIsOneInterruption(t *testing.T) {
	s := newStage(t, append(cluster("8", "50", "6"), "--spot", "0.6")...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	victim := busiestSpotNode(t, s)
	before := instances(t, s)
	for range 5 {
		warn(t, s, victim.InstanceID)
	}
	first := awaitEvent(ctx, t, s, victim.InstanceID, "draining", "drained", "gone")
	t.Logf("killing central in state %s", first.State)
	s.Central.Kill()
	if err := s.StartCentral(ctx); err != nil {
		t.Fatal(err)
	}
	warn(t, s, victim.InstanceID) // and once more after the crash
	event := awaitSettled(ctx, t, s, victim.InstanceID)
	if event.ReplacementInstanceID != "" {
		requireReplacement(t, s, event, before)
	}
	requireEveryPodRuns(t, s)
	launched := 0
	for id := range instances(t, s) {
		if _, old := before[id]; !old {
			launched++
		}
	}
	if launched > 1 {
		t.Errorf("%d instances were launched for one", launched)
	}
	requireQuietQueue(t, s)
}

// busiestSpotNode is the spot node with the most pods that must move.
func busiestSpotNode(t *testing.T, s *stage.Stage) stage.Node {
	t.Helper()
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var best stage.Node
	most := 0
	for _, node := range state.Nodes {
		if n := len(podsToMove(t, s, node.Name)); node.NodeType == "spot" && n > most {
			best, most = node, n
		}
	}
	if most == 0 {
		t.Fatal("no spot node has pods")
	}
	return best
}

func podsToMove(t *testing.T, s *stage.Stage, node string) []corev1.Pod {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		t.Fatal(err)
	}
	var move []corev1.Pod
	for i := range list.Items {
		owner := metav1.GetControllerOf(&list.Items[i])
		if owner == nil || owner.Kind != "DaemonSet" {
			move = append(move, list.Items[i])
		}
	}
	return move
}

// warn says what EventBridge says when AWS takes a spot instance back.
func warn(t *testing.T, s *stage.Stage, instance string) {
	t.Helper()
	if err := s.Warn(t.Context(), instance); err != nil {
		t.Fatal(err)
	}
}

// awaitEvent waits until the warning of an instance is in one of the states.
func awaitEvent(ctx context.Context, t *testing.T, s *stage.Stage, instance string, states ...string) stage.SpotEvent {
	t.Helper()
	last := "no event"
	for {
		events, err := s.SpotEvents(ctx)
		for _, e := range events {
			if e.InstanceID != instance || e.EventType != "interruption_warning" {
				continue
			}
			last = fmt.Sprintf("%+v", e)
			for _, state := range states {
				if e.State == state {
					return e
				}
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %v of %s: %v, last: %s", states, instance, err, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// awaitSettled waits until the node is gone and it is known what became of its
// replacement: who takes over after everything has moved and runs launches none.
func awaitSettled(ctx context.Context, t *testing.T, s *stage.Stage, instance string) stage.SpotEvent {
	t.Helper()
	var event stage.SpotEvent
	until(ctx, t, "the replacement is settled", func() bool {
		event = awaitEvent(ctx, t, s, instance, "gone")
		return !strings.Contains(event.ActionTaken, "replacement_pending")
	})
	t.Log(event.ActionTaken)
	return event
}

func requireDocumented(t *testing.T, s *stage.Stage, e stage.SpotEvent, victim stage.Node, warned time.Time) {
	t.Helper()
	if e.EventID == "" || e.ClusterID != s.ClusterID || e.NodeName != victim.Name || e.ActionTaken == "" || len(e.Metadata) == 0 {
		t.Errorf("the event lacks something: %+v", e)
	}
	if lag := e.ReceivedAt.Sub(warned); lag < -time.Second || lag > 20*time.Second {
		t.Errorf("received %s after the warning", lag)
	}
	if left := e.InterruptionTime.Sub(warned); left < notice-5*time.Second || left > notice+5*time.Second {
		t.Errorf("interrupted %s after the warning, want %s", left, notice)
	}
}

// requireReplacement: what the event names was launched for it, once, and is a node.
func requireReplacement(t *testing.T, s *stage.Stage, e stage.SpotEvent, before map[string]instance) {
	t.Helper()
	now := instances(t, s)
	replacement := now[e.ReplacementInstanceID]
	if _, old := before[e.ReplacementInstanceID]; old || replacement.State != "running" {
		t.Errorf("replacement %q is %+v", e.ReplacementInstanceID, replacement)
	}
	if state := now[e.InstanceID].State; state != "terminated" && state != "shutting-down" {
		t.Errorf("the interrupted instance is %s", state)
	}
	for id, one := range now {
		if _, old := before[id]; !old && id != e.ReplacementInstanceID && one.State == "running" {
			t.Errorf("%s was launched too", id)
		}
	}
}

func requireNodeGone(t *testing.T, s *stage.Stage, victim stage.Node) {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	if node, err := client.CoreV1().Nodes().Get(t.Context(), victim.Name, metav1.GetOptions{}); err == nil &&
		strings.HasSuffix(node.Spec.ProviderID, victim.InstanceID) {
		t.Errorf("node %s is still there", victim.Name)
	}
}

// requireTold: the dashboard heard of it, to the end.
func requireTold(t *testing.T, news <-chan map[string]any, e stage.SpotEvent) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	heard := 0
	for {
		select {
		case msg := <-news:
			if msg["type"] != "spot_event" {
				continue
			}
			heard++
			told, _ := msg["spot_event"].(map[string]any)
			if told["instance_id"] == e.InstanceID && told["state"] == "gone" {
				if told["replacement_instance_id"] != e.ReplacementInstanceID || told["action_taken"] != e.ActionTaken {
					t.Errorf("the dashboard was told %v, the event is %+v", told, e)
				}
				return
			}
		case <-timeout:
			t.Errorf("the dashboard was told %d times, and never of the end", heard)
			return
		}
	}
}

// requireQuietQueue: nothing is left in the queue, neither waiting nor in flight. What
// a central had in hand that was killed comes back after a minute.
func requireQuietQueue(t *testing.T, s *stage.Stage) {
	t.Helper()
	for end := time.Now().Add(80 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		waiting, flying, err := s.Queued(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waiting+flying == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%d messages wait in the queue and %d are in flight", waiting, flying)
			return
		}
	}
}
