//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// TestCentralKilledAtEveryStep kills central as a power cut would, and its
// database with it, each time the story has moved on to another step, and
// starts it again: the story ends well, nothing is launched twice, no task lost.
func TestCentralKilledAtEveryStep(t *testing.T) {
	s := newStage(t, cluster("10", "60", "2")...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	before, err := s.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	budgets, err := s.WatchBudgets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	started, err := s.Trigger(ctx, "spot_optimize", nil)
	if err != nil {
		t.Fatal(err)
	}
	kills := killAtEveryStep(ctx, t, s, started.ID)
	// verify ends the story: there is no step after it to be killed in.
	for _, step := range []string{"state", "decide", "launch", "ready", "label", "drain", "terminate", "verify"} {
		if !kills[step] {
			t.Errorf("central was not killed when the story had come to step %s", step)
		}
	}
	done, err := s.Follow(ctx, started.ID, time.Second, func(stage.Optimization) {})
	if err != nil {
		t.Fatal(err)
	}
	requireCompleted(t, done)
	requireInstances(t, s, before, done)
	requireNodesAreInstances(t, s)
	requireEveryPodRuns(t, s)
	requireBudgetsKept(t, budgets)
	requireOneLaunch(t, s, done)
}

// killAtEveryStep kills central when the story comes to a step that it has not
// been killed in, and returns the steps.
func killAtEveryStep(ctx context.Context, t *testing.T, s *stage.Stage, id string) map[string]bool {
	t.Helper()
	killed := map[string]bool{}
	for {
		if ctx.Err() != nil {
			t.Fatalf("the story did not end: %v", ctx.Err())
		}
		o, err := s.Optimization(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if o.Status == "completed" || o.Status == "failed" {
			return killed
		}
		step := at(o)
		if killed[step] {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		s.Central.Kill()
		killed[step] = true
		t.Logf("killed central at step %s", step)
		if err := s.StartCentral(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// at is the step the story has come to.
func at(o stage.Optimization) string {
	for _, step := range o.Steps {
		if step.Status == "running" || step.Status == "pending" {
			return step.Name
		}
	}
	return ""
}

// requireOneLaunch: AWS has launched just what the decision asked for, and every
// instance is a node that REST tells of.
func requireOneLaunch(t *testing.T, s *stage.Stage, o stage.Optimization) {
	t.Helper()
	said := map[string]bool{}
	for _, one := range o.Launched {
		if one.NodeName == "" {
			t.Errorf("instance %s never became a node", one.InstanceID)
		}
		said[one.InstanceID] = true
	}
	for _, one := range launchedBy(instances(t, s), o.ID) {
		if !said[one.ID] {
			t.Errorf("AWS has launched %s, of which central does not know", one.ID)
		}
	}
	var want int
	var detail struct {
		Recommendations []struct {
			NodeCount int `json:"node_count"`
		} `json:"recommendations"`
	}
	if err := s.Admin.Get(t.Context(), "/api/v1/admin/optimizations/"+o.ID, &detail); err != nil {
		t.Fatal(err)
	}
	for _, r := range detail.Recommendations {
		want += r.NodeCount
	}
	if len(said) != want {
		t.Errorf("%d instances were launched, the decision asked for %d", len(said), want)
	}
}
