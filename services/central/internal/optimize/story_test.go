package optimize

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const allWell = "state completed, decide completed, launch completed, ready completed, label completed, drain completed, " +
	"terminate completed, verify completed, rollback skipped"

func TestAStoryEndsWithTheOldNodesGoneAndTheSavingCounted(t *testing.T) {
	w := newWorld(t)
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus()+told.GetErrorMessage(), "completed")
	equal(t, "steps", stepsOf(told), allWell)
	equal(t, "alive", w.alive(), "i-0002 spot")
	if want := (2*onDemand - spot) * savingsMonth; math.Abs(told.GetActualSavings()-want) > 0.01 {
		t.Errorf("saved %v, want %v", told.GetActualSavings(), want)
	}
	equal(t, "launched", told.GetLaunched()[0].GetInstanceId()+" "+told.GetLaunched()[0].GetNodeName(), "i-0002 0002")
	for what, times := range map[string]int{
		"label_node 0002": 1, "cordon_node old-1": 1, "cordon_node old-2": 1, "drain_node old-1": 1, "drain_node old-2": 1, "uncordon_node old-1": 0,
	} {
		equal(t, what, w.did(what), times)
	}
	equal(t, "calls to terminate", len(w.ec2.Calls("TerminateInstances")), 1)
	state, err := w.Book.ClusterState(t.Context(), w.cluster, noCustomer)
	must(t, err)
	if math.Abs(state.GetBaselineCostPerHour()-2*onDemand) > 1e-6 {
		t.Errorf("the baseline is %v", state.GetBaselineCostPerHour())
	}
	equal(t, "first news", w.news(t)[0].GetType(), "optimization_started")
	equal(t, "last news", w.last(t), "optimization_complete success")
	var acts int
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action IN ('optimization.trigger', 'optimization.completed')").Scan(&acts))
	equal(t, "acts in the audit log", acts, 2)
}

const savingsMonth = 730

func TestWithoutLaunchSettingsAConsolidationOnlyTakesNodesAway(t *testing.T) {
	w := newWorld(t)
	_, err := w.db.Pool.Exec(t.Context(), "UPDATE clusters SET launch_template_id = '', subnet_ids = '{}'")
	must(t, err)
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		if buys, ok := req.GetConstraints().AsMap()["allow_purchases"].(bool); !ok || buys || req.GetDecisionType() != "bin_pack" {
			return nil, fault.New(faultv1.Reason_REASON_INVALID_REQUEST, "asked %v", req.GetConstraints())
		}
		return &mlv1.DecisionResponse{EstimatedSavings: onDemand * savingsMonth, ExecutionPlan: []*mlv1.ExecutionStep{drainStep("old-2")}}, nil
	}
	told := w.story(t, w.startOf(t, "bin_pack"))
	equal(t, "status", told.GetStatus()+told.GetErrorMessage(), "completed")
	equal(t, "steps", stepsOf(told), allWell)
	equal(t, "alive", w.alive(), "i-old-1 on-demand")
	if math.Abs(told.GetActualSavings()-onDemand*savingsMonth) > 0.01 {
		t.Errorf("saved %v, want the price of a node", told.GetActualSavings())
	}
}

func TestANodeThatMayNotGoAnyMoreIsKeptUntouched(t *testing.T) {
	w := newWorld(t)
	w.after["label_node 0002"] = func() { w.pinned["p2"] = true }
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "completed")
	equal(t, "alive", w.alive(), "i-old-2 on-demand, i-0002 spot")
	equal(t, "touched", w.did("cordon_node old-2")+w.did("uncordon_node old-2")+w.did("drain_node old-2"), 0)
	if !strings.Contains(told.GetErrorMessage(), "pod_do_not_disrupt") {
		t.Errorf("told %q, want the rule", told.GetErrorMessage())
	}
	decision, err := w.Store.Decision(t.Context(), uuid.MustParse(told.GetOptimizationId()))
	must(t, err)
	equal(t, "stored confidence", decision.GetConfidenceScore(), 0.9)
}

func TestANodeThatCannotBeDrainedIsKeptAndTheOthersGo(t *testing.T) {
	w := newWorld(t)
	w.fails["drain_node old-1"] = "blocked by pdb web/api" // the first: the rest must not depend on it
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "completed")
	mentions(t, told.GetErrorMessage(), "kept old-1", "blocked by pdb web/api")
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-0002 spot")
	equal(t, "uncordoned", w.did("uncordon_node old-1"), 1)
	equal(t, "the other", w.did("uncordon_node old-2"), 0)
	equal(t, "calls to terminate", len(w.ec2.Calls("TerminateInstances")), 1)
}

func TestADrainedNodeThatGotAPodAgainIsKept(t *testing.T) {
	w := newWorld(t)
	w.after["drain_node old-1"] = func() { w.pods["late"] = "old-1" }
	told := w.impatientStory(t, w.start(t), "terminate")
	equal(t, "status", told.GetStatus(), "completed")
	mentions(t, told.GetErrorMessage(), "kept old-1: pod web/late came after the drain")
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-0002 spot")
	equal(t, "given back", w.did("uncordon_node old-1"), 1)
}

func TestADrainedNodeThatSomebodyUncordonedIsKept(t *testing.T) {
	w := newWorld(t)
	w.after["drain_node old-2"] = func() { delete(w.cordoned, "old-2") }
	told := w.impatientStory(t, w.start(t), "terminate")
	mentions(t, told.GetErrorMessage(), "kept old-2: somebody uncordoned it after the drain")
	equal(t, "alive", w.alive(), "i-old-2 on-demand, i-0002 spot")
}

func TestAnInventoryThatIsBehindTheDrainOnlyDelaysTheTermination(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	w.after["drain_node old-1"] = func() { w.pods["ghost"] = "old-1" }
	w.until(t, id, "terminate")
	equal(t, "terminated while it looks occupied", len(w.ec2.Calls("TerminateInstances")), 0)
	w.mu.Lock()
	delete(w.pods, "ghost")
	w.mu.Unlock()
	told := w.story(t, id)
	equal(t, "message", told.GetErrorMessage(), "")
	equal(t, "alive", w.alive(), "i-0002 spot")
}

func TestANodeThatCannotBeCordonedIsNotDrained(t *testing.T) {
	w := newWorld(t)
	w.fails["cordon_node old-2"] = "another instance has the name"
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "completed")
	mentions(t, told.GetErrorMessage(), "kept old-2", "another instance has the name")
	equal(t, "drained", w.did("drain_node old-2"), 0)
	equal(t, "alive", w.alive(), "i-old-2 on-demand, i-0002 spot")
}

func TestWhenNoNodeCanBeDrainedWhatWasLaunchedIsEnded(t *testing.T) {
	w := newWorld(t)
	w.fails["drain_node old-1"], w.fails["drain_node old-2"] = "blocked", "blocked"
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "failed")
	mentions(t, told.GetErrorMessage(), "drain", "no node could be drained", "old-1", "old-2")
	mentions(t, stepsOf(told), "drain failed", "terminate skipped", "rollback completed")
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-old-2 on-demand")
	equal(t, "new node drained first", w.did("drain_node 0002"), 1)
	equal(t, "saved", told.GetActualSavings(), 0)
	equal(t, "last news", w.last(t), "optimization_complete failed")
}

func TestARollbackKeepsANewNodeThatStillHoldsPods(t *testing.T) {
	w := newWorld(t)
	w.fails["drain_node old-1"], w.fails["drain_node old-2"], w.fails["drain_node 0002"] = "blocked", "blocked", "blocked"
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "failed")
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-old-2 on-demand, i-0002 spot")
}

func TestNewOnDemandNodesBesideSpotOnesAreLeftToThePodsThatNeedThem(t *testing.T) {
	w := newWorld(t)
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		decision, err := swap(req)
		decision.Recommendations = append(decision.Recommendations, &mlv1.Recommendation{
			InstanceType: "c5.large", AvailabilityZone: "us-east-1a", NodeType: "on-demand", NodeCount: 1, HourlyPrice: onDemand, OnDemandHourlyPrice: onDemand,
		})
		return decision, err
	}
	equal(t, "status", w.story(t, w.start(t)).GetStatus(), "completed")
	equal(t, "alive", w.alive(), "i-0002 spot, i-0003 on-demand")
	equal(t, "the spot node", w.did("taint_node 0002"), 0)
	equal(t, "the on-demand node", w.did("taint_node 0003"), 1)
}

func TestWithoutSpotCapacityTheNodeIsBoughtOnDemand(t *testing.T) {
	w := newWorld(t)
	w.ec2.Refuse("RunInstances/spot", "InsufficientInstanceCapacity")
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "completed")
	equal(t, "alive", w.alive(), "i-0002 on-demand")
	equal(t, "fallbacks", told.GetSteps()[2].GetDetail().GetFields()["on_demand_fallbacks"].GetNumberValue(), 1)
}

func TestWithoutAnyCapacityNothingIsTouched(t *testing.T) {
	w := newWorld(t)
	w.ec2.Refuse("RunInstances", "InsufficientInstanceCapacity")
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "failed")
	mentions(t, told.GetErrorMessage(), "launch", "no capacity for c5.large", "InsufficientInstanceCapacity")
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-old-2 on-demand")
	equal(t, "drained", w.did("drain_node old-1"), 0)
}

func TestAnInfeasibleRequestFailsWithTheReasonOfTheDecisionServer(t *testing.T) {
	w := newWorld(t)
	w.decide = func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		return nil, fault.Infeasible("zones", "no zone has such instances").GRPCStatus().Err()
	}
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "failed")
	mentions(t, told.GetErrorMessage(), "no zone has such instances")
	mentions(t, stepsOf(told), "decide failed", "launch skipped", "rollback skipped")
	equal(t, "launched", len(w.ec2.Calls("RunInstances")), 0)
}

func TestADecisionServerThatIsAwayIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	asked := 0
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		if asked++; asked < 3 {
			return nil, fault.Unavailable("ml", nil).GRPCStatus().Err()
		}
		return swap(req)
	}
	equal(t, "status", w.story(t, w.start(t)).GetStatus(), "completed")
	equal(t, "asked", asked, 3)
}

func TestNothingToDoIsAGoodEnd(t *testing.T) {
	w := newWorld(t)
	w.decide = func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) { return &mlv1.DecisionResponse{}, nil }
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "completed")
	mentions(t, told.GetErrorMessage(), "nothing to do")
	equal(t, "after", told.GetCostAfterPerHour(), told.GetCostBeforePerHour())
}

func TestAPodWithoutAPlaceGetsAnOldNodeBack(t *testing.T) {
	w := newWorld(t)
	w.stuck["old-1"] = true
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "completed")
	mentions(t, told.GetErrorMessage(), "kept old-1: pod web/p1 found no other place")
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-0002 spot")
	equal(t, "place of the pod", w.pods["p1"], "old-1")
}

func TestALaunchWhoseAnswerWasLostIsNotLeftBehindByTheRollback(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	w.ec2.Silent(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	w.carryOn(ctx, storyJob{OptimizationID: id, Generation: 1})
	equal(t, "alive", w.alive(), "i-old-1 on-demand, i-old-2 on-demand, i-0002 spot")
	w.ec2.Silent(false)
	w.ec2.Refuse("DescribeInstances", "UnauthorizedOperation")
	w.age(t, id)
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
	w.ec2.Refuse("DescribeInstances", "")
	told := w.story(t, id)
	equal(t, "status", told.GetStatus(), "failed")
	mentions(t, stepsOf(told), "launch failed", "rollback completed")
	equal(t, "alive after", w.alive(), "i-old-1 on-demand, i-old-2 on-demand")
}

func TestADecisionThatCannotBeWrittenDownFailsInsteadOfHanging(t *testing.T) {
	w := newWorld(t)
	w.decide = func(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		return &mlv1.DecisionResponse{EstimatedSavings: 1e12, ExecutionPlan: []*mlv1.ExecutionStep{drainStep("old-1")}}, nil
	}
	id := w.start(t)
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1})
	w.age(t, id)
	told := w.story(t, id)
	equal(t, "status", told.GetStatus(), "failed")
	mentions(t, told.GetErrorMessage(), "step decide could not be ended")
}

func TestAJobOfAnOlderGenerationDoesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	_, err := w.db.Pool.Exec(t.Context(), "UPDATE optimization_history SET wake_at = now() - interval '1 hour'")
	must(t, err)
	must(t, w.adopt(t.Context()))
	equal(t, "again", w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 1}), 0)
	story, err := w.Store.Story(t.Context(), id)
	must(t, err)
	equal(t, "step", story.Step, 1)
	equal(t, "generation", story.Generation, 2)
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 2})
	story, err = w.Store.Story(t.Context(), id)
	must(t, err)
	if story.Step == 1 {
		t.Error("the job of the new generation did nothing either")
	}
	must(t, w.adopt(t.Context())) // it is in good hands
	story, err = w.Store.Story(t.Context(), id)
	must(t, err)
	equal(t, "generation", story.Generation, 2)
}

func TestATriggerIsRefusedAtTheDoor(t *testing.T) {
	w := newWorld(t)
	trigger := func(cluster uuid.UUID, kind string) error {
		_, err := w.Trigger(t.Context(), noCustomer, "a", &adminv1.TriggerOptimizationRequest{ClusterId: cluster.String(), OptimizationType: kind})
		return err
	}
	wantReason(t, trigger(w.cluster, "schedule"), faultv1.Reason_REASON_UNIMPLEMENTED)
	wantReason(t, trigger(uuid.New(), "spot_optimize"), faultv1.Reason_REASON_NOT_FOUND)
	_, err := w.Trigger(t.Context(), uuid.NullUUID{UUID: uuid.New(), Valid: true}, "a",
		&adminv1.TriggerOptimizationRequest{ClusterId: w.cluster.String(), OptimizationType: "spot_optimize"})
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	owner, err := w.Store.CustomerOf(t.Context(), w.cluster)
	must(t, err)
	wantReason(t, trigger(w.clusterOf(t, owner, "unset", nil), "spot_optimize"), faultv1.Reason_REASON_INFEASIBLE)
	silent := w.clusterOf(t, owner, "silent", &adminv1.LaunchSettings{LaunchTemplateId: "lt-1", SubnetIds: map[string]string{"a": "b"}})
	wantReason(t, trigger(silent, "spot_optimize"), faultv1.Reason_REASON_AGENT_OFFLINE)
	w.start(t)
	wantReason(t, trigger(w.cluster, "spot_optimize"), faultv1.Reason_REASON_OPTIMIZATION_RUNNING)
	_, err = w.db.Pool.Exec(t.Context(), "UPDATE clusters SET last_seen_at = now() - interval '61 seconds'")
	must(t, err)
	wantReason(t, trigger(w.cluster, "spot_optimize"), faultv1.Reason_REASON_STALE_STATE)
}
