package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

var threeSteps = []string{"state", "decide", "launch"}

func triggered(cluster uuid.UUID) NewOptimization {
	return NewOptimization{
		Cluster: cluster, Request: &adminv1.TriggerOptimizationRequest{OptimizationType: "spot_optimize"}, Actor: "operator:1", Mode: "automatic",
		Steps: threeSteps,
	}
}

// optimization starts one and returns its story.
func (h *house) optimization(t *testing.T, cluster uuid.UUID) *Story {
	t.Helper()
	made, err := h.AddOptimization(t.Context(), triggered(cluster))
	must(t, err)
	return h.story(t, uuid.MustParse(made.GetOptimizationId()))
}

func (h *house) story(t *testing.T, id uuid.UUID) *Story {
	t.Helper()
	story, err := h.Story(t.Context(), id)
	must(t, err)
	return story
}

func TestOneOptimizationRunsInAClusterAtATime(t *testing.T) {
	h := newHouse(t)
	first := h.optimization(t, h.cluster)
	_, err := h.AddOptimization(t.Context(), triggered(h.cluster))
	wantReason(t, err, faultv1.Reason_REASON_OPTIMIZATION_RUNNING)
	_, other := h.tenant(t, "rival")
	h.optimization(t, other) // another cluster is free
	ended, err := h.FinishOptimization(t.Context(), first.ID, "completed", "", 12.5, 3)
	must(t, err)
	equal(t, "ended", ended, true)
	ended, err = h.FinishOptimization(t.Context(), first.ID, "failed", "too late", 0, 0)
	must(t, err)
	equal(t, "ended again", ended, false)
	h.optimization(t, h.cluster)
	told, err := h.Optimization(t.Context(), first.ID, anyone)
	must(t, err)
	equal(t, "status", told.GetStatus(), "completed")
	equal(t, "saved", told.GetActualSavings(), 12.5)
	for _, step := range told.GetSteps() {
		equal(t, step.GetName(), step.GetStatus(), "skipped")
	}
}

func TestTwoTriggersAtOnceStartOneOptimization(t *testing.T) {
	h := newHouse(t)
	started := make(chan error, 8)
	for range 8 {
		go func() {
			started <- h.InTx(t.Context(), func(tx *Store) error {
				_, err := tx.AddOptimization(t.Context(), triggered(h.cluster))
				return err
			})
		}()
	}
	won := 0
	for range 8 {
		if err := <-started; err == nil {
			won++
		} else {
			wantReason(t, err, faultv1.Reason_REASON_OPTIMIZATION_RUNNING)
		}
	}
	equal(t, "started", won, 1)
	equal(t, "steps", h.count(t, "SELECT count(*) FROM optimization_steps"), 3)
}

func TestOnlyTheJobOfThisGenerationAtThisStepMovesAStoryOn(t *testing.T) {
	h := newHouse(t)
	story := h.optimization(t, h.cluster)
	must(t, h.BeginStep(t.Context(), story))
	must(t, h.NoteStep(t.Context(), story, map[string]any{"tries": 1}, "waiting"))
	moved, err := h.EndStep(t.Context(), story, "completed", map[string]any{"nodes": 3}, "", 2)
	must(t, err)
	equal(t, "moved", moved, true)
	moved, err = h.EndStep(t.Context(), story, "failed", nil, "a late word", 3)
	must(t, err)
	equal(t, "moved by a job that stands at the step before", moved, false)

	now := h.story(t, story.ID)
	equal(t, "step", now.Step, 2)
	equal(t, "first step", now.Steps[0].Status+now.Steps[0].Error, "completed")
	if diff := cmp.Diff(map[string]any{"tries": 1.0, "nodes": 3.0}, now.Steps[0].Detail); diff != "" {
		t.Fatal(diff)
	}
	now.Generation++
	moved, err = h.EndStep(t.Context(), now, "completed", nil, "", 3)
	must(t, err)
	equal(t, "moved by a job of another generation", moved, false)
	mine, err := h.WakeStory(t.Context(), now, time.Minute)
	must(t, err)
	equal(t, "woken by a job of another generation", mine, false)
}

func TestAStoryThatNobodyLooksAtIsTakenOverOnce(t *testing.T) {
	h := newHouse(t)
	story := h.optimization(t, h.cluster)
	_, err := h.WakeStory(t.Context(), story, time.Minute)
	must(t, err)
	orphans, err := h.Orphans(t.Context(), 0)
	must(t, err)
	equal(t, "orphans while it is looked after", len(orphans), 0)
	h.exec(t, "UPDATE optimization_history SET wake_at = now() - interval '10 seconds'")
	orphans, err = h.Orphans(t.Context(), 2*time.Second)
	must(t, err)
	if diff := cmp.Diff([]Orphan{{story.ID, 2}}, orphans); diff != "" {
		t.Fatal(diff)
	}
	orphans, err = h.Orphans(t.Context(), 2*time.Second)
	must(t, err)
	equal(t, "orphans for the next replica", len(orphans), 0)
	moved, err := h.EndStep(t.Context(), story, "completed", nil, "", 2)
	must(t, err)
	equal(t, "moved by the job that was given up", moved, false)
	_, err = h.FinishOptimization(t.Context(), story.ID, "failed", "x", 0, 0)
	must(t, err)
	h.exec(t, "UPDATE optimization_history SET wake_at = now() - interval '10 seconds'")
	orphans, err = h.Orphans(t.Context(), 0)
	must(t, err)
	equal(t, "orphans among those that ended", len(orphans), 0)
}

func TestWhatAStoryWritesDownIsReadBackAndRepeatingChangesNothing(t *testing.T) {
	h := newHouse(t)
	story := h.optimization(t, h.cluster)
	request := &mlv1.DecisionRequest{RequestId: story.ID.String(), CurrentState: &fleetv1.ClusterState{
		ClusterId: h.cluster.String(), Nodes: []*fleetv1.NodeMetric{node("a", "i-1")},
	}}
	must(t, h.SetRequest(t.Context(), story.ID, request, 1.5))
	must(t, h.SetDecision(t.Context(), story.ID, &mlv1.DecisionResponse{
		EstimatedSavings: 99, Recommendations: []*mlv1.Recommendation{{InstanceType: "c5.large", NodeCount: 2}},
		ExecutionPlan: []*mlv1.ExecutionStep{{Step: 1, Action: "drain_node"}},
	}))
	launches := []Launch{{Index: 0, ClientToken: "token", InstanceType: "c5.large", Zone: "us-east-1a", NodeType: "spot", Count: 2, HourlyPrice: 0.03, OnDemandPrice: 0.085}}
	replaced := []Replaced{{Position: 0, Node: "b", InstanceID: "i-b", HourlyPrice: 0.1}, {Position: 1, Node: "a", InstanceID: "i-1", HourlyPrice: 0.2}}
	for range 2 {
		must(t, h.AddLaunches(t.Context(), story.ID, launches))
		must(t, h.AddReplaced(t.Context(), story.ID, replaced))
	}
	launches[0].Status, launches[0].InstanceIDs = "launched", []string{"i-7", "i-8"}
	must(t, h.SetLaunch(t.Context(), story.ID, launches[0]))
	must(t, h.SetReplaced(t.Context(), story.ID, "kept", "pdb", "a"))
	must(t, h.AddLaunches(t.Context(), story.ID, []Launch{{Index: 0, ClientToken: "token", InstanceType: "other", NodeType: "spot", Count: 9}}))
	gotLaunches, err := h.Launches(t.Context(), story.ID)
	must(t, err)
	if diff := cmp.Diff(launches, gotLaunches); diff != "" {
		t.Fatal(diff)
	}
	replaced[0].Status, replaced[1].Status, replaced[1].Error = "pending", "kept", "pdb"
	gotReplaced, err := h.ReplacedNodes(t.Context(), story.ID)
	must(t, err)
	if diff := cmp.Diff(replaced, gotReplaced); diff != "" {
		t.Fatal(diff)
	}
	h.inventory(t, node("new", "i-7"))
	launched, err := h.LaunchedNodes(t.Context(), story.ID)
	must(t, err)
	if diff := cmp.Diff([]LaunchedNode{{Name: "new", InstanceID: "i-7", Ready: true}}, launched); diff != "" {
		t.Fatal(diff)
	}
	read := h.story(t, story.ID)
	equal(t, "cost before", read.CostBefore, 1.5)
	equal(t, "node of the request", read.Request.GetCurrentState().GetNodes()[0].GetInstanceId(), "i-1")
	told, err := h.Optimization(t.Context(), story.ID, some(h.customer))
	must(t, err)
	equal(t, "recommended", told.GetRecommendations()[0].GetNodeCount(), 2)
	equal(t, "planned", told.GetExecutionPlan()[0].GetAction(), "drain_node")
	equal(t, "launched", told.GetLaunched()[0].GetNodeName()+told.GetLaunched()[1].GetNodeName(), "new")
}

func TestALockIsHeldByOneAndNeverTakesTheLastConnections(t *testing.T) {
	h := newHouse(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := h.Locked(t.Context(), "story", func() error { close(entered); <-leave; return nil })
		first <- err
	}()
	<-entered
	got, err := h.Locked(t.Context(), "story", func() error { t.Error("two hold one lock"); return nil })
	must(t, err)
	equal(t, "got", got, false)
	close(leave)
	must(t, <-first)
	broken := errors.New("broken")
	got, err = h.Locked(t.Context(), "story", func() error { return broken })
	equal(t, "got after", got, true)
	equal(t, "error", errors.Is(err, broken), true)

	// More holders than connections, each of which needs another one to go on.
	done := make(chan error, 20)
	for range 20 {
		go func() {
			_, err := h.Locked(t.Context(), uuid.NewString(), func() error { time.Sleep(20 * time.Millisecond); return h.Ping(t.Context()) })
			done <- err
		}()
	}
	timeout := time.After(10 * time.Second)
	for range 20 {
		select {
		case err := <-done:
			must(t, err)
		case <-timeout:
			t.Fatal("the holders of locks wait for each other's connections")
		}
	}
}

func TestWhatListsReadOfOptimizationsIsAllButWhatMLWasAsked(t *testing.T) {
	h := newHouse(t)
	rows, err := h.db.Pool.Query(t.Context(), `SELECT column_name::text FROM information_schema.columns h WHERE table_name = 'optimization_history'
		AND NOT EXISTS (SELECT FROM information_schema.columns o WHERE o.table_name = 'optimizations' AND o.column_name = h.column_name)`)
	must(t, err)
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	if len(missing) != 1 || missing[0] != "request_data" {
		t.Errorf("the view optimizations leaves out %v; after adding a column, make the view anew", missing)
	}
}
