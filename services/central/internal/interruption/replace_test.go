package interruption

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// crashed makes the claim of a dead replica run out.
func (w *world) crashed(t *testing.T) {
	t.Helper()
	w.exec(t, "UPDATE interruptions SET replacement_until = now() - interval '1 minute'")
}

func TestF10ACrashBetweenAnyTwoStepsLaunchesOnce(t *testing.T) {
	for name, upTo := range map[string]func(t *testing.T, w *world){
		"before anything": func(*testing.T, *world) {},
		"after the attempt is written": func(t *testing.T, w *world) {
			t.Helper()
			row := w.row(t, "i-0000")
			must(t, w.Store.AddAttempt(t.Context(), row.ID, store.Attempt{
				ClientToken: token(row.ID, 0), InstanceType: "m5.large", Zone: "us-east-1a", NodeType: "on-demand",
			}))
		},
		"after EC2 launched, its answer lost": func(t *testing.T, w *world) {
			t.Helper()
			w.ec2.Silent(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			w.replaceNow(ctx, w.row(t, "i-0000").ID)
			w.ec2.Silent(false)
			equal(t, "launched before the crash", len(w.launched()), 1)
		},
		"and EC2 has forgotten the token": func(t *testing.T, w *world) {
			t.Helper()
			w.ec2.Silent(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			w.replaceNow(ctx, w.row(t, "i-0000").ID)
			w.ec2.Silent(false)
			w.ec2.ForgetTokens()
		},
		"after the attempt is noted": func(t *testing.T, w *world) {
			t.Helper()
			w.replaces(t, "i-0000")
			w.exec(t, "UPDATE interruptions SET replacement = 'pending', replacement_instance_id = '', replacement_pool = ''")
		},
		"after everything": func(t *testing.T, w *world) { t.Helper(); w.replaces(t, "i-0000") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.take(t, warning("i-0000", "terminate"))
			upTo(t, w)
			w.crashed(t)
			w.other.replaceNow(t.Context(), w.row(t, "i-0000").ID)
			row := w.row(t, "i-0000")
			equal(t, "replacement", row.Replacement, "launched")
			equal(t, "launched", len(w.launched()), 1)
			equal(t, "attempts", w.count(t, "SELECT count(*) FROM interruption_launches"), 1)
			w.drains(t, "i-0000", "success", nil)
			w.follows(t, "i-0000")
			equal(t, "state", w.row(t, "i-0000").State, "drained")
		})
	}
}

func TestF10AReplacementThatIsTakenUpLateIsForWhatHasNoPlaceByThen(t *testing.T) {
	for name, c := range map[string]struct {
		homeless bool
		want     string
	}{"all have moved and run": {false, "unneeded no pod needs a place"}, "one has found no place": {true, "launched "}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.take(t, warning("i-0000", "terminate"))
			w.drains(t, "i-0000", "success", nil)
			if c.homeless {
				w.pod("homeless", "")
				w.pods[len(w.pods)-1].Phase = "Pending"
				w.report(t)
			}
			w.crashed(t)
			w.exec(t, "UPDATE interruptions SET opened_at = opened_at - interval '20 s'")
			row := w.replaces(t, "i-0000")
			equal(t, "replacement", row.Replacement+" "+row.ReplacementNote, c.want)
		})
	}
}

func TestAReplacementThatIsLateIsNotLargerThanTheNodeItReplaces(t *testing.T) {
	w := newWorld(t)
	w.node("n2", "i-0002", "on-demand") // of the same type, and stays
	w.decide = recommend("m5.large", "us-east-1a", "on-demand")
	w.take(t, warning("i-0000", "terminate"))
	w.drains(t, "i-0000", "success", nil)
	w.leaves(t, "n0")
	for i := range 40 {
		w.pod(fmt.Sprintf("homeless-%d", i), "")
		w.pods[len(w.pods)-1].Phase = "Pending"
	}
	w.report(t)
	w.crashed(t)
	w.exec(t, "UPDATE interruptions SET opened_at = opened_at - interval '20 s'")
	equal(t, "replacement", w.replaces(t, "i-0000").Replacement, "launched")
	if cpu := w.asked[0].GetRequirements().GetFields()["cpu"].GetNumberValue(); cpu > 2.5 {
		t.Errorf("%.1f cores were asked for in the place of 2", cpu)
	}
}

func TestF10ADeadJobsReplacementIsHandedOutAgainAndTheLivingOnesIsNot(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	id := w.row(t, "i-0000").ID
	mine, err := w.Store.ClaimReplacement(t.Context(), id, replaceLease)
	must(t, err)
	equal(t, "claimed", mine, true)
	must(t, w.other.adopt(t.Context()))
	equal(t, "jobs while the claim lasts", w.count(t, "SELECT count(*) FROM river_job"), 1)
	w.other.replaceNow(t.Context(), id)
	equal(t, "launched while the claim lasts", len(w.launched()), 0)
	w.crashed(t)
	must(t, w.other.adopt(t.Context()))
	must(t, w.other.adopt(t.Context()))
	equal(t, "jobs afterwards", w.count(t, "SELECT count(*) FROM river_job"), 2)
}

func TestF10WithoutCapacityThePoolIsRememberedAndTheDrainGoesOn(t *testing.T) {
	w := newWorld(t)
	w.decide = recommend("c5.large", "us-east-1a", "spot")
	w.ec2.Refuse("RunInstances/spot", "InsufficientInstanceCapacity")
	w.take(t, warning("i-0000", "terminate"))
	row := w.replaces(t, "i-0000")
	equal(t, "fallback", row.ReplacementPool, "m5.large/us-east-1a/on-demand")
	refused, err := w.Store.RefusedPools(t.Context(), "", "us-east-1")
	must(t, err)
	for _, pool := range []string{"c5.large/us-east-1a/spot", "m5.large/us-east-1a/spot"} { // without capacity; of the warned node
		if !slices.ContainsFunc(refused, func(p store.Pool) bool { return p.String() == pool }) {
			t.Errorf("%s is not remembered: %v", pool, refused)
		}
	}

	// The next one is not launched there, and ml is told.
	w.ec2.Refuse("RunInstances", "InsufficientInstanceCapacity")
	w.pod("p1", "n1")
	w.report(t)
	w.take(t, warning("i-0001", "terminate"))
	row = w.replaces(t, "i-0001")
	equal(t, "replacement", row.Replacement+": "+row.ReplacementNote, "failed: no capacity in 2 pools")
	excluded := w.asked[1].GetConstraints().AsMap()["excluded_pools"].([]any)
	if !slices.Contains(excluded, any("c5.large/us-east-1a/spot")) {
		t.Errorf("ml was told of %v", excluded)
	}
	w.drains(t, "i-0001", "success", nil)
	w.follows(t, "i-0001")
	equal(t, "state", w.row(t, "i-0001").State, "drained")
}

func TestMLIsAskedForWhatTheMovablePodsNeedAndGetsLittleTime(t *testing.T) {
	w := newWorld(t)
	w.decide = func(*mlv1.DecisionRequest) []*mlv1.Recommendation {
		return []*mlv1.Recommendation{
			{InstanceType: "t3.small", AvailabilityZone: "us-east-1a", NodeType: "on-demand", NodeCount: 2}, // two for one is no replacement
			{InstanceType: "c5.large", AvailabilityZone: "us-east-1a", NodeType: "on-demand", NodeCount: 1},
		}
	}
	w.take(t, warning("i-0000", "terminate"))
	equal(t, "launched", w.replaces(t, "i-0000").ReplacementPool, "c5.large/us-east-1a/on-demand")
	req := w.asked[0]
	need := req.GetRequirements().AsMap()
	if cpu, memory := need["cpu"].(float64), need["memory"].(float64); cpu < 0.5 || cpu > 1 || memory < 1 || memory > 2 || need["urgent"] != true {
		t.Errorf("asked for %v", need)
	}
	constraints := req.GetConstraints().AsMap()
	equal(t, "zone", constraints["zones"].([]any)[0], any("us-east-1a"))
	equal(t, "architecture", constraints["architectures"].([]any)[0], any("amd64"))
	equal(t, "nodes told", len(req.GetCurrentState().GetNodes()), 0)
}

func TestWhenMLIsAwayTheSameTypeIsBoughtOnDemandElsewhereIfItMust(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	id := w.row(t, "i-0000").ID
	must(t, w.Store.RefusePool(t.Context(), store.Refusal{Region: "us-east-1", Pool: store.Pool{InstanceType: "m5.large", Zone: "us-east-1a", NodeType: "on-demand"}}, time.Hour))
	w.replaceNow(t.Context(), id)
	equal(t, "launched", strings.Join(w.launched(), ","), "m5.large subnet-b on-demand")
}

func TestANodeWithoutPodsIsNotReplaced(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0001", "terminate"))
	row := w.replaces(t, "i-0001")
	equal(t, "replacement", row.Replacement, "unneeded")
	equal(t, "launched", len(w.launched()), 0)
	w.take(t, warning("i-0000", "terminate"))
	w.exec(t, "UPDATE clusters SET launch_template_id = NULL")
	equal(t, "without launch settings", w.replaces(t, "i-0000").ReplacementNote, "the cluster has no launch settings")
}

func TestALaunchThatNeverSucceedsIsGivenUp(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	w.ec2.Refuse("RunInstances", "UnauthorizedOperation")
	id := w.row(t, "i-0000").ID
	if again := w.replaceNow(t.Context(), id); again == 0 {
		t.Error("given up at the first refusal")
	}
	equal(t, "replacement", w.row(t, "i-0000").Replacement, "pending")
	w.exec(t, "UPDATE interruptions SET opened_at = now() - interval '1 hour', replacement_until = now()")
	w.replaceNow(t.Context(), id)
	row := w.row(t, "i-0000")
	equal(t, "replacement", row.Replacement, "failed")
	if !strings.Contains(row.ReplacementNote, "UnauthorizedOperation") {
		t.Errorf("it failed for %s", row.ReplacementNote)
	}
}
