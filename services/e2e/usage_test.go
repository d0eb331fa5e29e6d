//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// usedNode is what ListNodes says of a node's use.
type usedNode struct {
	CPU    *float64 `json:"cpu_used_ratio"`
	Memory *float64 `json:"memory_used_ratio"`
}

// sizes is what a rightsizing plan says.
type sizes struct {
	Changes []struct {
		Namespace, Kind, Name, Container string
		CPU                              struct{ Reason string }
	} `json:"request_changes"`
}

// TestUsageGoesFromTheClusterIntoAPlan: metrics API → agent → central → ml → a plan that is advice.
func TestUsageGoesFromTheClusterIntoAPlan(t *testing.T) {
	s := newStage(t, cluster("8", "60", "3")...)
	ctx := t.Context()
	deadline := time.Now().Add(90 * time.Second)
	for {
		var nodes []usedNode
		if err := s.Admin.Get(ctx, "/api/v1/admin/clusters/"+s.ClusterID+"/nodes", &nodes); err != nil {
			t.Fatal(err)
		}
		known := 0
		for _, n := range nodes {
			if n.CPU != nil && n.Memory != nil && *n.CPU > 0 && *n.CPU < 1.5 && *n.Memory > 0 && *n.Memory < 1 {
				known++
			}
		}
		if known == len(nodes) && known == 8 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what is used is known of %d of %d nodes", known, len(nodes))
		}
		time.Sleep(time.Second)
	}
	started, err := s.Trigger(ctx, "rightsize", nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := s.Follow(ctx, started.ID, time.Second, func(stage.Optimization) {})
	if err != nil {
		t.Fatal(err)
	}
	// Minutes of usage are too little to change anything.
	if done.Status != "completed" || !strings.HasPrefix(done.ErrorMessage, "nothing to do: of ") {
		t.Fatalf("it ended %s: %s", done.Status, done.ErrorMessage)
	}
	var plan sizes
	if err := s.Admin.Get(ctx, "/api/v1/admin/optimizations/"+started.ID+"/decision", &plan); err != nil {
		t.Fatal(err)
	}
	if len(plan.Changes) < 10 {
		t.Fatalf("the plan looked at %d containers", len(plan.Changes))
	}
	for _, c := range plan.Changes {
		if c.Name == "" || c.Container == "" || c.CPU.Reason != "little_data" {
			t.Errorf("%+v", c)
		}
	}
}
