package apitest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

func TestTheRoleAllowsNothingElse(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	pod := p.bare("one", node)
	agent, err := kubernetes.NewForConfig(kube.agent)
	require(t, err)
	core, ctx := agent.CoreV1(), t.Context()
	calls := map[string]func() error{
		"list secrets": func() error {
			_, err := core.Secrets(p.name).List(ctx, metav1.ListOptions{})
			return err
		},
		"delete a node": func() error { return core.Nodes().Delete(ctx, node, metav1.DeleteOptions{}) },
		"update a node": func() error {
			_, err := core.Nodes().Update(ctx, p.node(node), metav1.UpdateOptions{})
			return err
		},
		"delete a pod": func() error { return core.Pods(p.name).Delete(ctx, pod.Name, metav1.DeleteOptions{}) },
		"create a pod": func() error {
			_, err := core.Pods(p.name).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		},
		"patch a pod": func() error {
			_, err := core.Pods(p.name).Patch(ctx, pod.Name, types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
			return err
		},
		"list config maps": func() error {
			_, err := core.ConfigMaps(p.name).List(ctx, metav1.ListOptions{})
			return err
		},
		"list deployments": func() error {
			_, err := agent.AppsV1().Deployments(p.name).List(ctx, metav1.ListOptions{})
			return err
		},
		"delete a deployment": func() error {
			return agent.AppsV1().Deployments(p.name).Delete(ctx, "x", metav1.DeleteOptions{})
		},
		"create a stateful set": func() error {
			_, err := agent.AppsV1().StatefulSets(p.name).Create(ctx, &appsv1.StatefulSet{}, metav1.CreateOptions{})
			return err
		},
		"update a deployment": func() error {
			_, err := agent.AppsV1().Deployments(p.name).Update(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.UpdateOptions{})
			return err
		},
		"get a daemon set": func() error {
			_, err := agent.AppsV1().DaemonSets(p.name).Get(ctx, "x", metav1.GetOptions{})
			return err
		},
		"patch a replica set": func() error {
			_, err := agent.AppsV1().ReplicaSets(p.name).Patch(ctx, "x", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
			return err
		},
		"take another lease": func() error {
			_, err := agent.CoordinationV1().Leases("kube-system").Create(ctx,
				&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			if err := call(); !apierrors.IsForbidden(err) {
				t.Fatalf("answered %v, want forbidden", err)
			}
		})
	}
}

func TestEditsOfANode(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	r := startRooms(t, t.TempDir())

	t.Run("label_node sets and removes labels", func(t *testing.T) {
		requireStatus(t, r.do("label_node", &fleetv1.LabelNodeParameters{
			NodeName: node, Labels: map[string]string{"cloudoptim.io/managed": "true"}, InstanceId: instanceOf(node),
		}), "success")
		requireStatus(t, r.do("label_node", &fleetv1.LabelNodeParameters{
			NodeName: node, Labels: map[string]string{"more": "x"}, Remove: []string{"cloudoptim.io/managed"},
		}), "success")
		labels := p.node(node).Labels
		if _, left := labels["cloudoptim.io/managed"]; left || labels["more"] != "x" || labels["plot"] != p.name {
			t.Fatalf("labels are %v", labels)
		}
	})
	t.Run("taint_node replaces by key and effect and leaves the others", func(t *testing.T) {
		for _, value := range []string{"one", "two"} {
			requireStatus(t, r.do("taint_node", &fleetv1.TaintNodeParameters{NodeName: node, Taints: []*fleetv1.Taint{
				{Key: "dedicated", Value: value, Effect: "PreferNoSchedule"}, {Key: "other", Effect: "NoSchedule"},
			}}), "success")
		}
		requireStatus(t, r.do("taint_node", &fleetv1.TaintNodeParameters{
			NodeName: node, Remove: []*fleetv1.Taint{{Key: "other", Effect: "NoSchedule"}},
		}), "success")
		got := p.node(node).Spec.Taints
		if len(got) != 1 || got[0].Key != "dedicated" || got[0].Value != "two" {
			t.Fatalf("taints are %v", got)
		}
	})
	t.Run("cordon_node and uncordon_node undo each other", func(t *testing.T) {
		requireStatus(t, r.do("cordon_node", &fleetv1.CordonNodeParameters{NodeName: node, Reason: "moving to spot"}), "success")
		if n := p.node(node); !n.Spec.Unschedulable || n.Annotations[drain.CordonReasonAnnotation] != "moving to spot" {
			t.Fatalf("cordoned node is %v %v", n.Spec, n.Annotations)
		}
		requireStatus(t, r.do("uncordon_node", &fleetv1.UncordonNodeParameters{NodeName: node}), "success")
		if n := p.node(node); n.Spec.Unschedulable || n.Annotations[drain.CordonedByAnnotation] != "" {
			t.Fatalf("uncordoned node is %v %v", n.Spec, n.Annotations)
		}
	})
	t.Run("another's cordon is undone by force only", func(t *testing.T) {
		_, err := kube.admin.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType,
			[]byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
		require(t, err)
		requireStatus(t, r.do("cordon_node", &fleetv1.CordonNodeParameters{NodeName: node}), "success")
		requireStatus(t, r.do("uncordon_node", &fleetv1.UncordonNodeParameters{NodeName: node}), "failed")
		if !p.node(node).Spec.Unschedulable {
			t.Fatal("somebody else's cordon was undone")
		}
		requireStatus(t, r.do("uncordon_node", &fleetv1.UncordonNodeParameters{NodeName: node, Force: true}), "success")
	})
	t.Run("F14: a node of another instance is refused", func(t *testing.T) {
		for _, result := range []*fleetv1.TaskResult{
			r.do("cordon_node", &fleetv1.CordonNodeParameters{NodeName: node, InstanceId: "i-0123456789abcdef0"}),
			r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node, InstanceId: "i-0123456789abcdef0"}),
		} {
			requireStatus(t, result, "failed")
		}
		if p.node(node).Spec.Unschedulable {
			t.Fatal("the wrong node was cordoned")
		}
	})
	t.Run("F13: a node that is not there fails, but is drained", func(t *testing.T) {
		requireStatus(t, r.do("cordon_node", &fleetv1.CordonNodeParameters{NodeName: "gone"}), "failed")
		result := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: "gone"})
		requireStatus(t, result, "success")
		if phase := report(t, result).GetPhase(); phase != "node_gone" {
			t.Fatalf("phase %s", phase)
		}
	})
	t.Run("a label that Kubernetes refuses fails with its reason", func(t *testing.T) {
		result := r.do("label_node", &fleetv1.LabelNodeParameters{NodeName: node, Labels: map[string]string{"a": "not valid!"}})
		requireStatus(t, result, "failed")
		if !strings.Contains(result.GetError(), "Invalid value") {
			t.Fatalf("error %q", result.GetError())
		}
	})
}

func TestDrainMovesPodsWithinTheirBudget(t *testing.T) {
	p := newPlot(t)
	from := p.addNode("from")
	p.deploy("web", 6, nil)
	p.budget("web", 5)
	p.bare("bare", from)
	p.addNode("to")
	p.daemon("logs", 2)
	r := startRooms(t, t.TempDir())

	low := p.watchAvailable("web")
	result := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: from})
	requireStatus(t, result, "success")
	if got := low(); got < 5 {
		t.Fatalf("%d replicas were available at the worst, the budget says 5", got)
	}
	requireEqual(t, "pods left", p.podsOn(from), map[string]int{"logs": 1})
	rep := report(t, result)
	requireEqual(t, "report", states(rep), map[string]int{"gone": 7, "skipped daemonset": 1})
	if rep.GetPhase() != "drained" || rep.GetEvicted() != 7 || rep.GetSkipped() != 1 {
		t.Fatalf("report %v", rep)
	}
	attempts := int32(0)
	for _, pod := range rep.GetPods() {
		attempts += pod.GetAttempts()
	}
	if attempts <= 7 {
		t.Fatalf("%d eviction calls: the budget never refused one, so the test proves nothing", attempts)
	}
	if !p.node(from).Spec.Unschedulable {
		t.Fatal("the drained node is not cordoned")
	}
	await(t, "all replicas to run elsewhere", func() bool { return p.available("web") == 6 })
}

// watchAvailable returns the least number of available replicas since the call.
func (p *plot) watchAvailable(app string) (low func() int32) {
	ctx, cancel := context.WithCancel(context.Background())
	lowest, done := p.available(app), make(chan struct{})
	w, err := kube.admin.AppsV1().Deployments(p.name).Watch(ctx, metav1.ListOptions{})
	require(p.t, err)
	go func() {
		defer close(done)
		for range w.ResultChan() {
			d, err := kube.admin.AppsV1().Deployments(p.name).Get(ctx, app, metav1.GetOptions{})
			if err == nil {
				lowest = min(lowest, d.Status.AvailableReplicas)
			}
		}
	}()
	return func() int32 {
		cancel()
		<-done
		return lowest
	}
}

func TestF15WithoutForceABudgetEndsTheDrainAtItsDeadline(t *testing.T) {
	for name, undo := range map[string]bool{"and the cordon stays": false, "and the cordon is undone": true} {
		t.Run(name, func(t *testing.T) {
			p := newPlot(t)
			node := p.addNode("a")
			p.deploy("web", 2, nil)
			p.budget("web", 2)
			p.deploy("guarded", 1, map[string]string{"karpenter.sh/do-not-disrupt": "true"})
			r := startRooms(t, t.TempDir())

			start := time.Now()
			id := r.offer("drain_node", 4, &fleetv1.DrainNodeParameters{NodeName: node, UncordonOnFailure: undo})
			result := r.out.result(t, id)
			took := time.Since(start)
			requireStatus(t, result, "timeout")
			if took < 4*time.Second || took > 8*time.Second {
				t.Fatalf("ended after %s, the deadline was 4 s", took)
			}
			requireEqual(t, "report", states(report(t, result)), map[string]int{
				"blocked pdb web": 2, "blocked do-not-disrupt karpenter.sh/do-not-disrupt": 1,
			})
			if !strings.Contains(result.GetError(), "pdb web") || report(t, result).GetForced() != 0 {
				t.Fatalf("the error does not name the budget: %s", result.GetError())
			}
			for _, pod := range report(t, result).GetPods() {
				if pod.GetAttempts() > 20 {
					t.Fatalf("%d calls for one pod in 4 s", pod.GetAttempts())
				}
			}
			if undo {
				requireUntouched(t, p.node(node))
			} else if n := p.node(node); !n.Spec.Unschedulable || record(t, n).Phase != drain.Blocked || n.Labels[corev1.LabelNodeExcludeBalancers] != "" {
				t.Fatalf("the failed drain left %v %v %v", n.Spec, n.Annotations, n.Labels)
			}
			if p.podsOn(node)["web"] != 2 {
				t.Fatal("a guarded pod went")
			}
			if !slices.ContainsFunc(r.out.all(), func(m msg) bool { return m.GetTaskProgress().GetDrain().GetBlocked() == 3 }) {
				t.Fatal("no progress report said that three pods are blocked")
			}
		})
	}
}

// requireUntouched is for nodes on which nothing of ours may be left.
func requireUntouched(t *testing.T, n *corev1.Node) {
	t.Helper()
	left := n.Spec.Unschedulable
	for key := range n.Annotations {
		left = left || strings.HasPrefix(key, "cloudoptim.io/")
	}
	for _, taint := range n.Spec.Taints {
		left = left || taint.Key == drain.DrainingTaint
	}
	if _, labelled := n.Labels[corev1.LabelNodeExcludeBalancers]; left || labelled {
		t.Fatalf("left on the node: %v %v %v", n.Spec, n.Annotations, n.Labels)
	}
}

func TestF15ForceDeletesInTimeAndNeedsARightOfItsOwn(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	r := startRooms(t, t.TempDir())
	force := &fleetv1.DrainNodeParameters{NodeName: node, Force: true}

	without := r.out.result(t, r.offer("drain_node", 8, force))
	requireStatus(t, without, "timeout")
	if p.podsOn(node)["web"] != 2 || !strings.Contains(without.GetLogs(), "may not be deleted") {
		t.Fatalf("left %v, logs\n%s", p.podsOn(node), without.GetLogs())
	}

	p.allowForce()
	with := r.out.result(t, r.offer("drain_node", 20, force))
	requireStatus(t, with, "success")
	requireEqual(t, "report", states(report(t, with)), map[string]int{"gone forced": 2})
	if report(t, with).GetForced() != 2 {
		t.Fatalf("report %v", report(t, with))
	}
}

func TestF23ADrainSurvivesItsExecutor(t *testing.T) {
	for name, sameDisk := range map[string]bool{"with its journal": true, "from the node's record alone": false} {
		t.Run(name, func(t *testing.T) {
			p := newPlot(t)
			node := p.addNode("a")
			p.deploy("web", 3, nil)
			p.budget("web", 3)
			p.deploy("free", 2, nil)
			dir := t.TempDir()

			first := startRooms(t, dir)
			id := first.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node})
			await(t, "the unguarded pods to go and the others to be refused", func() bool {
				return slices.ContainsFunc(first.out.all(), func(m msg) bool {
					d := m.GetTaskProgress().GetDrain()
					return d.GetBlocked() == 3 && d.GetEvicted() == 2
				})
			})
			first.kill()
			before := record(t, p.node(node))
			if slices.ContainsFunc(first.out.all(), func(m msg) bool { return m.GetTaskResult() != nil }) {
				t.Fatal("the killed executor reported an end")
			}

			if !sameDisk {
				dir = t.TempDir()
			}
			second := startRooms(t, dir)
			if running := second.runner.Running(); len(running) != 1 || running[0].GetTaskId() != id {
				t.Fatalf("the second executor has %v in hand", running)
			}
			await(t, "the second executor to take it up", func() bool {
				return slices.ContainsFunc(second.out.all(), func(m msg) bool { return m.GetTaskProgress().GetDrain().GetBlocked() == 3 })
			})
			if after := record(t, p.node(node)); !after.Deadline.Equal(before.Deadline) || !after.Started.Equal(before.Started) {
				t.Fatalf("the drain has deadline %s, started %s; before %s, %s", after.Deadline, after.Started, before.Deadline, before.Started)
			}
			require(t, kube.admin.PolicyV1().PodDisruptionBudgets(p.name).Delete(t.Context(), "web", metav1.DeleteOptions{}))
			result := second.out.result(t, id)
			requireStatus(t, result, "success")
			if len(p.podsOn(node)) != 0 {
				t.Fatalf("left on the node: %v", p.podsOn(node))
			}
			if got := record(t, p.node(node)).Phase; got != drain.Done {
				t.Fatalf("the node says %s", got)
			}
			evictions := first.asked.granted("POST ", "/eviction")
			for pod, n := range second.asked.granted("POST ", "/eviction") {
				evictions[pod] += n
			}
			for pod, n := range evictions {
				if n > 2 {
					t.Errorf("%s was granted %d times: one duplicate is allowed", pod, n)
				}
			}
			if len(evictions) != 5 {
				t.Errorf("evicted %v, want five pods", evictions)
			}
			events, err := kube.admin.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{
				FieldSelector: "involvedObject.name=" + node + ",reason=DrainStarted",
			})
			require(t, err)
			if len(events.Items) != 1 || events.Items[0].Count > 1 {
				t.Errorf("the cordon was told of as %v, want once", events.Items)
			}
		})
	}
}

func record(t *testing.T, node *corev1.Node) drain.Record {
	t.Helper()
	var r drain.Record
	require(t, json.Unmarshal([]byte(node.Annotations[drain.RecordAnnotation]), &r))
	return r
}

func TestF26ACancelledDrainLeavesTheNodeAsItWas(t *testing.T) {
	for name, before := range map[string]bool{"which was open": false, "which somebody had cordoned": true} {
		t.Run(name, func(t *testing.T) {
			p := newPlot(t)
			node := p.addNode("a")
			p.deploy("web", 2, nil)
			p.budget("web", 2)
			if before {
				_, err := kube.admin.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType,
					[]byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
				require(t, err)
			}
			r := startRooms(t, t.TempDir())
			id := r.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node, Force: true})
			await(t, "the node to be marked", func() bool { return p.node(node).Annotations[drain.RecordAnnotation] != "" })
			n := p.node(node)
			if !n.Spec.Unschedulable || n.Labels[corev1.LabelNodeExcludeBalancers] != "true" || record(t, n).CordonedByUs == before {
				t.Fatalf("marked as %v %v %v", n.Spec, n.Labels, n.Annotations)
			}
			require(t, r.runner.Cancel(&cancelMsg{TaskId: id, Attempt: 1, Reason: "withdrawn"}))
			result := r.out.result(t, id)
			requireStatus(t, result, "cancelled")
			n = p.node(node)
			if !strings.Contains(result.GetError(), "withdrawn") || n.Spec.Unschedulable != before {
				t.Fatalf("error %q, node %v", result.GetError(), n.Spec)
			}
			n.Spec.Unschedulable = false // the other's
			requireUntouched(t, n)
		})
	}
}

func TestF26AnUncordonDuringADrainIsAVeto(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	r := startRooms(t, t.TempDir())
	id := r.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node})
	await(t, "the drain to be refused once", func() bool {
		return slices.ContainsFunc(r.out.all(), func(m msg) bool { return m.GetTaskProgress().GetDrain().GetBlocked() == 2 })
	})
	_, err := kube.admin.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType,
		[]byte(`{"spec":{"unschedulable":null}}`), metav1.PatchOptions{})
	require(t, err)
	result := r.out.result(t, id)
	requireStatus(t, result, "failed")
	if !strings.Contains(result.GetError(), "uncordoned") {
		t.Fatalf("error %q", result.GetError())
	}
	requireUntouched(t, p.node(node))
}

func TestF26AnUncordonAfterADrainTakesItsMarksAwayToo(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	r := startRooms(t, t.TempDir())
	requireStatus(t, r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node}), "success")
	if n := p.node(node); record(t, n).Phase != drain.Done || !n.Spec.Unschedulable || len(n.Spec.Taints) == 0 {
		t.Fatalf("a finished drain left %v %v", n.Spec, n.Annotations)
	}
	_, err := kube.admin.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType,
		[]byte(`{"spec":{"unschedulable":null}}`), metav1.PatchOptions{})
	require(t, err)
	await(t, "the marks to go", func() bool { return p.node(node).Annotations[drain.RecordAnnotation] == "" })
	requireUntouched(t, p.node(node))
}

func TestF13ANodeThatVanishesDuringItsDrainIsDrained(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	r := startRooms(t, t.TempDir())
	id := r.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node})
	await(t, "the node to be cordoned", func() bool { return p.node(node).Spec.Unschedulable })
	require(t, kube.admin.CoreV1().Nodes().Delete(t.Context(), node, metav1.DeleteOptions{}))
	result := r.out.result(t, id)
	requireStatus(t, result, "success")
	if phase := report(t, result).GetPhase(); phase != "node_gone" {
		t.Fatalf("phase %s", phase)
	}
}

// allowForce grants the right to delete pods until the test ends.
func (p *plot) allowForce() {
	t := p.t
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: p.name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"delete"}}},
	}
	bound := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: p.name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "cloudoptim-agent", Namespace: "cloudoptim"}},
	}
	_, err := kube.admin.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	require(t, err)
	_, err = kube.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), bound, metav1.CreateOptions{})
	require(t, err)
	t.Cleanup(func() {
		require(t, kube.admin.RbacV1().ClusterRoleBindings().Delete(context.Background(), p.name, metav1.DeleteOptions{}))
	})
}

// stale shows a pod that has been replaced by one of the same name.
type stale struct {
	drain.View
	pod *corev1.Pod
}

func (s stale) PodsOn(string) []*corev1.Pod { return []*corev1.Pod{s.pod} }

func TestF20AReplacedPodIsNeverTouched(t *testing.T) {
	p := newPlot(t)
	node, other := p.addNode("a"), p.addNode("b")
	old := p.bare("db-0", node)
	none := int64(0)
	require(t, kube.admin.CoreV1().Pods(p.name).Delete(t.Context(), old.Name, metav1.DeleteOptions{GracePeriodSeconds: &none}))
	await(t, "the old pod to go", func() bool {
		_, err := kube.admin.CoreV1().Pods(p.name).Get(t.Context(), old.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	fresh := p.bare("db-0", other)
	r := startRooms(t, t.TempDir())

	client, err := kubernetes.NewForConfig(kube.agent)
	require(t, err)
	exec := &drain.Executor{Client: client, View: stale{View: r.cluster, pod: old}, Log: discard()}
	d := exec.New(drain.Request{
		TaskID: newTask(t, "drain_node", 1, &fleetv1.DrainNodeParameters{}).TaskId, Deadline: time.Now().Add(30 * time.Second),
		Parameters: &fleetv1.DrainNodeParameters{NodeName: node}, Note: t.Logf,
	})
	out, err := d.Run(t.Context())
	require(t, err)
	if out.Status != drain.Success {
		t.Fatalf("drain ended as %v, report %v", out, d.Report())
	}
	now, err := kube.admin.CoreV1().Pods(p.name).Get(t.Context(), "db-0", metav1.GetOptions{})
	require(t, err)
	if now.UID != fresh.UID || now.DeletionTimestamp != nil {
		t.Fatalf("the replacement was touched: %v", now.ObjectMeta)
	}
	if pod := d.Report().GetPods()[0]; pod.GetState() != "gone" || pod.GetAttempts() != 1 {
		t.Fatalf("report %v", pod)
	}
}
