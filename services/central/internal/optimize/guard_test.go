package optimize

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const untouched = "i-old-1 on-demand, i-old-2 on-demand"

// policy sets values of the cluster's policy, or of a namespace in it.
func (w *world) policy(t *testing.T, namespace string, values *adminv1.PolicyValues) {
	t.Helper()
	owner, err := w.Store.CustomerOf(t.Context(), w.cluster)
	must(t, err)
	must(t, w.Store.InTx(t.Context(), func(tx *store.Store) error {
		_, _, err := tx.SetPolicy(t.Context(), store.PolicyScope{Customer: owner, Cluster: some(w.cluster), Namespace: namespace}, values, "", "admin:1")
		return err
	}))
}

// mode sets the cluster's, with the values that are given.
func (w *world) mode(t *testing.T, mode string, more ...*adminv1.PolicyValues) {
	t.Helper()
	values := &adminv1.PolicyValues{Mode: &mode}
	for _, one := range more {
		proto.Merge(values, one)
	}
	w.policy(t, "", values)
}

// stop everything disruptive in the cluster.
func (w *world) stop(t *testing.T) (lift func()) {
	t.Helper()
	owner, err := w.Store.CustomerOf(t.Context(), w.cluster)
	must(t, err)
	safety := guard.New(guard.Config{Store: w.Store, Dispatch: w.Dispatch, Log: w.Log})
	stop, _, err := safety.Stop(t.Context(), store.NewStop{
		Scope: "cluster", Customer: some(owner), Cluster: some(w.cluster), Reason: "an incident", Actor: "operator:1",
	})
	must(t, err)
	return func() {
		_, err := safety.Lift(t.Context(), uuid.MustParse(stop.GetStopId()), some(owner), "operator:1", "over")
		must(t, err)
	}
}

func (w *world) told(t *testing.T, id uuid.UUID) *adminv1.Optimization {
	t.Helper()
	told, err := w.Store.Optimization(t.Context(), id, noCustomer)
	must(t, err)
	return told
}

// waits carries the optimization on until it waits for the code, and no further.
func (w *world) waits(t *testing.T, id uuid.UUID, code string) *adminv1.Optimization {
	t.Helper()
	stop := time.Now().Add(20 * time.Second)
	for time.Now().Before(stop) {
		w.turn(t, id)
		if told := w.told(t, id); told.GetWaitingFor().GetCode() == code {
			return told
		}
	}
	t.Fatalf("it never waits for %s: %+v", code, w.told(t, id))
	return nil
}

// count of news of a type and status.
func (w *world) heard(t *testing.T, kind, status string) int {
	t.Helper()
	n := 0
	for _, one := range w.news(t) {
		if one.GetType() == kind && one.GetStatus() == status {
			n++
		}
	}
	return n
}

func (w *world) deciding(id uuid.UUID, reason string) Deciding {
	return Deciding{ID: id, Actor: "operator:2", Reason: reason}
}

func TestInModeApproveAPlanWaitsForAPersonAndThenRuns(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	told := w.waits(t, id, "approval")
	equal(t, "status", told.GetStatus()+" "+told.GetApproval(), "pending awaiting")
	equal(t, "alive", w.alive(), untouched)
	equal(t, "executed", told.GetExecutedAt() == nil, true)
	equal(t, "plan", told.GetPlan().GetBlastRadius(), "drains 2 nodes, moves 2 pods of 2 workloads in 1 namespace, launches 1 node")
	equal(t, "nodes", told.GetPlan().GetNodesBefore()*10+told.GetPlan().GetNodesAfter(), 21)
	equal(t, "planned nodes", len(told.GetNodes()), 2)
	equal(t, "heard", w.heard(t, "optimization_waiting", "approval"), 1)

	d := w.deciding(id, "go")
	d.Etag = uuid.NewString()
	_, err := w.Approve(t.Context(), d)
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	d.Etag = told.GetEtag()
	approved, err := w.Approve(t.Context(), d)
	must(t, err)
	equal(t, "approval", approved.GetApproval()+" by "+approved.GetDecidedBy()+": "+approved.GetDecisionReason(), "approved by operator:2: go")
	_, err = w.Approve(t.Context(), d)
	must(t, err) // said again
	done := w.story(t, id)
	equal(t, "status", done.GetStatus()+done.GetErrorMessage(), "completed")
	equal(t, "steps", stepsOf(done), allWell)
	equal(t, "alive", w.alive(), "i-0002 spot")
	equal(t, "decided", w.heard(t, "optimization_decided", "approved"), 1)
	var acts int
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action = 'optimization.approved' AND actor = 'operator:2'").Scan(&acts))
	equal(t, "acts", acts, 1)
	_, err = w.Reject(t.Context(), w.deciding(id, "too late"))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
}

func TestAPlanIsRejectedSnoozedAndComesBack(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	_, err := w.Snooze(t.Context(), w.deciding(id, "later"), time.Now().Add(-time.Second))
	wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	_, err = w.Snooze(t.Context(), w.deciding(id, "later"), time.Now().Add(91*24*time.Hour))
	wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	snoozed, err := w.Snooze(t.Context(), w.deciding(id, "later"), time.Now().Add(time.Hour))
	must(t, err)
	equal(t, "approval", snoozed.GetApproval(), "snoozed")
	must(t, w.remember(t.Context()))
	equal(t, "approval", w.told(t, id).GetApproval(), "snoozed")
	w.exec(t, "UPDATE optimization_history SET snoozed_until = now()")
	w.exec(t, "DELETE FROM turns")
	must(t, w.remember(t.Context()))
	equal(t, "approval", w.told(t, id).GetApproval(), "awaiting")
	equal(t, "heard again", w.heard(t, "optimization_waiting", "approval"), 2)
	rejected, err := w.Reject(t.Context(), w.deciding(id, "not this week"))
	must(t, err)
	equal(t, "rejected", rejected.GetStatus()+" "+rejected.GetApproval(), "cancelled rejected")
	mentions(t, rejected.GetErrorMessage(), "rejected by operator:2", "not this week")
	_, err = w.Approve(t.Context(), w.deciding(id, "after all"))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, err = w.Reject(t.Context(), Deciding{ID: uuid.New(), Actor: "a", Reason: "r"})
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	equal(t, "alive", w.alive(), untouched)
}

func (w *world) exec(t *testing.T, sql string) {
	t.Helper()
	_, err := w.db.Pool.Exec(t.Context(), sql)
	must(t, err)
}

func TestAPlanThatNobodyDecidesUponExpires(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	w.exec(t, "UPDATE optimization_history SET expires_at = now()")
	must(t, w.remember(t.Context()))
	told := w.told(t, id)
	equal(t, "expired", told.GetStatus()+" "+told.GetApproval(), "cancelled expired")
	equal(t, "decided", w.heard(t, "optimization_decided", "expired"), 1)
	equal(t, "waits", told.GetWaitingFor() == nil, true)
}

func TestANewerPlanTakesThePlaceOfOneThatWaitsAndNoneBlocksAnother(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	first := w.start(t)
	w.waits(t, first, "approval")
	other := w.startOf(t, "bin_pack")
	w.waits(t, other, "approval")
	second := w.start(t)
	w.waits(t, second, "approval")
	equal(t, "first", w.told(t, first).GetStatus()+" "+w.told(t, first).GetApproval(), "cancelled superseded")
	equal(t, "of another kind", w.told(t, other).GetApproval(), "awaiting")
	_, err := w.Approve(t.Context(), w.deciding(second, ""))
	must(t, err)
	_, err = w.Approve(t.Context(), w.deciding(other, ""))
	wantReason(t, err, faultv1.Reason_REASON_OPTIMIZATION_RUNNING)
	equal(t, "still", w.told(t, other).GetApproval(), "awaiting")
	equal(t, "second", w.story(t, second).GetStatus(), "completed")
}

func TestBelowModeApproveNothingIsStarted(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Recommend)
	id := w.start(t)
	for range 5 {
		w.turn(t, id)
	}
	told := w.told(t, id)
	equal(t, "recommended", told.GetStatus()+" "+told.GetApproval(), "pending recommended")
	_, err := w.Approve(t.Context(), w.deciding(id, ""))
	wantReason(t, err, faultv1.Reason_REASON_NOT_ALLOWED_BY_POLICY)
	w.mode(t, guard.ReadOnly)
	dry := w.story(t, w.start(t))
	equal(t, "read only", dry.GetStatus()+" "+dry.GetApproval(), "completed not_needed")
	equal(t, "dry", dry.GetDryRun(), true)
	equal(t, "estimated", dry.GetEstimatedSavings(), 100)
	equal(t, "alive", w.alive(), untouched)
	equal(t, "done", len(w.done), 0)
	listed, _, err := w.Store.Optimizations(t.Context(), store.OptimizationFilter{}, store.Page{Limit: 10})
	must(t, err)
	equal(t, "listed", len(listed), 1)
}

func TestAnApprovalIsRefusedWhileAStopHoldsOrTheModeForbidsIt(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	lift := w.stop(t)
	_, err := w.Approve(t.Context(), w.deciding(id, ""))
	wantReason(t, err, faultv1.Reason_REASON_STOPPED)
	lift()
	w.mode(t, guard.ReadOnly)
	_, err = w.Approve(t.Context(), w.deciding(id, ""))
	wantReason(t, err, faultv1.Reason_REASON_NOT_ALLOWED_BY_POLICY)
	equal(t, "alive", w.alive(), untouched)
}

func TestAStopHoldsTheStoryAndCostsItNoPatience(t *testing.T) {
	w := newWorld(t)
	lift := w.stop(t)
	id := w.start(t)
	told := w.waits(t, id, "stop")
	mentions(t, told.GetWaitingFor().GetMessage(), "an incident")
	equal(t, "status", told.GetStatus(), "pending")
	w.age(t, id)
	w.exec(t, "UPDATE optimization_history SET waiting_since = now() - interval '3 days'")
	for range 3 {
		w.turn(t, id)
	}
	equal(t, "after three days", w.told(t, id).GetStatus(), "pending")
	equal(t, "told once", w.heard(t, "optimization_waiting", "stop"), 1)
	equal(t, "alive", w.alive(), untouched)
	lift()
	done := w.story(t, id)
	equal(t, "status", done.GetStatus()+done.GetErrorMessage(), "completed")
	equal(t, "waits", done.GetWaitingFor() == nil, true)
}

func TestAStopBreaksOffDrainsWhichAreDoneAgainWhenItIsLifted(t *testing.T) {
	w := newWorld(t)
	w.slow["drain_node old-1"] = true
	id := w.start(t)
	stop := time.Now().Add(20 * time.Second)
	for w.did("drain_node old-1") == 0 && time.Now().Before(stop) {
		w.turn(t, id)
	}
	lift := w.stop(t)
	w.waits(t, id, "stop")
	for range 5 {
		w.turn(t, id)
	}
	told := w.told(t, id)
	equal(t, "nodes", told.GetNodes()[0].GetStatus()+" "+told.GetNodes()[1].GetStatus(), "pending pending")
	equal(t, "open at the agent", len(w.open), 0)
	equal(t, "drained meanwhile", w.did("drain_node old-1")+w.did("drain_node old-2"), 1)
	equal(t, "pods", w.pods["p1"]+" "+w.pods["p2"], "old-1 old-2")
	delete(w.slow, "drain_node old-1")
	lift()
	done := w.story(t, id)
	equal(t, "status", done.GetStatus()+done.GetErrorMessage(), "completed")
	equal(t, "alive", w.alive(), "i-0002 spot")
	equal(t, "cordoned again", w.did("cordon_node old-1"), 2)
	equal(t, "the other once", w.did("cordon_node old-2"), 1)
}

func TestARollbackGoesOnWhileAStopHolds(t *testing.T) {
	w := newWorld(t)
	w.fails["drain_node old-1"], w.fails["drain_node old-2"] = "blocked", "blocked"
	id := w.start(t)
	w.until(t, id, "rollback")
	w.stop(t)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus(), "failed")
	mentions(t, stepsOf(done), "rollback completed")
	equal(t, "alive", w.alive(), untouched)
	var causes string
	must(t, w.db.Pool.QueryRow(t.Context(), `SELECT string_agg(DISTINCT task_type || ' ' || cause, ', ' ORDER BY task_type || ' ' || cause) FROM tasks`).Scan(&causes))
	equal(t, "causes", causes, "cordon_node optimization, drain_node optimization, drain_node undo, label_node optimization, uncordon_node undo")
}

func TestARunningOptimizationIsCancelledAndRolledBack(t *testing.T) {
	w := newWorld(t)
	w.slow["drain_node old-1"] = true
	id := w.start(t)
	stop := time.Now().Add(20 * time.Second)
	for w.did("drain_node old-1") == 0 && time.Now().Before(stop) {
		w.turn(t, id)
	}
	_, err := w.Cancel(t.Context(), w.deciding(id, "changed my mind"))
	must(t, err)
	_, err = w.Cancel(t.Context(), w.deciding(id, "again"))
	must(t, err)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus(), "cancelled")
	mentions(t, done.GetErrorMessage(), "cancelled by operator:2: changed my mind")
	mentions(t, stepsOf(done), "drain failed", "terminate skipped", "rollback completed")
	equal(t, "alive", w.alive(), untouched)
	equal(t, "given back", w.did("uncordon_node old-1")*10+w.did("uncordon_node old-2"), 11)
	equal(t, "pods", w.pods["p1"]+" "+w.pods["p2"], "old-1 old-2")
	_, err = w.Approve(t.Context(), w.deciding(id, ""))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	delete(w.slow, "drain_node old-1")
	equal(t, "the next may run", w.story(t, w.start(t)).GetStatus(), "completed")
}

func TestWhatIsCancelledBeforeItChangedAnythingSimplyEnds(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	_, err := w.Cancel(t.Context(), w.deciding(id, "no"))
	must(t, err)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus(), "cancelled")
	equal(t, "alive", w.alive(), untouched)
	_, err = w.Cancel(t.Context(), w.deciding(id, "no"))
	must(t, err)
	w.mode(t, guard.Approve)
	waits := w.start(t)
	w.waits(t, waits, "approval")
	dropped, err := w.Cancel(t.Context(), w.deciding(waits, "no"))
	must(t, err)
	equal(t, "a plan that waits", dropped.GetStatus()+" "+dropped.GetApproval(), "cancelled rejected")
	w.mode(t, guard.Automatic)
	ended := w.start(t)
	w.story(t, ended)
	_, err = w.Cancel(t.Context(), w.deciding(ended, "no"))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
}

func TestAStaleStateHoldsTheStoryWithoutCostingPatience(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{StaleAfterSeconds: proto.Int32(10)})
	id := w.start(t)
	w.until(t, id, "label")
	w.exec(t, "UPDATE clusters SET last_seen_at = now() - interval '11 seconds'")
	story, err := w.Store.Story(t.Context(), id)
	must(t, err)
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: story.Generation})
	w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: story.Generation})
	equal(t, "waits for", w.told(t, id).GetWaitingFor().GetCode(), "stale_state")
	equal(t, "touched", w.did("cordon_node old-1"), 0)
	equal(t, "status", w.story(t, id).GetStatus(), "completed") // it reports again
}

func TestOutsideOfItsWindowsAPlanWaitsUntilTheyOpen(t *testing.T) {
	w := newWorld(t)
	deny := &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{{
		Effect: "deny", Reason: "month-end closing",
		During: &adminv1.DisruptionSpan{TimeZone: "UTC", LastDate: time.Now().UTC().Format(time.DateOnly)},
	}}}}
	w.mode(t, guard.Automatic, deny)
	id := w.start(t)
	told := w.waits(t, id, "window")
	mentions(t, told.GetWaitingFor().GetMessage(), "month-end closing")
	if until := told.GetWaitingFor().GetUntil().AsTime(); until.Before(time.Now()) || time.Until(until) > 24*time.Hour {
		t.Errorf("until %v, want the end of the day", until)
	}
	equal(t, "alive", w.alive(), untouched)
	w.mode(t, guard.Automatic)
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
}

func TestABudgetBoundsHowManyDrainsBeginWithinAnHour(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{NodesPerHour: 1}}}})
	id := w.start(t)
	told := w.waits(t, id, "budget")
	equal(t, "drained", w.did("drain_node old-1")*10+w.did("drain_node old-2"), 10)
	if until := time.Until(told.GetWaitingFor().GetUntil().AsTime()); until < 58*time.Minute || until > time.Hour {
		t.Errorf("waits %v, want an hour from the first drain", until)
	}
	w.exec(t, "UPDATE optimization_nodes SET drain_began_at = drain_began_at - interval '61 minutes'")
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
}

func TestWhatAStoryWaitsForMayChangeAndCostsItNoPatience(t *testing.T) {
	w := newWorld(t)
	lift := w.stop(t)
	id := w.start(t)
	w.waits(t, id, "stop")
	w.age(t, id)
	w.exec(t, "UPDATE optimization_history SET waiting_since = now() - interval '3 days'")
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{Windows: &adminv1.DisruptionWindows{Windows: []*adminv1.DisruptionWindow{{
		Effect: "deny", During: &adminv1.DisruptionSpan{TimeZone: "UTC", LastDate: time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)},
	}}}})
	lift()
	w.waits(t, id, "window")
	for range 3 {
		w.turn(t, id)
	}
	equal(t, "after three days of a stop and some of a window", w.told(t, id).GetStatus(), "pending")
	w.mode(t, guard.Automatic)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus()+done.GetErrorMessage(), "completed")
}

func TestAPlanThatStoodStillForHoursAmidItsDrainsLeavesTheRest(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{NodesPerHour: 1}}}})
	id := w.start(t)
	w.waits(t, id, "budget")
	lift := w.stop(t)
	w.waits(t, id, "stop")
	w.exec(t, "UPDATE optimization_nodes SET drain_began_at = drain_began_at - interval '61 minutes'")
	w.exec(t, "UPDATE optimization_history SET waiting_since = now() - interval '121 minutes'")
	lift()
	done := w.story(t, id)
	equal(t, "status", done.GetStatus(), "completed")
	mentions(t, done.GetErrorMessage(), "the plan stood still for 2h1m0s (stop): what it had not begun is left to a newer one")
	equal(t, "drained", w.did("drain_node old-1")+w.did("drain_node old-2"), 1)
	equal(t, "schedulable again", w.did("uncordon_node old-1")+w.did("uncordon_node old-2"), 1)
}

func TestABudgetOfNoneLetsNothingBeDrained(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Automatic, &adminv1.PolicyValues{Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{Nodes: "0"}}}})
	id := w.start(t)
	w.waits(t, id, "budget")
	equal(t, "drained", w.did("drain_node old-1")+w.did("drain_node old-2"), 0)
}

func TestAModeThatIsLoweredHoldsWhatRuns(t *testing.T) {
	w := newWorld(t)
	id := w.start(t)
	w.until(t, id, "label")
	w.mode(t, guard.Approve)
	told := w.waits(t, id, "mode")
	mentions(t, told.GetWaitingFor().GetMessage(), "nobody approved")
	equal(t, "drained", w.did("drain_node old-1"), 0)
	w.mode(t, guard.Automatic)
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
}

func TestAPlanThatNeedsApprovalByNowAwaitsIt(t *testing.T) {
	w := newWorld(t)
	lift := w.stop(t)
	id := w.start(t)
	w.waits(t, id, "stop")
	w.mode(t, guard.Approve)
	lift()
	told := w.waits(t, id, "approval")
	equal(t, "approval", told.GetStatus()+" "+told.GetApproval(), "pending awaiting")
	_, err := w.Approve(t.Context(), w.deciding(id, ""))
	must(t, err)
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
}

// smaller takes away one node alone, for less.
func smaller(*mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
	return &mlv1.DecisionResponse{EstimatedSavings: 40, ExecutionPlan: []*mlv1.ExecutionStep{drainStep("old-1")}}, nil
}

func TestAnApprovedPlanThatTheClusterHasOutgrownAwaitsApprovalAnewIfItPromisesLess(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	first := w.waits(t, id, "approval")
	w.pinned["p2"] = true
	must(t, w.report(t.Context()))
	w.decide = smaller
	_, err := w.Approve(t.Context(), w.deciding(id, ""))
	must(t, err)
	told := w.waits(t, id, "approval")
	equal(t, "approval", told.GetStatus()+" "+told.GetApproval(), "pending awaiting")
	mentions(t, told.GetWaitingFor().GetMessage(), "no longer fits the cluster", "saved 100.00", "this one saves 40.00")
	if told.GetEtag() == first.GetEtag() {
		t.Error("another plan has the same etag")
	}
	equal(t, "nodes", len(told.GetNodes()), 1)
	equal(t, "alive", w.alive(), untouched)
	_, err = w.Approve(t.Context(), Deciding{ID: id, Actor: "o", Etag: first.GetEtag()})
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, err = w.Approve(t.Context(), Deciding{ID: id, Actor: "o", Etag: told.GetEtag()})
	must(t, err)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus()+done.GetErrorMessage(), "completed")
	equal(t, "alive", w.alive(), "i-old-2 on-demand")
}

func TestAnApprovedPlanThatIsMadeAnewRunsIfItKeepsItsPromise(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	w.pinned["p2"] = true
	must(t, w.report(t.Context()))
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		decision, err := smaller(req)
		decision.EstimatedSavings = 100
		return decision, err
	}
	_, err := w.Approve(t.Context(), w.deciding(id, ""))
	must(t, err)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus()+" "+done.GetApproval(), "completed approved")
	equal(t, "alive", w.alive(), "i-old-2 on-demand")
	equal(t, "launched", len(w.ec2.Calls("RunInstances")), 0)
}

func TestAPlanThatTheClusterOutgrowsAgainAndAgainFails(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	w.pinned["p2"] = true
	must(t, w.report(t.Context()))
	_, err := w.Approve(t.Context(), w.deciding(id, ""))
	must(t, err)
	done := w.story(t, id)
	equal(t, "status", done.GetStatus(), "failed")
	mentions(t, done.GetErrorMessage(), "outgrown", "made anew 3 times")
	equal(t, "alive", w.alive(), untouched)
}

// The replica that took the approval dies before its job begins.
func TestAnApprovalWhoseJobIsLostIsCarriedOutOnce(t *testing.T) {
	w := newWorld(t)
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	w.exec(t, "UPDATE optimization_history SET wake_at = now() - interval '1 hour'")
	must(t, w.adopt(t.Context()))
	story, err := w.Store.Story(t.Context(), id)
	must(t, err)
	equal(t, "nobody adopts what awaits approval", story.Generation, 1)
	_, err = w.Approve(t.Context(), w.deciding(id, ""))
	must(t, err)
	w.exec(t, "DELETE FROM river_job")
	w.exec(t, "UPDATE optimization_history SET wake_at = now() - interval '1 hour'")
	must(t, w.adopt(t.Context()))
	story, err = w.Store.Story(t.Context(), id)
	must(t, err)
	equal(t, "generation", story.Generation, 3)
	equal(t, "the lost job does nothing", w.carryOn(t.Context(), storyJob{OptimizationID: id, Generation: 2}), 0)
	equal(t, "alive", w.alive(), untouched)
	equal(t, "status", w.story(t, id).GetStatus(), "completed")
	equal(t, "launched", len(w.ec2.Calls("RunInstances")), 1)
}

func TestPodsOfANamespaceWithALowerModeArePinned(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "web", &adminv1.PolicyValues{Mode: proto.String(guard.Approve)})
	var asked []string
	w.decide = func(req *mlv1.DecisionRequest) (*mlv1.DecisionResponse, error) {
		for _, pod := range req.GetCurrentState().GetPods() {
			asked = append(asked, pod.GetDoNotDisrupt())
		}
		return swap(req)
	}
	told := w.story(t, w.start(t))
	equal(t, "pinned", strings.Join(asked, ", "), "policy: mode approve in namespace web, policy: mode approve in namespace web")
	mentions(t, told.GetErrorMessage(), "no node could be drained", "pod_do_not_disrupt")
	equal(t, "alive", w.alive(), untouched)
	asked = nil
	w.mode(t, guard.Approve)
	id := w.start(t)
	w.waits(t, id, "approval")
	equal(t, "a person may let it run", strings.Join(asked, ", "), ", ")
	w.policy(t, "web", &adminv1.PolicyValues{Mode: proto.String(guard.ReadOnly)})
	asked = nil
	w.waits(t, w.start(t), "approval")
	mentions(t, strings.Join(asked, ", "), "mode read_only")
}

func TestADryRunLaunchesNothing(t *testing.T) {
	w := newWorld(t)
	running := w.start(t) // which does not keep it from being planned
	dry, err := w.Trigger(t.Context(), noCustomer, "operator:1", &adminv1.TriggerOptimizationRequest{
		ClusterId: w.cluster.String(), OptimizationType: "spot_optimize", DryRun: true, Reason: "to see",
	})
	must(t, err)
	told := w.story(t, uuid.MustParse(dry.GetOptimizationId()))
	equal(t, "status", told.GetStatus()+" "+told.GetApproval()+" "+told.GetReason(), "completed not_needed to see")
	mentions(t, stepsOf(told), "decide completed, launch skipped")
	equal(t, "nodes", len(told.GetNodes()), 2)
	equal(t, "launched", len(told.GetLaunched())+len(w.ec2.Calls("RunInstances")), 0)
	equal(t, "the other", w.story(t, running).GetStatus(), "completed")
}
