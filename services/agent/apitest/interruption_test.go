package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/workid"
)

// stopAfter tells the fake kubelet how long a pod takes to stop.
const stopAfter = "lab.cloudoptim.io/stop-after"

func (p *plot) patchNode(name, patch string) {
	p.t.Helper()
	_, err := kube.admin.CoreV1().Nodes().Patch(p.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require(p.t, err)
}

// awaitProgress waits for a report of a drain in hand.
func (r *rooms) awaitProgress(what string, is func(*fleetv1.DrainReport) bool) {
	r.t.Helper()
	await(r.t, what, func() bool {
		return slices.ContainsFunc(r.out.all(), func(m msg) bool {
			d := m.GetTaskProgress().GetDrain()
			return d != nil && is(d)
		})
	})
}

func TestF13PodsOfAStoppedInstanceAreDeletedByUIDNotWaitedFor(t *testing.T) {
	p := newPlot(t)
	p.allowForce()
	node := p.addNode("a")
	p.deploy("web", 2, map[string]string{stopAfter: "1h"})
	p.budget("web", 2)
	p.deploy("free", 2, map[string]string{stopAfter: "1h"})
	p.patchNode(node, `{"spec":{"taints":[{"key":"node.cloudprovider.kubernetes.io/shutdown","effect":"NoSchedule"}]}}`)
	r := startRooms(t, t.TempDir())
	result := r.out.result(t, r.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node, Force: true}))
	requireStatus(t, result, "success")
	if result.GetDurationSeconds() > 30 {
		t.Fatalf("took %.0f s of the 60: pods were waited for that nobody would end", result.GetDurationSeconds())
	}
	if rep := report(t, result); rep.GetForced() != 4 || states(rep)["gone forced"] != 4 || len(p.podsOn(node)) != 0 {
		t.Fatalf("report %v, left %v", rep, p.podsOn(node))
	}
}

func TestF14ANameTakenOverInTheMiddleIsLeftAlone(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	r := startRooms(t, t.TempDir())
	id := r.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node, InstanceId: instanceOf(node), Force: true})
	r.awaitProgress("the budget to hold it", func(d *fleetv1.DrainReport) bool { return d.GetBlocked() == 2 })
	old := p.node(node)
	require(t, kube.admin.CoreV1().Nodes().Delete(t.Context(), node, metav1.DeleteOptions{}))
	labels := old.Labels
	delete(labels, corev1.LabelNodeExcludeBalancers)
	_, err := kube.admin.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node, Labels: labels},
		Spec:       corev1.NodeSpec{ProviderID: "aws:///us-east-1a/i-0aaaaaaaaaaaaaaaa"}, Status: old.Status,
	}, metav1.CreateOptions{})
	require(t, err)
	fresh := p.bare("fresh", node)
	result := r.out.result(t, id)
	requireStatus(t, result, "success")
	if phase := report(t, result).GetPhase(); phase != "node_gone" {
		t.Fatalf("phase %s", phase)
	}
	requireUntouched(t, p.node(node))
	now, err := kube.admin.CoreV1().Pods(p.name).Get(t.Context(), "fresh", metav1.GetOptions{})
	require(t, err)
	if now.UID != fresh.UID || now.DeletionTimestamp != nil {
		t.Fatalf("a pod of the new node was touched: %v", now.ObjectMeta)
	}
	again := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node, InstanceId: instanceOf(node), Force: true})
	requireStatus(t, again, "failed")
	requireUntouched(t, p.node(node))
}

func TestF17PodsThatAreNotMovedAreReportedWithTheirReason(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.daemon("logs", 1)
	p.bare("unmanaged", node)
	p.bare("done", node)
	_, err := kube.admin.CoreV1().Pods(p.name).Patch(t.Context(), "done", types.MergePatchType,
		[]byte(`{"status":{"phase":"Succeeded"}}`), metav1.PatchOptions{}, "status")
	require(t, err)
	for name, change := range map[string]func(*corev1.Pod){
		"static": func(pod *corev1.Pod) { pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} },
		"own":    func(*corev1.Pod) {},
	} {
		template := p.template(name, nil)
		template.Spec.NodeName = node
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels}, Spec: template.Spec}
		change(pod)
		_, err := kube.admin.CoreV1().Pods(p.name).Create(t.Context(), pod, metav1.CreateOptions{})
		require(t, err)
	}
	p.tolerant("everywhere")
	r := startRooms(t, t.TempDir())
	r.drains.Self = types.NamespacedName{Namespace: p.name, Name: "own"}
	result := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node})
	requireStatus(t, result, "success")
	requireEqual(t, "report", states(report(t, result)), map[string]int{
		"skipped daemonset": 1, "skipped finished": 1, "skipped mirror": 1, "skipped own": 1, "skipped tolerates-cordon": 1,
		"gone": 2, // the unmanaged one, and the tolerant one once
	})
}

// tolerant makes a Deployment of one pod that no taint keeps away.
func (p *plot) tolerant(app string) {
	p.t.Helper()
	one, labels, template := int32(1), map[string]string{"app": app}, p.template(app, nil)
	template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	_, err := kube.admin.AppsV1().Deployments(p.name).Create(p.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec:       appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{})
	require(p.t, err)
	await(p.t, app+" to be available", func() bool { return p.available(app) == 1 })
}

func TestF18APodWithLocalStorageIsThePolicysAndStopsNoOther(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	template := p.template("cache", nil)
	template.Spec.NodeName = node
	template.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	_, err := kube.admin.CoreV1().Pods(p.name).Create(t.Context(),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "cache", Labels: template.Labels}, Spec: template.Spec}, metav1.CreateOptions{})
	require(t, err)
	p.bare("other", node)
	r := startRooms(t, t.TempDir())
	kept := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node, KeepLocalStorage: true})
	requireStatus(t, kept, "failed")
	requireEqual(t, "report", states(report(t, kept)), map[string]int{"gone": 1, "blocked local-storage": 1})
	moved := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node})
	requireStatus(t, moved, "success")
	requireEqual(t, "report", states(report(t, moved)), map[string]int{"gone": 1})
}

func TestF18APodWithALocalVolumeIsThePolicysToo(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.claim("disk", corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/mnt/disk"}}, &corev1.VolumeNodeAffinity{
		Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}},
		}}}},
	})
	template := p.template("db", nil)
	template.Spec.NodeName = node
	template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "disk"},
	}}}
	_, err := kube.admin.CoreV1().Pods(p.name).Create(t.Context(),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db", Labels: template.Labels}, Spec: template.Spec}, metav1.CreateOptions{})
	require(t, err)
	p.bare("other", node)
	r := startRooms(t, t.TempDir())
	kept := r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node, KeepLocalStorage: true})
	requireStatus(t, kept, "failed")
	requireEqual(t, "report", states(report(t, kept)), map[string]int{"gone": 1, "blocked local-storage": 1})
}

// claim makes a pod's claim and the volume that it is bound to.
func (p *plot) claim(name string, source corev1.PersistentVolumeSource, on *corev1.VolumeNodeAffinity) (volume string) {
	p.t.Helper()
	ctx, volume := p.t.Context(), p.name+"-"+name
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes, none := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, ""
	_, err := kube.admin.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volume},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, PersistentVolumeSource: source, NodeAffinity: on,
			ClaimRef: &corev1.ObjectReference{Namespace: p.name, Name: name},
		},
	}, metav1.CreateOptions{})
	require(p.t, err)
	_, err = kube.admin.CoreV1().PersistentVolumeClaims(p.name).Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: modes, VolumeName: volume, StorageClassName: &none,
			Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}, metav1.CreateOptions{})
	require(p.t, err)
	return volume
}

// attach makes a pod's claim, its volume, and the volume's attachment to a node.
func (p *plot) attach(name, node string) (volume string) {
	p.t.Helper()
	volume = p.claim(name, corev1.PersistentVolumeSource{
		CSI: &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com", VolumeHandle: p.name + "-" + name},
	}, nil)
	_, err := kube.admin.StorageV1().VolumeAttachments().Create(p.t.Context(), &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: volume},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: "ebs.csi.aws.com", NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}},
	}, metav1.CreateOptions{})
	require(p.t, err)
	p.t.Cleanup(func() {
		_ = kube.admin.StorageV1().VolumeAttachments().Delete(context.Background(), volume, metav1.DeleteOptions{})
	})
	return volume
}

func withClaim(name string) []corev1.Volume {
	return []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
	}}}
}

func TestF25AVolumeIsWaitedForWithinBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		detaches bool
		want     []string
	}{
		"one that is detached": {true, nil},
		"one that never is":    {false, []string{"db"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot(t)
			node := p.addNode("a")
			template := p.template("agent", nil)
			template.Spec.Volumes = withClaim("daemon")
			_, err := kube.admin.AppsV1().DaemonSets(p.name).Create(t.Context(), &appsv1.DaemonSet{
				ObjectMeta: metav1.ObjectMeta{Name: "agent"},
				Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template},
			}, metav1.CreateOptions{})
			require(t, err)
			p.attach("daemon", node)
			volume := p.attach("db", node)
			pod := p.template("db", nil)
			pod.Spec.NodeName, pod.Spec.Volumes = node, withClaim("db")
			_, err = kube.admin.CoreV1().Pods(p.name).Create(t.Context(),
				&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db", Labels: pod.Labels}, Spec: pod.Spec}, metav1.CreateOptions{})
			require(t, err)
			await(t, "both pods", func() bool { return len(p.podsOn(node)) == 2 })
			r := startRooms(t, t.TempDir())

			id := r.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node, VolumeDetachSeconds: 8})
			r.awaitProgress("the volume to be waited for", func(d *fleetv1.DrainReport) bool {
				return d.GetPhase() == "detaching" && slices.Equal(d.GetAttachedVolumes(), []string{volume})
			})
			if tc.detaches {
				require(t, kube.admin.StorageV1().VolumeAttachments().Delete(t.Context(), volume, metav1.DeleteOptions{}))
			}
			result := r.out.result(t, id)
			requireStatus(t, result, "success")
			rep := report(t, result)
			if len(rep.GetAttachedVolumes()) != len(tc.want) || rep.GetPhase() != "drained" {
				t.Fatalf("report %v", rep)
			}
			warned := strings.Contains(result.GetLogs(), "warning: volumes are still attached: "+volume)
			if warned == tc.detaches {
				t.Fatalf("logs\n%s", result.GetLogs())
			}
			if took := result.GetDurationSeconds(); !tc.detaches && (took < 8 || took > 30) {
				t.Fatalf("waited %.1f s, the task says 8", took)
			}
		})
	}
}

func TestALocalDrainIsTheOneThatCentralOffersLater(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	r := startRooms(t, t.TempDir())
	task := newTask(t, "drain_node", 100, &fleetv1.DrainNodeParameters{NodeName: node, InstanceId: instanceOf(node)})
	task.TaskId = workid.InterruptionDrain(uuid.MustParse(clusterID), instanceOf(node), 0).String()
	require(t, r.runner.Local(t.Context(), task))
	await(t, "the node to be cordoned", func() bool { return p.node(node).Spec.Unschedulable })
	if len(r.runner.Running()) != 0 || slices.ContainsFunc(r.out.all(), func(m msg) bool { return m.GetTaskAccepted() != nil }) {
		t.Fatal("central was told of a task that it has not written")
	}

	task.RemainingSeconds = 4 // central knows the notice better
	require(t, r.runner.Offer(task))
	if running := r.runner.Running(); len(running) != 1 || running[0].GetTaskId() != task.TaskId {
		t.Fatalf("in hand: %v", running)
	}
	result := r.out.result(t, task.TaskId)
	requireStatus(t, result, "timeout")
	if result.GetDurationSeconds() > 30 {
		t.Fatalf("ended after %.0f s: the earlier deadline counts", result.GetDurationSeconds())
	}
	if n := len(r.asked.granted("PATCH ", node)); n != 1 {
		t.Fatalf("patched %d paths", n)
	}
	r.runner.Acked(&agentv1.ResultAck{TaskId: task.TaskId})
	if left := r.runner.Results(); len(left) != 0 {
		t.Fatalf("sent again though central refused it for good: %v", left)
	}
}

func TestF38WithoutTheLeaseNothingIsWritten(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	other := p.addNode("b")
	old := startRooms(t, t.TempDir())
	id := old.offer("drain_node", 60, &fleetv1.DrainNodeParameters{NodeName: node})
	old.awaitProgress("the budget to hold it", func(d *fleetv1.DrainReport) bool { return d.GetBlocked() == 2 })

	old.fence.lost.Store(true) // it was paused, and wakes up
	fresh := startRooms(t, t.TempDir())
	fresh.awaitProgress("the new leader to go on", func(d *fleetv1.DrainReport) bool { return d.GetBlocked() == 2 })
	before := len(old.out.all())
	cordon := old.offer("cordon_node", 2, &fleetv1.CordonNodeParameters{NodeName: other})
	drained := old.offer("drain_node", 2, &fleetv1.DrainNodeParameters{NodeName: other})
	require(t, kube.admin.PolicyV1().PodDisruptionBudgets(p.name).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	requireStatus(t, fresh.out.result(t, id), "success")
	for _, late := range []string{cordon, drained} {
		requireStatus(t, old.out.result(t, late), "timeout")
	}
	if slices.ContainsFunc(old.out.all()[before:], func(m msg) bool { return m.GetTaskResult().GetTaskId() == id }) {
		t.Fatal("the old leader reported the end of a drain that is not its any more")
	}
	for pod, n := range old.asked.granted("POST ", "/eviction") {
		t.Errorf("the old leader evicted %s %d times", pod, n)
	}
	requireUntouched(t, p.node(other))
}

func TestEventsTellPeopleWhatADrainDoes(t *testing.T) {
	p := newPlot(t)
	p.allowForce()
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	r := startRooms(t, t.TempDir())
	requireStatus(t, r.out.result(t, r.offer("drain_node", 20, &fleetv1.DrainNodeParameters{NodeName: node, Force: true})), "success")
	told := func(namespace, field string) string {
		list, err := kube.admin.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: field})
		require(t, err)
		var lines []string
		for _, e := range list.Items {
			if e.Source.Component == "cloudoptim-agent" {
				lines = append(lines, fmt.Sprint(e.Reason, ": ", e.Message))
			}
		}
		return strings.Join(lines, "\n")
	}
	await(t, "the node's events", func() bool {
		text := told("default", "involvedObject.name="+node)
		return strings.Contains(text, "DrainStarted") && strings.Contains(text, "DrainFinished")
	})
	await(t, "the pods' events", func() bool {
		text := told(p.name, "")
		return strings.Contains(text, "EvictionBlocked: CloudOptim cannot evict the pod yet: pdb web") && strings.Contains(text, "Forced: ")
	})
	if text := told(p.name, ""); strings.Count(text, "EvictionBlocked") > 2 {
		t.Fatalf("too much is said:\n%s", text)
	}
}
