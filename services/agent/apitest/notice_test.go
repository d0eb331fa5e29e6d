package apitest

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/aemm"
	"github.com/cloudoptim/cloudoptim/pkg/workid"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/notice"
)

func randomName() string { return uuid.NewString()[:8] }

// drainOf is the task that an interruption of the node's instance causes.
func drainOf(node string) string {
	return workid.InterruptionDrain(uuid.MustParse(clusterID), instanceOf(node), 0).String()
}

// notices are the kinds on a node.
func notices(t *testing.T, node *corev1.Node) []string {
	t.Helper()
	mark, err := notice.Read(node)
	require(t, err)
	var kinds []string
	if mark != nil {
		for _, n := range mark.Notices {
			kinds = append(kinds, n.GetEventType())
		}
	}
	return kinds
}

// mockMetadata is AWS's own mock of the metadata service.
func mockMetadata(t *testing.T, node string, args ...string) string {
	t.Helper()
	path, err := aemm.Path(t.Context())
	require(t, err)
	endpoint, child, err := aemm.Start(t.Context(), path, aemm.Config{Dir: t.TempDir(), InstanceID: instanceOf(node), Args: args})
	require(t, err)
	t.Cleanup(child.Kill)
	return endpoint
}

func TestF11WithCentralDeadTheInstancesOwnNoticeCordonsItsNodeAndTheLeaderDrainsIt(t *testing.T) {
	p := newPlot(t)
	lost := p.addNode("lost")
	p.deploy("web", 3, nil)
	safe := p.addNode("safe")
	f := newFleet(t, p, nil)
	f.pod(lost)
	f.start(safe, newMetadata(t, safe).URL)
	f.awaitLeader(safe)
	due := time.Now().Add(8 * time.Second).UTC().Truncate(time.Second)
	f.start(lost, mockMetadata(t, lost, "spot", "--action=terminate", "--mock-trigger-time="+due.Format(time.RFC3339),
		"--rebalance-trigger-time="+due.Add(-2*time.Second).Format(time.RFC3339)))
	await(t, "the recommendation", func() bool { return slices.Contains(notices(t, p.node(lost)), "rebalance_recommendation") })
	if p.node(lost).Spec.Unschedulable && time.Now().Before(due) {
		t.Fatal("a recommendation cordoned the node")
	}
	await(t, "the cordon", func() bool { return p.node(lost).Spec.Unschedulable })
	took := time.Since(due)
	t.Logf("cordoned %s after the notice was there", took.Round(10*time.Millisecond))
	if took > 6*time.Second {
		t.Errorf("cordoned after %s", took)
	}
	await(t, "the node to be empty", func() bool { return p.podsOn(lost)["web"] == 0 && p.available("web") == 3 })
	if took := time.Since(due); took > 2*time.Minute {
		t.Errorf("drained after %s", took)
	}
	node := p.node(lost)
	record, ok := drain.ReadRecord(node)
	if !ok || record.TaskID != drainOf(lost) || node.Annotations[drain.CordonedByAnnotation] != drainOf(lost) {
		t.Fatalf("drained by %+v, cordoned by %s, want task %s", record, node.Annotations[drain.CordonedByAnnotation], drainOf(lost))
	}
	if p.node(safe).Spec.Unschedulable {
		t.Fatal("another node was cordoned")
	}
}

func TestF24TheLeaderOnTheInterruptedNodeHandsOverFirst(t *testing.T) {
	p := newPlot(t)
	lost := p.addNode("lost")
	p.deploy("web", 2, nil)
	safe := p.addNode("safe")
	c := startCentral(t)
	f := newFleet(t, p, c)
	service := newMetadata(t, lost)
	old := f.start(lost, service.URL)
	f.awaitLeader(lost)
	f.start(safe, newMetadata(t, safe).URL)
	_, before := holder(t)
	service.interrupt(110 * time.Second)
	f.awaitLeader(safe)
	_, epoch := holder(t)
	if epoch <= before {
		t.Fatalf("epoch %d after %d", epoch, before)
	}
	await(t, "the node to be empty", func() bool { return p.podsOn(lost)["web"] == 0 && p.available("web") == 2 })
	record, _ := drain.ReadRecord(p.node(lost))
	if record.TaskID != drainOf(lost) || record.LeaderEpoch != epoch {
		t.Fatalf("drained by %+v, want the leader of epoch %d", record, epoch)
	}
	if !strings.Contains(old.log.String(), "giving the lease to another agent") {
		t.Error("the old leader did not say why it gave the lease up")
	}
	c.awaitHeard("the notice from the new leader", func(m msg) bool {
		n := m.GetNodeNotice()
		return n.GetNodeName() == lost && n.GetInstanceId() == instanceOf(lost) && n.GetTaskId() == drainOf(lost) &&
			n.GetRemainingSeconds() > 30 && n.GetRemainingSeconds() <= 110
	})
	// It lives on, watches, and does not stand while its node goes.
	select {
	case err := <-old.ended:
		t.Fatalf("the old leader ended: %v", err)
	default:
	}
	if who, _ := holder(t); who != f.pods[safe].Name {
		t.Fatalf("%s leads", who)
	}
}

func TestF24TheLastAgentKeepsTheLeaseAndDrainsItsOwnNode(t *testing.T) {
	p := newPlot(t)
	lost := p.addNode("lost")
	p.deploy("web", 2, nil)
	f := newFleet(t, p, nil)
	service := newMetadata(t, lost)
	f.start(lost, service.URL)
	f.awaitLeader(lost)
	_, before := holder(t)
	cordoned := p.addNode("cordoned") // its agent's pod is ready, but it will go too
	_, err := kube.admin.CoreV1().Nodes().Patch(t.Context(), cordoned, mergePatch, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
	require(t, err)
	f.pod(cordoned)
	service.interrupt(110 * time.Second)
	await(t, "the node to be empty", func() bool { return p.podsOn(lost)["web"] == 0 })
	if who, epoch := holder(t); who != f.pods[lost].Name || epoch != before {
		t.Fatalf("%s leads in epoch %d", who, epoch)
	}
}

func TestF24ATaskThatTakesTheLeadersOwnNodeIsLeftToTheNextLeader(t *testing.T) {
	p := newPlot(t)
	home := p.addNode("home")
	p.deploy("web", 2, nil)
	other := p.addNode("other")
	c := startCentral(t)
	f := newFleet(t, p, c)
	f.start(home, newMetadata(t, home).URL)
	f.awaitLeader(home)
	f.start(other, newMetadata(t, other).URL)
	first, second := f.pods[home].Name, f.pods[other].Name
	await(t, "the leader to connect", func() bool { return slices.Equal(c.connected(), []string{first}) })
	task := newTask(t, "drain_node", 120, &fleetv1.DrainNodeParameters{NodeName: home, InstanceId: instanceOf(home)})
	c.send(first, task)
	await(t, "the other to lead", func() bool { return slices.Equal(c.connected(), []string{second}) })
	accepted := func(m msg) bool { return m.GetTaskAccepted().GetTaskId() == task.TaskId }
	c.mu.Lock()
	early := slices.ContainsFunc(c.heard, accepted)
	c.mu.Unlock()
	if early || p.node(home).Spec.Unschedulable {
		t.Fatal("the leader took its own node's drain")
	}
	c.send(second, task)
	c.awaitHeard("the acceptance", accepted)
	c.awaitHeard("the drain's end", func(m msg) bool {
		return m.GetTaskResult().GetTaskId() == task.TaskId && m.GetTaskResult().GetStatus() == "success"
	})
	if p.podsOn(home)["web"] != 0 {
		t.Fatal("the node is not empty")
	}
}

func TestF38AnOldLeaderThatWakesUpWritesNothing(t *testing.T) {
	p := newPlot(t)
	a, b := p.addNode("a"), p.addNode("b")
	c := startCentral(t)
	f := newFleet(t, p, c)
	old := f.start(a, newMetadata(t, a).URL)
	f.awaitLeader(a)
	f.start(b, newMetadata(t, b).URL)
	first, second := f.pods[a].Name, f.pods[b].Name
	await(t, "the leader to connect", func() bool { return slices.Equal(c.connected(), []string{first}) })
	epoch := c.lastHello().GetLeaderEpoch()
	require(t, old.Process.Signal(syscall.SIGSTOP))
	// These wait in its socket, to be read when it wakes and believes that it leads.
	for i := range 5 {
		c.send(first, newTask(t, "label_node", 300, &fleetv1.LabelNodeParameters{NodeName: b, Labels: map[string]string{fmt.Sprintf("old-%d", i): "x"}}))
	}
	await(t, "the other to lead", func() bool { return slices.Contains(c.connected(), second) })
	if next := c.lastHello().GetLeaderEpoch(); next <= epoch || epoch < 1 {
		t.Fatalf("epochs %d and %d", epoch, next)
	}
	fresh := newTask(t, "label_node", 60, &fleetv1.LabelNodeParameters{NodeName: b, Labels: map[string]string{"new": "x"}})
	c.send(second, fresh)
	c.awaitHeard("the new leader's work", func(m msg) bool { return m.GetTaskResult().GetTaskId() == fresh.TaskId })
	require(t, old.Process.Signal(syscall.SIGCONT))
	select {
	case <-old.ended:
		old.ended <- nil // for the cleanup
	case <-time.After(patience):
		t.Fatal("the old leader goes on")
	}
	for label := range p.node(b).Labels {
		if strings.HasPrefix(label, "old-") {
			t.Fatalf("the old leader wrote %s", label)
		}
	}
	if who, _ := holder(t); who != second {
		t.Fatalf("%s leads", who)
	}
}

func TestThePolicyOfCentralReachesAgentsThatNeverLed(t *testing.T) {
	p := newPlot(t)
	a, b := p.addNode("a"), p.addNode("b")
	c := startCentral(t)
	f := newFleet(t, p, c)
	f.start(a, newMetadata(t, a).URL)
	f.awaitLeader(a)
	await(t, "the leader to connect", func() bool { return slices.Equal(c.connected(), []string{f.pods[a].Name}) })
	c.settings(f.pods[a].Name, &agentv1.Settings{Interruption: &agentv1.InterruptionPolicy{Cordon: false, Drain: false}})
	service := newMetadata(t, b)
	standby := f.start(b, service.URL)
	await(t, "the standby to hear the policy", func() bool { return strings.Contains(standby.log.String(), "the interruption policy is now") })
	service.interrupt(100 * time.Second)
	c.awaitHeard("the notice", func(m msg) bool { return m.GetNodeNotice().GetNodeName() == b && m.GetNodeNotice().GetTaskId() == "" })
	node := p.node(b)
	if _, drained := drain.ReadRecord(node); drained || node.Spec.Unschedulable || len(notices(t, node)) != 1 {
		t.Fatalf("the policy was not obeyed: %+v %v", node.Spec, node.Annotations)
	}
	service.unset("spot/instance-action")
	await(t, "the withdrawn notice to be cleared", func() bool { return len(notices(t, p.node(b))) == 0 })
}

func (c *central) settings(agent string, s *agentv1.Settings) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require(c.t, c.streams[agent].Send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Settings{Settings: s}}))
}
