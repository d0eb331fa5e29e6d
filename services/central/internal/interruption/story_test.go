package interruption

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/workid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud/ec2test"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func recommend(kind, zone, nodeType string) func(*mlv1.DecisionRequest) []*mlv1.Recommendation {
	return func(*mlv1.DecisionRequest) []*mlv1.Recommendation {
		return []*mlv1.Recommendation{{InstanceType: kind, AvailabilityZone: zone, NodeType: nodeType, NodeCount: 1}}
	}
}

func TestAWarnedNodeIsDrainedReplacedAndEnded(t *testing.T) {
	w := newWorld(t)
	w.decide = recommend("c5.large", "us-east-1a", "on-demand")
	equal(t, "verdict", w.take(t, warning("i-0000", "terminate"))[0], listen.Taken)

	row := w.row(t, "i-0000")
	equal(t, "state", row.State+" "+row.Replacement, "draining pending")
	equal(t, "task", row.DrainTask.UUID, workid.InterruptionDrain(w.cluster, "i-0000", 0))
	p, left := w.drainOf(t, "i-0000")
	if !p.GetForce() || p.GetNodeName() != "n0" || p.GetInstanceId() != "i-0000" {
		t.Errorf("drained with %v", p)
	}
	within(t, "deadline", left, 90*time.Second, notice.Lead)

	row = w.replaces(t, "i-0000")
	equal(t, "replacement", row.Replacement+" "+row.ReplacementPool, "launched c5.large/us-east-1a/on-demand")
	equal(t, "launched", strings.Join(w.launched(), ","), "c5.large subnet-a on-demand")
	w.follows(t, "i-0000")
	equal(t, "while the task runs", w.row(t, "i-0000").State, "draining")
	w.drains(t, "i-0000", "success", map[string]any{"phase": "drained", "forced": 1})
	w.follows(t, "i-0000") // drained
	w.follows(t, "i-0000") // ended
	equal(t, "calls to end it", w.ec2.Calls("TerminateInstances")[0].Get("InstanceId.1"), "i-0000")
	w.take(t, stateChange("i-0000", "shutting-down", began.Add(time.Minute)), stateChange("i-0000", "terminated", began.Add(2*time.Minute)))
	equal(t, "state", w.row(t, "i-0000").State, "gone")

	w.leaves(t, "n0")
	w.follows(t, "i-0000")
	equal(t, "open until the replacement has joined", w.row(t, "i-0000").Open(), true)
	w.node("n2", row.ReplacementInstance, "on-demand")
	w.report(t)
	w.follows(t, "i-0000")
	w.follows(t, "i-0000")
	row = w.row(t, "i-0000")
	equal(t, "open", row.Open(), false)
	equal(t, "labelled", w.count(t, "SELECT count(*) FROM tasks WHERE task_type = 'label_node' AND parameters->>'node_name' = 'n2'"), 1)

	equal(t, "events", len(w.events(t)), 3)
	for _, event := range w.events(t) {
		equal(t, "action", event.GetActionTaken(), "drained_forced, replacement_launched, terminated, gone")
		equal(t, "replacement", event.GetReplacementInstanceId(), row.ReplacementInstance)
		equal(t, "whose", event.GetClusterId()+event.GetNodeName()+event.GetAvailabilityZone(), w.cluster.String()+"n0us-east-1a")
	}
	news := w.news(t)
	if last := news[len(news)-1]; last.GetType() != "spot_event" || last.GetSpotEvent().GetEventType() != notice.InterruptionWarning ||
		last.GetSpotEvent().GetReplacementInstanceId() == "" || last.GetStatus() != "gone" {
		t.Errorf("the dashboards heard last: %v", last)
	}
	for _, action := range []string{"heard", "replacement_launched", "drain_forced", "terminated", "closed"} {
		if w.count(t, "SELECT count(*) FROM audit_log WHERE action = $1", "interruption."+action) == 0 {
			t.Errorf("the audit log does not tell of %s", action)
		}
	}
}

func TestF1TheSameWarningManyTimesAndToTwoReplicasIsOneDrainAndOneLaunch(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	fresh := make(chan listen.Verdict, 40)
	for k := range 20 {
		service := w.Service
		if k%2 == 1 {
			service = w.other
		}
		all.Go(func() {
			verdicts, err := service.Take(t.Context(), w.queue, []notice.Notice{warning("i-0000", "terminate"), warning("i-0000", "terminate")})
			if err != nil {
				t.Error(err)
			}
			for _, v := range verdicts {
				fresh <- v
			}
		})
	}
	all.Wait()
	close(fresh)
	taken := 0
	for v := range fresh {
		if v == listen.Taken {
			taken++
		}
	}
	id := w.row(t, "i-0000").ID
	for k := range 6 { // both replicas' jobs
		all.Go(func() { []*Service{w.Service, w.other}[k%2].replaceNow(t.Context(), id) })
	}
	all.Wait()
	equal(t, "taken", taken, 1)
	equal(t, "interruptions", w.count(t, "SELECT count(*) FROM interruptions"), 1)
	equal(t, "tasks", w.count(t, "SELECT count(*) FROM tasks"), 1)
	equal(t, "events", len(w.events(t)), 1)
	equal(t, "jobs", w.count(t, "SELECT count(*) FROM river_job WHERE kind = 'interruption_replacement'"), 1)
	equal(t, "launched", len(w.launched()), 1)
	// After the visibility has run out, much later.
	equal(t, "again", w.take(t, warning("i-0000", "terminate"))[0], listen.Duplicate)
	equal(t, "tasks then", w.count(t, "SELECT count(*) FROM tasks"), 1)
}

func TestF7OnlyWhatIsProvenToBeOursIsTaken(t *testing.T) {
	w := newWorld(t)
	_, rival := w.tenant(t, "rival")
	put := func(id string, age time.Duration, tags map[string]string) {
		w.ec2.Put(ec2test.Instance{ID: id, State: "running", LaunchedAt: time.Now().Add(-age), Tags: tags})
	}
	put("i-new", time.Second, map[string]string{"kubernetes.io/cluster/acme": "owned"})
	put("i-eks", time.Second, map[string]string{"aws:eks:cluster-name": "acme"})
	put("i-tag", time.Second, map[string]string{"cloudoptim:cluster-id": w.cluster.String()})
	put("i-late", time.Hour, map[string]string{"kubernetes.io/cluster/acme": "owned"})
	put("i-rival", time.Second, map[string]string{"kubernetes.io/cluster/rival": "owned", "cloudoptim:cluster-id": rival.String()})
	put("i-bare", time.Second, nil)
	want := map[string]listen.Verdict{
		"i-new": listen.Joining, "i-eks": listen.Joining, "i-tag": listen.Joining, "i-late": listen.Taken,
		"i-rival": listen.Foreign, "i-bare": listen.Foreign, "i-unheard": listen.Foreign, "i-0000": listen.Taken,
	}
	for _, shared := range []bool{false, true} {
		w.queue.Shared = shared
		var notices []notice.Notice
		for id := range want {
			notices = append(notices, warning(id, "terminate"))
		}
		for k, v := range w.take(t, notices...) {
			expect := want[notices[k].InstanceID]
			if shared && expect == listen.Taken {
				expect = listen.Duplicate
			}
			equal(t, notices[k].InstanceID, v, expect)
		}
	}
	equal(t, "interruptions", w.count(t, "SELECT count(*) FROM interruptions"), 1)
	equal(t, "events", len(w.events(t)), 2)
	equal(t, "questions to EC2", len(w.ec2.Calls("DescribeInstances")), 2) // one for all of them, and again without those that EC2 refused it for
	equal(t, "what never joined", w.count(t, "SELECT count(*) FROM spot_events WHERE instance_id = 'i-late' AND action_taken = 'recorded' AND interruption_id IS NULL"), 1)

	// A queue of our own, and EC2 does not answer: nothing may be lost.
	w.queue.Shared = false
	w.ec2.Refuse("DescribeInstances", "UnauthorizedOperation")
	equal(t, "unknown while EC2 is silent", w.take(t, warning("i-another", "terminate"))[0], listen.Joining)
}

func TestF13ANodeThatHasLeftIsOnlyNoted(t *testing.T) {
	w := newWorld(t)
	w.leaves(t, "n0")
	equal(t, "verdict", w.take(t, warning("i-0000", "terminate"))[0], listen.Taken)
	equal(t, "interruptions", w.count(t, "SELECT count(*) FROM interruptions"), 0)
	equal(t, "tasks", w.count(t, "SELECT count(*) FROM tasks"), 0)
	equal(t, "action", w.events(t)[0].GetActionTaken(), "recorded")
}

func TestTheQueueAndTheInstanceItselfTellOfOneInterruption(t *testing.T) {
	for name, imdsFirst := range map[string]bool{"the queue first": false, "the instance first": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			own := workid.InterruptionDrain(w.cluster, "i-0000", 0)
			fromNode := func() {
				for range 3 { // until it is acknowledged
					must(t, w.Notice(t.Context(), w.cluster, &fleetv1.NodeNotice{
						NoticeId: "n", EventType: notice.InterruptionWarning, NodeName: "n0", InstanceId: "i-0000", Action: "terminate",
						ActionTime: timestamppb.New(began.Add(notice.Lead)), RemainingSeconds: time.Until(began.Add(notice.Lead)).Seconds(),
						NoticedAt: timestamppb.Now(), TaskId: own.String(),
					}))
				}
			}
			if imdsFirst {
				fromNode()
			}
			w.take(t, warning("i-0000", "terminate"))
			if !imdsFirst {
				fromNode()
			}
			row := w.row(t, "i-0000")
			equal(t, "sources", strings.Join(row.Sources, ","), "imds,sqs")
			equal(t, "task", row.DrainTask.UUID, own)
			equal(t, "interruptions", w.count(t, "SELECT count(*) FROM interruptions"), 1)
			equal(t, "tasks", w.count(t, "SELECT count(*) FROM tasks"), 1)
			events := w.events(t)
			equal(t, "events", len(events), 1)
			equal(t, "sources of the event", len(events[0].GetMetadata().AsMap()["sources"].([]any)), 2)
		})
	}
}

func TestADrainThatTheAgentNumberedItselfIsTheDrain(t *testing.T) {
	w := newWorld(t)
	own := workid.InterruptionDrain(w.cluster, "i-0000", 3)
	must(t, w.Notice(t.Context(), w.cluster, &fleetv1.NodeNotice{
		NoticeId: "n", EventType: notice.InterruptionWarning, NodeName: "n0", InstanceId: "i-0000", Action: "terminate", TaskId: own.String(),
	}))
	equal(t, "task", w.row(t, "i-0000").DrainTask.UUID, own)
	must(t, w.Notice(t.Context(), w.cluster, &fleetv1.NodeNotice{ // of a node that the inventory does not have yet
		NoticeId: "m", EventType: notice.InterruptionWarning, NodeName: "n9", InstanceId: "i-0009", Action: "terminate", TaskId: uuid.NewString(),
	}))
	equal(t, "task of another name", w.row(t, "i-0009").DrainTask.UUID, workid.InterruptionDrain(w.cluster, "i-0009", 0))
}

func TestF12HibernationHasNoLeadAndAStoppedInstanceIsNotEnded(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "hibernate"), warning("i-0001", "stop"))
	p, left := w.drainOf(t, "i-0000")
	within(t, "hibernation", left, 5*time.Second, short)
	if !p.GetForce() || p.GetGracePeriod() == 0 {
		t.Errorf("drained with %v", p)
	}
	_, left = w.drainOf(t, "i-0001")
	within(t, "stop", left, 90*time.Second, notice.Lead)
	for _, id := range []string{"i-0000", "i-0001"} {
		w.drains(t, id, "success", nil)
		for range 3 {
			w.follows(t, id)
		}
		equal(t, "state of "+id, w.row(t, id).State, "drained")
	}
	equal(t, "instances ended", len(w.ec2.Calls("TerminateInstances")), 0)
}

func TestAnInstanceThatEndsWithoutAWarningIsDrainedAtOnceAndShort(t *testing.T) {
	w := newWorld(t)
	w.take(t, stateChange("i-0000", "shutting-down", time.Now()))
	p, left := w.drainOf(t, "i-0000")
	within(t, "deadline", left, 5*time.Second, short)
	if !p.GetForce() || p.GetGracePeriod() != 1 {
		t.Errorf("drained with %v", p)
	}
	equal(t, "replacement", w.replaces(t, "i-0000").Replacement, "launched")
}

func TestACapacityReservationsWarningIsLikeASpotWarning(t *testing.T) {
	w := newWorld(t)
	n := warning("i-0001", "terminate")
	n.Type, n.Deadline = notice.CapacityReservation, time.Now().Add(time.Minute)
	w.take(t, n)
	p, left := w.drainOf(t, "i-0001")
	within(t, "deadline", left, 50*time.Second, time.Minute)
	equal(t, "force", p.GetForce(), true)
	equal(t, "type", w.events(t)[0].GetEventType(), notice.CapacityReservation)
}

func TestARebalanceRecommendationIsOnlyARisk(t *testing.T) {
	w := newWorld(t)
	w.take(t, rebalance("i-0000"))
	w.follows(t, "i-0000")
	row := w.row(t, "i-0000")
	equal(t, "state", row.State+row.Replacement, "at_risk")
	equal(t, "tasks", w.count(t, "SELECT count(*) FROM tasks"), 0)
	equal(t, "action", w.events(t)[0].GetActionTaken()+w.events(t)[0].GetState(), "at_riskat_risk")
	w.exec(t, "UPDATE interruptions SET opened_at = now() - interval '25 hours'")
	w.follows(t, "i-0000")
	equal(t, "after a day", w.row(t, "i-0000").State, "dismissed")
	again := warning("i-0000", "terminate")
	again.SaidAt, again.Deadline = time.Now().Add(time.Second), time.Now().Add(notice.Lead)
	w.take(t, again)
	equal(t, "warned after that", w.row(t, "i-0000").State, "draining")

	w.Policy.ActOnRebalance = true
	w.take(t, rebalance("i-0001"))
	equal(t, "when it shall be acted on", w.row(t, "i-0001").Replacement, "pending")
}

func TestAPlannedChangeIsReplacedFirstAndDrainedGently(t *testing.T) {
	w := newWorld(t)
	planned := notice.Notice{
		Key: "health/arn/i-0000/x", Type: notice.ScheduledChange, InstanceID: "i-0000", Region: "us-east-1", SaidAt: time.Now(),
		Deadline: time.Now().Add(48 * time.Hour), Source: notice.FromSQS,
	}
	w.take(t, planned)
	w.follows(t, "i-0000")
	equal(t, "before the replacement", w.row(t, "i-0000").State, "at_risk")
	instance := w.replaces(t, "i-0000").ReplacementInstance
	w.follows(t, "i-0000")
	equal(t, "before it has joined", w.row(t, "i-0000").State, "at_risk")
	w.node("n2", instance, "on-demand")
	w.report(t)
	w.follows(t, "i-0000")
	equal(t, "then", w.row(t, "i-0000").State, "draining")
	p, left := w.drainOf(t, "i-0000")
	equal(t, "force", p.GetForce(), false)
	within(t, "deadline", left, 23*time.Hour, 24*time.Hour)

	// A warning comes while the gentle drain is held: a harder one takes over.
	w.take(t, warning("i-0000", "terminate"))
	equal(t, "the harder drain", w.row(t, "i-0000").DrainTask.UUID, workid.InterruptionDrain(w.cluster, "i-0000", 1))
	p, _ = w.drainOf(t, "i-0000")
	equal(t, "force then", p.GetForce(), true)
	w.replaces(t, "i-0000")
	equal(t, "launched", len(w.launched()), 1)
}

func TestABlockedDrainKeepsItsNodeAndNamesTheBudget(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	w.drains(t, "i-0000", "timeout", map[string]any{
		"phase": "blocked", "blocked": 1, "pods": []any{map[string]any{"namespace": "web", "name": "p0", "state": "blocked", "reason": "pdb web/api"}},
	})
	for range 3 {
		w.follows(t, "i-0000")
	}
	row := w.row(t, "i-0000")
	equal(t, "state", row.State+" "+row.DrainOutcome, "draining blocked")
	equal(t, "what holds it", row.DrainError, "web/p0: pdb web/api")
	equal(t, "ended", len(w.ec2.Calls("TerminateInstances")), 0)
	if got := w.events(t)[0].GetActionTaken(); !strings.HasPrefix(got, "drain_blocked") {
		t.Errorf("action %q", got)
	}
	w.take(t, stateChange("i-0000", "terminated", time.Now()))
	equal(t, "when AWS has acted", w.row(t, "i-0000").State, "gone")
}

func TestANodeWithAPodOnItIsNotEndedWhateverTheAgentSaid(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	w.drains(t, "i-0000", "success", nil)
	w.pod("late", "n0")
	w.report(t)
	w.follows(t, "i-0000")
	equal(t, "at first the inventory may be behind", w.row(t, "i-0000").State, "draining")
	w.exec(t, "UPDATE interruptions SET drained_at = now() - interval '1 minute'")
	w.follows(t, "i-0000")
	row := w.row(t, "i-0000")
	equal(t, "then", row.State+" "+row.DrainOutcome+" "+row.DrainError, "draining failed pod web/late came after the drain")
	equal(t, "ended", len(w.ec2.Calls("TerminateInstances")), 0)
}

func TestAnInventoryThatIsBehindDoesNotOutweighWhatTheDrainSawGo(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "terminate"))
	// The agent polls: its result is there, the inventory is of a minute ago.
	w.drains(t, "i-0000", "success", map[string]any{"phase": "drained", "evicted": 1, "pods": []any{
		map[string]any{"namespace": "web", "name": "p0", "uid": "p0", "state": "gone"},
	}})
	w.pod("p0", "n0")
	w.report(t)
	w.follows(t, "i-0000")
	row := w.row(t, "i-0000")
	equal(t, "state", row.State+" "+row.DrainOutcome, "drained drained")
	w.pod("late", "n0")
	w.report(t)
	w.follows(t, "i-0000")
	equal(t, "ended with a new pod on it", len(w.ec2.Calls("TerminateInstances")), 0)
}

func TestWhatAnOptimizationEndsIsNoInterruption(t *testing.T) {
	w := newWorld(t)
	w.exec(t, `WITH o AS (INSERT INTO optimization_history (cluster_id, optimization_type, status) VALUES ($1, 'spot_optimize', 'executing') RETURNING optimization_id)
		INSERT INTO optimization_nodes (optimization_id, position, node_name, instance_id, status) SELECT optimization_id, 0, 'n0', 'i-0000', 'terminated' FROM o`, w.cluster)
	w.take(t, stateChange("i-0000", "shutting-down", time.Now()), stateChange("i-0000", "terminated", time.Now()))
	equal(t, "interruptions", w.count(t, "SELECT count(*) FROM interruptions"), 0)
	equal(t, "action", w.events(t)[0].GetActionTaken(), "ended_by_optimization")
	equal(t, "events", len(w.events(t)), 2)
	equal(t, "jobs", w.count(t, "SELECT count(*) FROM river_job"), 0)
}

func TestAGroupIsKeptWaitingWhileTheNodeDrainsAndThenLetGo(t *testing.T) {
	w := newWorld(t)
	hook := notice.Notice{
		Key: "asg/token-1", Type: notice.LifecycleAction, InstanceID: "i-0000", Region: "us-east-1", Action: "terminate", SaidAt: time.Now(), Source: notice.FromSQS,
		Hook: &notice.Hook{Group: "workers", Name: "drain", Token: "token-1", InstanceID: "i-0000"},
	}
	w.take(t, hook)
	equal(t, "replacement", w.row(t, "i-0000").ReplacementNote, leftToGroup)
	w.follows(t, "i-0000")
	w.follows(t, "i-0000")
	equal(t, "heartbeats at once", len(w.ec2.Calls("RecordLifecycleActionHeartbeat")), 1)
	w.exec(t, "UPDATE interruptions SET hook_beat_at = now() - interval '13 seconds'")
	if _, err := w.other.follow(t.Context(), w.row(t, "i-0000").ID); err != nil { // the first replica is gone
		t.Fatal(err)
	}
	equal(t, "heartbeats", len(w.ec2.Calls("RecordLifecycleActionHeartbeat")), 2)
	equal(t, "let go before the node is empty", len(w.ec2.Calls("CompleteLifecycleAction")), 0)
	w.drains(t, "i-0000", "success", nil)
	for range 4 {
		w.follows(t, "i-0000")
	}
	calls := w.ec2.Calls("CompleteLifecycleAction")
	equal(t, "let go", len(calls), 1)
	equal(t, "how", calls[0].Get("LifecycleActionResult")+calls[0].Get("LifecycleActionToken"), "CONTINUEtoken-1")
	equal(t, "ended by us", len(w.ec2.Calls("TerminateInstances")), 0)
	equal(t, "action", w.events(t)[0].GetActionTaken(), "drained, left_to_group, lifecycle_completed")
}

func TestAnInstanceOfAGroupIsReplacedAtOnceAndTheGroupBecomesSmaller(t *testing.T) {
	w := newWorld(t)
	w.ec2.Put(ec2test.Instance{ID: "i-0000", State: "running", Spot: true, Tags: map[string]string{"aws:autoscaling:groupName": "workers"}})
	w.take(t, warning("i-0000", "terminate"))
	row := w.replaces(t, "i-0000")
	equal(t, "replacement", row.Replacement, "launched")
	w.drains(t, "i-0000", "success", nil)
	w.follows(t, "i-0000")
	w.follows(t, "i-0000")
	equal(t, "launched", len(w.launched()), 1)
	equal(t, "the group", w.ec2.Calls("TerminateInstanceInAutoScalingGroup")[0].Get("ShouldDecrementDesiredCapacity"), "true")
	equal(t, "action", w.events(t)[0].GetActionTaken(), "drained, replacement_launched, terminated")
}

func TestWhereNothingMayBeLaunchedAnInstanceIsLeftToItsGroup(t *testing.T) {
	w := newWorld(t)
	w.exec(t, "UPDATE clusters SET launch_template_id = NULL, subnet_ids = '{}' WHERE cluster_id = $1", w.cluster)
	w.ec2.Put(ec2test.Instance{ID: "i-0000", State: "running", Spot: true, Tags: map[string]string{"aws:autoscaling:groupName": "workers"}})
	w.take(t, warning("i-0000", "terminate"))
	row := w.replaces(t, "i-0000")
	equal(t, "replacement", row.Replacement+" "+row.ReplacementNote, "unneeded left_to_group")
	w.drains(t, "i-0000", "success", nil)
	w.follows(t, "i-0000")
	w.follows(t, "i-0000")
	equal(t, "launched", len(w.launched()), 0)
	equal(t, "the group stays as large", w.ec2.Calls("TerminateInstanceInAutoScalingGroup")[0].Get("ShouldDecrementDesiredCapacity"), "false")
	equal(t, "action", w.events(t)[0].GetActionTaken(), "drained, left_to_group, terminated")

	w.pod("p1", "n1")
	w.report(t)
	w.take(t, warning("i-0001", "terminate"))
	alone := w.replaces(t, "i-0001")
	equal(t, "of one that has none", alone.Replacement+" "+alone.ReplacementNote, "unneeded the cluster has no launch settings")
}

func TestAnInstanceThatComesBackMayBeInterruptedAgain(t *testing.T) {
	w := newWorld(t)
	w.take(t, warning("i-0000", "stop"), stateChange("i-0000", "stopped", began.Add(2*time.Minute)))
	first := w.row(t, "i-0000")
	equal(t, "state", first.State, "gone")
	w.take(t, warning("i-0000", "stop")) // the same as before, late
	equal(t, "late", w.row(t, "i-0000").ID, first.ID)
	again := warning("i-0000", "stop")
	again.SaidAt, again.Deadline = began.Add(time.Hour), began.Add(time.Hour+notice.Lead)
	equal(t, "verdict", w.take(t, again)[0], listen.Taken)
	row := w.row(t, "i-0000")
	equal(t, "state", row.State, "draining")
	equal(t, "task", row.DrainTask.UUID, workid.InterruptionDrain(w.cluster, "i-0000", 1))
	equal(t, "open", w.count(t, "SELECT count(*) FROM interruptions WHERE closed_at IS NULL"), 1)
}

func TestAStateNeverFalls(t *testing.T) {
	w := newWorld(t)
	w.take(t, stateChange("i-0000", "terminated", time.Now()))
	err := w.Store.InTx(t.Context(), func(tx *store.Store) error {
		row, err := tx.LatestInterruption(t.Context(), w.cluster, "i-0000")
		must(t, err)
		row.State = "draining"
		return tx.SaveInterruption(t.Context(), row)
	})
	if err == nil || !strings.Contains(err.Error(), "would fall") {
		t.Errorf("it fell: %v", err)
	}
	equal(t, "state", w.row(t, "i-0000").State, "gone")
}

func TestTheTraceOfTheMessageGoesOnInTheTaskAndInTheRow(t *testing.T) {
	w := newWorld(t)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	n := warning("i-0000", "terminate")
	n.Traceparent = "00-" + trace + "-b7ad6b7169203331-01"
	other := warning("i-0001", "terminate")
	other.Traceparent = "00-" + strings.Repeat("1", 32) + "-b7ad6b7169203331-01"
	w.take(t, n, other) // each message of a batch has a trace of its own
	for id, want := range map[string]string{"i-0000": trace, "i-0001": strings.Repeat("1", 32)} {
		var task string
		row := w.row(t, id)
		must(t, w.db.Pool.QueryRow(t.Context(), "SELECT traceparent FROM tasks WHERE task_id = $1", row.DrainTask.UUID).Scan(&task))
		if !strings.Contains(task, want) || !strings.Contains(row.Traceparent, want) {
			t.Errorf("%s: the task has %s, the row %s", id, task, row.Traceparent)
		}
	}
}

func TestEachQueueIsListenedToOnce(t *testing.T) {
	w := newWorld(t)
	rival, _ := w.tenant(t, "rival")
	w.exec(t, "UPDATE customers SET sqs_queue_url = 'http://127.0.0.1:5000/1/own', sqs_queue_shared = true WHERE customer_id = $1", rival)
	third, _ := w.tenant(t, "third")
	w.exec(t, "UPDATE customers SET sqs_queue_url = 'https://sqs.us-east-1.amazonaws.com/1/acme' WHERE customer_id = $1", third)
	queues, err := w.Queues(t.Context())
	must(t, err)
	equal(t, "queues", len(queues), 2)
	equal(t, "one of two customers", queues[1].Shared && len(queues[1].Customers) == 2 && queues[1].Region == "us-east-1", true)
	equal(t, "one of its own region", queues[0].Shared && queues[0].Region == "us-east-1", true)
}
