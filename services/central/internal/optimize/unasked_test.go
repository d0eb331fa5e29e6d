package optimize

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// plan begins what is due and returns the ids of all optimizations that somebody asked for.
func (w *world) plan(t *testing.T, by string) []uuid.UUID {
	t.Helper()
	w.exec(t, "DELETE FROM turns")
	if by == byPolicy {
		must(t, w.planUnasked(t.Context()))
	} else {
		must(t, w.estimateUnasked(t.Context()))
	}
	listed, _, err := w.Store.Optimizations(t.Context(), store.OptimizationFilter{DryRuns: true, Order: "created_at"}, store.Page{Limit: 100})
	must(t, err)
	var ids []uuid.UUID
	for _, one := range listed {
		if one.GetRequestedBy() == by {
			ids = append(ids, uuid.MustParse(one.GetOptimizationId()))
		}
	}
	return ids
}

func (w *world) visible(t *testing.T) int {
	t.Helper()
	listed, _, err := w.Store.Optimizations(t.Context(), store.OptimizationFilter{}, store.Page{Limit: 100})
	must(t, err)
	return len(listed)
}

func TestPlansAreKeptReadyByThemselves(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve, &adminv1.PolicyValues{Engines: &adminv1.PlanEngines{Names: []string{"spot_optimize"}}})
	ids := w.plan(t, byPolicy)
	equal(t, "planned", len(ids), 1)
	equal(t, "planned again", len(w.plan(t, byPolicy)), 1)
	first := w.waits(t, ids[0], "approval")
	equal(t, "approval", first.GetApproval()+" "+first.GetRequestedBy(), "awaiting policy")

	w.exec(t, "UPDATE plan_rounds SET began_at = began_at - interval '61 minutes'")
	ids = w.plan(t, byPolicy)
	equal(t, "planned an hour later", len(ids), 2)
	same := w.story(t, ids[1])
	equal(t, "the same plan", same.GetStatus(), "cancelled")
	mentions(t, same.GetErrorMessage(), "the same plan")
	equal(t, "the first still waits", w.told(t, ids[0]).GetApproval(), "awaiting")
	equal(t, "etag", w.told(t, ids[0]).GetEtag(), first.GetEtag())
	equal(t, "in lists", w.visible(t), 1)

	_, err := w.Snooze(t.Context(), w.deciding(ids[0], "later"), time.Now().Add(time.Hour))
	must(t, err)
	w.exec(t, "UPDATE plan_rounds SET began_at = began_at - interval '61 minutes'")
	ids = w.plan(t, byPolicy)
	equal(t, "snoozed, the same", w.story(t, ids[2]).GetStatus(), "cancelled")
	equal(t, "snoozed", w.told(t, ids[0]).GetApproval(), "snoozed")

	w.decide = smaller
	w.exec(t, "UPDATE plan_rounds SET began_at = began_at - interval '61 minutes'")
	ids = w.plan(t, byPolicy)
	w.waits(t, ids[3], "approval")
	equal(t, "another plan takes its place", w.told(t, ids[0]).GetApproval(), "superseded")
}

func TestInModeAutomaticPlansRunByThemselvesOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	lift := w.stop(t)
	equal(t, "planned while a stop holds", len(w.plan(t, byPolicy)), 0)
	lift()
	ids := w.plan(t, byPolicy)
	equal(t, "one at a time", len(ids), 1)
	equal(t, "status", w.story(t, ids[0]).GetStatus(), "completed")
	w.decide = func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) { return &mlv1.DecisionResponse{}, nil }
	ids = w.plan(t, byPolicy)
	equal(t, "then the next engine", len(ids), 2)
	second := w.story(t, ids[1])
	equal(t, "status", second.GetStatus()+" "+second.GetOptimizationType(), "completed bin_pack")
	equal(t, "what came to nothing is not listed", w.visible(t), 1)
}

func TestNothingIsPlannedUnaskedThatThePolicyDoesNotWant(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.ReadOnly)
	equal(t, "read only", len(w.plan(t, byPolicy)), 0)
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{Engines: &adminv1.PlanEngines{}})
	equal(t, "no engine", len(w.plan(t, byPolicy)), 0)
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{PlanEveryMinutes: proto.Int32(1)})
	w.exec(t, "UPDATE clusters SET last_seen_at = now() - interval '2 minutes'")
	equal(t, "not heard of", len(w.plan(t, byPolicy)), 0)
}

func TestAnEstimateIsMadeBeforeAnythingMayBeChanged(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.ReadOnly)
	w.exec(t, "UPDATE clusters SET launch_template_id = '', subnet_ids = '{}'")
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		if req.GetDecisionType() == "bin_pack" {
			return smaller(req)
		}
		equal(t, "zones", req.GetConstraints().AsMap()["zones"].([]any)[0], any("us-east-1a"))
		return swap(req)
	}
	got, err := w.Estimate(t.Context(), w.cluster, noCustomer)
	must(t, err)
	equal(t, "at first", got.GetStatus(), "planning")
	ids := w.plan(t, byEstimate) // those that were asked for just now
	equal(t, "estimates", len(ids), 2)
	for _, id := range ids {
		told := w.story(t, id)
		equal(t, "status", told.GetStatus()+told.GetErrorMessage(), "completed")
		equal(t, "dry", told.GetDryRun(), true)
	}
	got, err = w.Estimate(t.Context(), w.cluster, noCustomer)
	must(t, err)
	equal(t, "then", got.GetStatus()+got.GetMessage(), "ready")
	equal(t, "the best", got.GetBestSavingsPerMonth(), 100)
	equal(t, "cost", got.GetCurrentCostPerHour(), 2*onDemand)
	equal(t, "kinds", len(got.GetEstimates()), 2)
	equal(t, "not made again", len(w.plan(t, byEstimate)), 2)
	equal(t, "alive", w.alive(), untouched)
	w.exec(t, "UPDATE optimization_history SET created_at = created_at - interval '61 minutes'")
	w.exec(t, "UPDATE plan_rounds SET began_at = began_at - interval '61 minutes'")
	got, err = w.Estimate(t.Context(), w.cluster, noCustomer)
	must(t, err)
	equal(t, "asked an hour later", got.GetStatus(), "ready")
	equal(t, "made anew", len(w.plan(t, byEstimate)), 4)
	unseen := w.clusterOf(t, uuid.MustParse(ownerOf(t, w)), "unseen", nil)
	got, err = w.Estimate(t.Context(), unseen, noCustomer)
	must(t, err)
	equal(t, "without an agent", got.GetStatus(), "waiting_for_agent")
}

func ownerOf(t *testing.T, w *world) string {
	t.Helper()
	owner, err := w.Store.CustomerOf(t.Context(), w.cluster)
	must(t, err)
	return owner.String()
}
