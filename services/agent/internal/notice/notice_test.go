package notice

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const instance = "i-0123456789abcdef0"

var cluster = uuid.MustParse("5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01")

func aNode(annotations map[string]string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u1", Annotations: annotations},
		Spec:       corev1.NodeSpec{ProviderID: "aws:///us-east-1a/" + instance},
	}
}

func aNotice(kind string, left time.Duration) imds.Notice {
	now := time.Now()
	n := imds.Notice{NodeNotice: &fleetv1.NodeNotice{
		NoticeId: kind + "-1", EventType: kind, InstanceId: instance, Action: "terminate", NoticedAt: timestamppb.New(now),
	}}
	if kind != imds.Rebalance && kind != imds.Lifecycle {
		n.ActionTime, n.RemainingSeconds, n.Until = timestamppb.New(now.Add(left)), left.Seconds(), now.Add(left)
	}
	return n
}

func reading(boot string, notices ...imds.Notice) imds.Reading {
	return imds.Reading{InstanceID: instance, BootID: boot, Notices: notices, Complete: true}
}

// post is a node and its keeper, on an API server that a test can make fail.
type world struct {
	t      *testing.T
	client *fake.Clientset
	policy *agentv1.InterruptionPolicy
	keeper *Keeper
}

func newWorld(t *testing.T, node *corev1.Node) *world {
	t.Helper()
	w := &world{t: t, client: fake.NewClientset(node), policy: byDefault()}
	w.keeper = NewKeeper(KeeperConfig{
		Client: w.client, Node: "n1", Cluster: cluster, Policy: func() *agentv1.InterruptionPolicy { return w.policy },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	return w
}

func (w *world) write(r imds.Reading) *corev1.Node {
	w.t.Helper()
	if _, err := w.keeper.write(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	return w.node()
}

func (w *world) node() *corev1.Node {
	w.t.Helper()
	node, err := w.client.CoreV1().Nodes().Get(w.t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return node
}

func (w *world) patches() int {
	count := 0
	for _, a := range w.client.Actions() {
		if a.GetVerb() == "patch" {
			count++
		}
	}
	return count
}

func TestANoticeCordonsWhenItIsUrgentAndIsWrittenDownInAnyCase(t *testing.T) {
	for name, tc := range map[string]struct {
		notice   imds.Notice
		cordons  bool
		cordoned bool // already, by somebody
	}{
		"spot":                             {notice: aNotice(imds.Interruption, 100*time.Second), cordons: true},
		"spot, its time is over":           {notice: aNotice(imds.Interruption, -time.Second), cordons: true},
		"an Auto Scaling group":            {notice: aNotice(imds.Lifecycle, 0), cordons: true},
		"a recommendation":                 {notice: aNotice(imds.Rebalance, 0)},
		"maintenance in a week":            {notice: aNotice(imds.Scheduled, 7*24*time.Hour)},
		"maintenance in ten minutes":       {notice: aNotice(imds.Scheduled, 10*time.Minute), cordons: true},
		"spot on a node cordoned by hand":  {notice: aNotice(imds.Interruption, 100*time.Second), cordoned: true},
		"a recommendation for such a node": {notice: aNotice(imds.Rebalance, 0), cordoned: true},
	} {
		t.Run(name, func(t *testing.T) {
			node := aNode(nil)
			node.Spec.Unschedulable = tc.cordoned
			w := newWorld(t, node)
			now := w.write(reading("b1", tc.notice))
			if now.Spec.Unschedulable != (tc.cordons || tc.cordoned) {
				t.Fatalf("unschedulable %v", now.Spec.Unschedulable)
			}
			by, want := now.Annotations[drain.CordonedByAnnotation], ""
			if tc.cordons {
				want = TaskID(cluster, instance, 0)
			}
			if by != want {
				t.Fatalf("cordoned by %q, want %q", by, want)
			}
			mark, err := Read(now)
			if err != nil || len(mark.Notices) != 1 || mark.Notices[0].GetNodeName() != "n1" || mark.BootID != "b1" {
				t.Fatalf("mark %+v, %v", mark, err)
			}
			before := w.patches()
			w.write(reading("b1", tc.notice))
			if w.patches() != before {
				t.Fatal("the same was written twice")
			}
		})
	}
}

func TestTheCustomersPolicyMayKeepTheNodeOpen(t *testing.T) {
	w := newWorld(t, aNode(nil))
	w.policy = &agentv1.InterruptionPolicy{}
	if node := w.write(reading("b1", aNotice(imds.Interruption, time.Minute))); node.Spec.Unschedulable || node.Annotations[Annotation] == "" {
		t.Fatalf("node %+v", node)
	}
}

func TestF26WhoUncordonsTheNodeIsNotOverruled(t *testing.T) {
	w := newWorld(t, aNode(nil))
	spot := aNotice(imds.Interruption, time.Minute)
	node := w.write(reading("b1", spot))
	node.Spec.Unschedulable = false
	if _, err := w.client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if w.write(reading("b1", spot)).Spec.Unschedulable {
		t.Fatal("cordoned again for the same notice")
	}
	if !w.write(reading("b1", spot, aNotice(imds.Lifecycle, 0))).Spec.Unschedulable {
		t.Fatal("another notice does not cordon")
	}
}

func TestF26AWithdrawnNoticeIsClearedWithOurCordonOnly(t *testing.T) {
	spot := aNotice(imds.Interruption, time.Minute)
	for name, theirs := range map[string]bool{"our cordon": false, "another's": true} {
		t.Run(name, func(t *testing.T) {
			node := aNode(nil)
			node.Spec.Unschedulable = theirs
			w := newWorld(t, node)
			w.write(reading("b1", spot))
			gone := w.write(reading("b1"))
			if gone.Spec.Unschedulable != theirs || gone.Annotations[Annotation] != "" || gone.Annotations[drain.CordonedByAnnotation] != "" {
				t.Fatalf("node %+v %v", gone.Spec, gone.Annotations)
			}
		})
	}
}

func TestANoticeThatWasNotReadIsNotWithdrawn(t *testing.T) {
	w := newWorld(t, aNode(nil))
	w.write(reading("b1", aNotice(imds.Interruption, time.Minute)))
	partly := reading("b1")
	partly.Complete = false
	if node := w.write(partly); !node.Spec.Unschedulable || node.Annotations[Annotation] == "" {
		t.Fatalf("node %+v", node)
	}
}

func TestNoticesOfAnotherBootAreClearedAndCounted(t *testing.T) {
	w := newWorld(t, aNode(nil))
	w.write(reading("b1", aNotice(imds.Interruption, time.Minute)))
	back := w.write(reading("b2"))
	mark, err := Read(back)
	if err != nil || back.Spec.Unschedulable || mark.Past != 1 || len(mark.Notices) != 0 {
		t.Fatalf("mark %+v, %v, node %+v", mark, err, back.Spec)
	}
	again := w.write(reading("b2", aNotice(imds.Interruption, time.Minute)))
	if by := again.Annotations[drain.CordonedByAnnotation]; by != TaskID(cluster, instance, 1) || by == TaskID(cluster, instance, 0) {
		t.Fatalf("the second interruption's drain is %s", by)
	}
}

func TestADrainUnderWayIsNotUndoneByItsNoticesEnd(t *testing.T) {
	w := newWorld(t, aNode(nil))
	node := w.write(reading("b1", aNotice(imds.Interruption, time.Minute)))
	node.Annotations[drain.RecordAnnotation] = `{"task_id":"` + TaskID(cluster, instance, 0) + `","phase":"draining","deadline":"` +
		time.Now().Add(time.Minute).Format(time.RFC3339) + `"}`
	if _, err := w.client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if now := w.write(reading("b1")); !now.Spec.Unschedulable || now.Annotations[Annotation] != "" {
		t.Fatalf("node %+v %v", now.Spec, now.Annotations)
	}
}

func TestAnotherMachinesMetadataIsNotBelieved(t *testing.T) {
	node := aNode(nil)
	node.Spec.ProviderID = "aws:///us-east-1a/i-0000000000000000f"
	w := newWorld(t, node)
	next, err := w.keeper.write(t.Context(), reading("b1", aNotice(imds.Interruption, time.Minute)))
	if err != nil || next != wrongNode || w.patches() != 0 {
		t.Fatalf("next %s, %v, %d patches", next, err, w.patches())
	}
	node.Spec.ProviderID = ""
	w = newWorld(t, node)
	if _, err := w.keeper.write(t.Context(), reading("b1", aNotice(imds.Interruption, time.Minute))); err == nil {
		t.Fatal("a node without a provider id is not tried again")
	}
}

func TestTheCordonIsTriedUntilTheAPIServerTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, aNode(nil))
		began, fails := time.Now(), 3
		w.client.PrependReactor("patch", "nodes", func(ktesting.Action) (bool, runtime.Object, error) {
			if fails--; fails >= 0 {
				return true, nil, errors.New("the API server is away")
			}
			return false, nil, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.keeper.Run(ctx) }()
		w.keeper.Take(reading("b1", aNotice(imds.Interruption, time.Minute)))
		if !w.keeper.Going() {
			t.Fatal("the node is not going")
		}
		for !w.node().Spec.Unschedulable {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("cordoned after %s", took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAScheduledChangeIsActedUponWhenItComesNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, aNode(nil))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.keeper.Run(ctx) }()
		w.keeper.Take(reading("b1", aNotice(imds.Scheduled, 3*time.Hour)))
		time.Sleep(2*time.Hour + 44*time.Minute)
		if w.node().Spec.Unschedulable {
			t.Fatal("cordoned early")
		}
		time.Sleep(2 * time.Minute)
		if !w.node().Spec.Unschedulable {
			t.Fatal("not cordoned a quarter of an hour before")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

// runner keeps what it was told to drain.
type runner struct {
	tasks []*fleetv1.Task
	err   error
}

func (r *runner) Local(_ context.Context, task *fleetv1.Task) error {
	if r.err == nil {
		r.tasks = append(r.tasks, task)
	}
	return r.err
}

// desk is a Board over nodes that a test sets.
type desk struct {
	*Board
	nodes  []*corev1.Node
	runner runner
	policy *agentv1.InterruptionPolicy
	leave  string
	ahead  time.Duration // AWS's clock against ours
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{policy: byDefault()}
	d.Board = NewBoard(BoardConfig{
		Cluster: cluster, Nodes: func() []*corev1.Node { return d.nodes }, Runner: &d.runner,
		Policy: func() *agentv1.InterruptionPolicy { return d.policy },
		Leave:  func(node string) bool { return node == d.leave },
		Now:    func() time.Time { return time.Now().Add(d.ahead) }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	return d
}

func (d *desk) glance(t *testing.T) (news bool) {
	t.Helper()
	d.look(t.Context())
	select {
	case <-d.Changed():
		return true
	default:
		return false
	}
}

// marked is a node with what its keeper wrote.
func marked(t *testing.T, notices ...imds.Notice) *corev1.Node {
	t.Helper()
	return newWorld(t, aNode(nil)).write(reading("b1", notices...))
}

func TestTheLeaderDrainsByItselfUnderTheNameThatCentralWouldGive(t *testing.T) {
	d := newDesk(t)
	if d.glance(t) {
		t.Fatal("news of nothing")
	}
	d.nodes = []*corev1.Node{aNode(nil), marked(t, aNotice(imds.Interruption, 100*time.Second), aNotice(imds.Rebalance, 0))}
	if !d.glance(t) || len(d.Pending()) != 2 {
		t.Fatalf("pending %v", d.Pending())
	}
	if len(d.runner.tasks) != 1 {
		t.Fatalf("tasks %v", d.runner.tasks)
	}
	task, params := d.runner.tasks[0], d.runner.tasks[0].GetParameters().GetFields()
	if task.GetTaskId() != TaskID(cluster, instance, 0) || task.GetTaskType() != "drain_node" || task.GetRemainingSeconds() < 90 || task.GetRemainingSeconds() > 100 {
		t.Fatalf("task %v", task)
	}
	if params["node_name"].GetStringValue() != "n1" || params["instance_id"].GetStringValue() != instance || !params["force"].GetBoolValue() {
		t.Fatalf("parameters %v", params)
	}
	spot := d.Pending()[0]
	if spot.GetEventType() != imds.Interruption || spot.GetTaskId() != task.GetTaskId() || spot.GetRemainingSeconds() > 100 {
		t.Fatalf("notice %v", spot)
	}
	if d.glance(t) || len(d.runner.tasks) != 1 {
		t.Fatal("told or done twice")
	}
}

func TestCentralsAckIsRememberedWhileTheNoticeIsThere(t *testing.T) {
	d := newDesk(t)
	d.policy = &agentv1.InterruptionPolicy{Cordon: true}
	d.nodes = []*corev1.Node{marked(t, aNotice(imds.Interruption, 100*time.Second))}
	d.glance(t)
	id := d.Pending()[0].GetNoticeId()
	if got := d.Pending()[0].GetTaskId(); got != "" {
		t.Fatalf("drained as %s against the policy", got)
	}
	d.Acked("nobody's")
	d.Acked(id)
	if d.glance(t) || len(d.Pending()) != 0 {
		t.Fatalf("pending %v", d.Pending())
	}
	d.nodes = nil
	d.glance(t)
	d.nodes = []*corev1.Node{marked(t, aNotice(imds.Interruption, 100*time.Second))}
	if !d.glance(t) || len(d.Pending()) != 1 {
		t.Fatal("a notice that came back is not told")
	}
	d.policy = byDefault()
	d.Acked(id)
	if !d.glance(t) || d.Pending()[0].GetTaskId() == "" {
		t.Fatal("central is not told that the drain began")
	}
}

func TestF24TheLeadersOwnNodeIsLeftToTheNextLeader(t *testing.T) {
	d := newDesk(t)
	d.leave, d.nodes = "n1", []*corev1.Node{marked(t, aNotice(imds.Interruption, 100*time.Second))}
	d.glance(t)
	if len(d.runner.tasks) != 0 {
		t.Fatal("it drains the node that it stands on")
	}
	d.leave = "" // nobody takes the lease
	d.glance(t)
	if len(d.runner.tasks) != 1 {
		t.Fatal("nobody drains the node")
	}
}

func TestADrainThatCannotBeginIsTriedAgain(t *testing.T) {
	d := newDesk(t)
	d.runner.err = errors.New("the disk is full")
	d.nodes = []*corev1.Node{marked(t, aNotice(imds.Interruption, 100*time.Second))}
	d.glance(t)
	d.runner.err = nil
	d.glance(t)
	if len(d.runner.tasks) != 1 {
		t.Fatal("not tried again")
	}
}

func TestF37TheLeadersClockMovesNoDeadline(t *testing.T) {
	node := marked(t, aNotice(imds.Interruption, 100*time.Second))
	for name, tc := range map[string]struct {
		ahead  time.Duration
		looked bool // the leader was there when the notice came
		least  float64
		most   float64
	}{
		"clocks agree":                         {0, false, 95, 100},
		"five minutes ahead, seen as it came":  {5 * time.Minute, true, 99.9, 100},
		"five minutes behind, seen as it came": {-5 * time.Minute, true, 99.9, 100},
		"behind, found at the start":           {-5 * time.Minute, false, 99.9, 100},
		"ahead, found at the start":            {5 * time.Minute, false, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.ahead = tc.ahead
			if tc.looked {
				d.glance(t)
			}
			d.nodes = []*corev1.Node{node}
			d.look(t.Context())
			n := d.Pending()[0]
			if n.GetRemainingSeconds() < tc.least-1 || n.GetRemainingSeconds() > tc.most {
				t.Fatalf("%f s remain", n.GetRemainingSeconds())
			}
			if left := d.runner.tasks[0].GetRemainingSeconds(); left < leastDrain.Seconds() {
				t.Fatalf("the drain has %f s", left)
			}
		})
	}
}

func TestNoticesThatAreNotTheNodesAreIgnored(t *testing.T) {
	good := marked(t, aNotice(imds.Interruption, 100*time.Second))
	text := good.Annotations[Annotation]
	stale := good.DeepCopy()
	stale.Status.NodeInfo.BootID = "b2"
	renamed := good.DeepCopy()
	renamed.Name = "n2"
	replaced := good.DeepCopy()
	replaced.Spec.ProviderID = "aws:///us-east-1a/i-0000000000000000f"
	for name, node := range map[string]*corev1.Node{
		"of a boot that is over": stale, "copied to another node": renamed, "of the instance before": replaced,
		"cut off":                       aNode(map[string]string{Annotation: text[:len(text)/2]}),
		"with a kind that there is not": aNode(map[string]string{Annotation: strings.ReplaceAll(text, imds.Interruption, "end_of_days")}),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.nodes = []*corev1.Node{node}
			if d.glance(t) || len(d.runner.tasks) != 0 || Urgent(node) && name != "copied to another node" && name != "of the instance before" {
				t.Fatalf("pending %v, tasks %v", d.Pending(), d.runner.tasks)
			}
		})
	}
	if !Urgent(good) {
		t.Fatal("the good one is not urgent")
	}
}

func TestThePolicyIsKeptAndSpread(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	file := filepath.Join(t.TempDir(), "state", "policy.json")
	leader := OpenPolicies(file, log)
	if p := leader.Current(); !p.GetCordon() || !p.GetDrain() || !p.GetParameters().GetForce() || leader.Said() != "" {
		t.Fatalf("default %v, said %q", p, leader.Said())
	}
	want := &agentv1.InterruptionPolicy{Cordon: true, Parameters: &fleetv1.DrainNodeParameters{GracePeriod: 20, SafetyMarginSeconds: 9}}
	leader.SetPolicy(proto.CloneOf(want))
	leader.SetPolicy(nil)
	leader.SetPolicy(&agentv1.InterruptionPolicy{Parameters: &fleetv1.DrainNodeParameters{GracePeriod: -1}})
	standby := OpenPolicies(filepath.Join(t.TempDir(), "p.json"), log)
	standby.Heard(leader.Said())
	standby.Heard("{")
	for name, p := range map[string]*Policies{"leader": leader, "standby": standby, "leader's next process": OpenPolicies(file, log)} {
		if diff := cmp.Diff(want, p.Current(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"boot_id":"b","past":1,"cordoned":["x"],"notices":[{"notice_id":"x","event_type":"interruption_warning","node_name":"n1","instance_id":"i-1","remaining_seconds":3}]}`)
	f.Add(`{"notices":[{"notice_id":"x","remaining_seconds":"NaN","action_time":"9999-12-31T23:59:59Z"}]}`)
	f.Add(`{"past":-4}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		node := aNode(map[string]string{Annotation: text})
		mark, err := Read(node)
		if err != nil {
			return
		}
		d := &desk{policy: byDefault(), nodes: []*corev1.Node{node}}
		d.Board = NewBoard(BoardConfig{
			Cluster: cluster, Nodes: func() []*corev1.Node { return d.nodes }, Runner: &d.runner, Now: time.Now,
			Policy: func() *agentv1.InterruptionPolicy { return d.policy }, Leave: func(string) bool { return false },
			Log: slog.New(slog.DiscardHandler),
		})
		d.look(t.Context())
		for _, n := range d.Pending() {
			if n.GetRemainingSeconds() < 0 || (n.GetEventType() == imds.Interruption && n.GetRemainingSeconds() > 120) {
				t.Fatalf("%f s remain", n.GetRemainingSeconds())
			}
		}
		again, err := Read(aNode(map[string]string{Annotation: mark.String()}))
		if mark.String() != "" && (err != nil || again.String() != mark.String() || !slices.Equal(again.Cordoned, mark.Cordoned)) {
			t.Fatalf("%q became %q, %v", text, again.String(), err)
		}
	})
}
