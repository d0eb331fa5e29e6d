//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// heartbeat is how often an agent hears of stops at the latest.
const heartbeat = 5 * time.Second

// guarded is what the story looks at of an optimization.
type guarded struct {
	Status     string `json:"status"`
	Approval   string `json:"approval"`
	Etag       string `json:"etag"`
	WaitingFor *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"waiting_for"`
	Plan struct {
		NodesDrained int    `json:"nodes_drained"`
		BlastRadius  string `json:"blast_radius"`
	} `json:"plan"`
	Nodes []struct {
		Name   string `json:"node_name"`
		Status string `json:"status"`
	} `json:"nodes"`
	Launched []struct {
		InstanceID string `json:"instance_id"`
	} `json:"launched"`
}

// count of nodes with a status.
func (g guarded) count(status string) int {
	n := 0
	for _, node := range g.Nodes {
		if node.Status == status {
			n++
		}
	}
	return n
}

// TestAPlanIsApprovedStoppedAndGoesOn: in mode approve a plan waits for a person; a stop
// while nodes drain ends all evictions within a heartbeat; when it is lifted, the rest is done.
func TestAPlanIsApprovedStoppedAndGoesOn(t *testing.T) {
	s := newStage(t, cluster("30", "250", "7")...)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	if err := s.SetPolicy(ctx, map[string]any{"mode": "approve"}); err != nil {
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
	at := "/api/v1/admin/optimizations/" + started.ID
	plan := seen(ctx, t, s, at, "a plan", func(g guarded) bool { return g.Approval == "awaiting" })
	if plan.Status != "pending" || len(plan.Launched) != 0 || plan.Plan.NodesDrained < 3 {
		t.Fatalf("a plan that awaits approval: %+v", plan)
	}
	t.Log(plan.Plan.BlastRadius)
	if err := s.Admin.Post(ctx, at+"/approve", map[string]any{"etag": plan.Etag, "reason": "looks good"}, nil); err != nil {
		t.Fatal(err)
	}
	seen(ctx, t, s, at, "nodes that drain", func(g guarded) bool { return g.count("draining") > 0 })
	var stop struct {
		ID string `json:"stop_id"`
	}
	if err := s.Admin.Post(ctx, "/api/v1/admin/stops", map[string]any{"scope": "cluster", "cluster_id": s.ClusterID, "reason": "an incident"}, &stop); err != nil {
		t.Fatal(err)
	}
	time.Sleep(heartbeat)
	before := pods(ctx, t, s)
	time.Sleep(2 * heartbeat)
	after := pods(ctx, t, s)
	for uid, ending := range before {
		if _, there := after[uid]; !ending && (!there || after[uid]) {
			t.Errorf("pod %s was evicted while the stop held", uid)
		}
	}
	held := seen(ctx, t, s, at, "the wait for the stop", func(g guarded) bool { return g.WaitingFor != nil })
	if held.WaitingFor.Code != "stop" || held.count("draining") != 0 || held.Status != "executing" {
		t.Errorf("while the stop holds: %+v", held)
	}
	if err := s.Admin.Post(ctx, "/api/v1/admin/stops/"+stop.ID+"/lift", map[string]any{"reason": "over"}, nil); err != nil {
		t.Fatal(err)
	}
	done, err := s.Follow(ctx, started.ID, time.Second, func(stage.Optimization) {})
	if err != nil {
		t.Fatal(err)
	}
	requireCompleted(t, done)
	last := seen(ctx, t, s, at, "the end", func(g guarded) bool { return g.Status == "completed" })
	if last.count("terminated") == 0 || last.WaitingFor != nil {
		t.Errorf("at the end: %+v", last)
	}
	requireNodesAreInstances(t, s)
	requireEveryPodRuns(t, s)
	requireBudgetsKept(t, budgets)
}

// seen reads the optimization until it is as wanted.
func seen(ctx context.Context, t *testing.T, s *stage.Stage, at, what string, wanted func(guarded) bool) guarded {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var g guarded
		if err := s.Admin.Get(ctx, at, &g); err == nil && wanted(g) {
			return g
		} else if g.Status == "failed" || g.Status == "cancelled" {
			t.Fatalf("waiting for %s: %+v", what, g)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// pods of the cluster that are not a node's own, and whether they are ending.
func pods(ctx context.Context, t *testing.T, s *stage.Stage) map[types.UID]bool {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[types.UID]bool{}
	for i := range list.Items {
		out[list.Items[i].UID] = list.Items[i].DeletionTimestamp != nil
	}
	return out
}
