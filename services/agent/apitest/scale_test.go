package apitest

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"google.golang.org/protobuf/encoding/protojson"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/tasks"
)

const (
	nights  = "7a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01"
	another = "7a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a02"
)

func (p *plot) deployment(name string) *appsv1.Deployment {
	p.t.Helper()
	d, err := kube.admin.AppsV1().Deployments(p.name).Get(p.t.Context(), name, metav1.GetOptions{})
	require(p.t, err)
	return d
}

func (p *plot) scaleByHand(name string, replicas string) {
	p.t.Helper()
	_, err := kube.admin.AppsV1().Deployments(p.name).Patch(p.t.Context(), name, types.MergePatchType,
		[]byte(`{"spec":{"replicas":`+replicas+`}}`), metav1.PatchOptions{})
	require(p.t, err)
}

func (p *plot) order(kind, name, action, schedule string, ready int32) *fleetv1.ScaleWorkloadParameters {
	return &fleetv1.ScaleWorkloadParameters{
		Namespace: p.name, Kind: kind, Name: name, Action: action, ScheduleId: schedule, ReadyWithinSeconds: ready,
	}
}

// scales gives a task and returns what it says it did.
func (r *rooms) scales(p *fleetv1.ScaleWorkloadParameters) *fleetv1.ScaleReport {
	r.t.Helper()
	result := r.do("scale_workload", p)
	requireStatus(r.t, result, "success")
	text, err := result.GetMetadata().MarshalJSON()
	require(r.t, err)
	out := &fleetv1.ScaleReport{}
	require(r.t, protojson.Unmarshal(text, out))
	return out
}

func requireScale(t *testing.T, got *fleetv1.ScaleReport, outcome string, replicas int32) {
	t.Helper()
	if got.GetOutcome() != outcome || got.GetReplicas() != replicas {
		t.Fatalf("it %v, want %s of %d", got, outcome, replicas)
	}
}

func requireNotes(t *testing.T, d metav1.ObjectMeta, replicas, by string) {
	t.Helper()
	if d.Annotations[tasks.ReplicasAnnotation] != replicas || d.Annotations[tasks.AsleepByAnnotation] != by {
		t.Fatalf("annotations %v, want %q by %q", d.Annotations, replicas, by)
	}
}

func TestAWorkloadSleepsAndWakes(t *testing.T) {
	p := newPlot(t)
	p.addNode("a")
	p.deploy("web", 3, nil)
	r := startRooms(t, t.TempDir())
	for range 2 { // a second order changes nothing
		requireScale(t, r.scales(p.order("Deployment", "web", "sleep", nights, 0)), "slept", 3)
		d := p.deployment("web")
		requireNotes(t, d.ObjectMeta, "3", nights)
		if *d.Spec.Replicas != 0 {
			t.Fatalf("%d replicas", *d.Spec.Replicas)
		}
	}
	requireScale(t, r.scales(p.order("Deployment", "web", "wake", another, 0)), "left_alone", 0)
	woken := r.scales(p.order("Deployment", "web", "wake", nights, 60))
	requireScale(t, woken, "woken", 3)
	if woken.GetReady() != 3 {
		t.Fatalf("it did not wait: %v", woken)
	}
	requireNotes(t, p.deployment("web").ObjectMeta, "", "")
	requireScale(t, r.scales(p.order("Deployment", "web", "wake", nights, 0)), "left_alone", 3)
}

func TestAStatefulSetSleepsAndWakes(t *testing.T) {
	p := newPlot(t)
	p.addNode("a")
	replicas := int32(2)
	sets := kube.admin.AppsV1().StatefulSets(p.name)
	_, err := sets.Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: appsv1.StatefulSetSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}, Template: p.template("db", nil),
	}}, metav1.CreateOptions{})
	require(t, err)
	r := startRooms(t, t.TempDir())
	requireScale(t, r.scales(p.order("StatefulSet", "db", "sleep", nights, 0)), "slept", 2)
	s, err := sets.Get(t.Context(), "db", metav1.GetOptions{})
	require(t, err)
	requireNotes(t, s.ObjectMeta, "2", nights)
	requireScale(t, r.scales(p.order("StatefulSet", "db", "wake", nights, 60)), "woken", 2)
}

func TestWhoScalesByHandWins(t *testing.T) {
	p := newPlot(t)
	p.addNode("a")
	p.deploy("web", 3, nil)
	p.deploy("off", 0, nil)
	r := startRooms(t, t.TempDir())
	requireScale(t, r.scales(p.order("Deployment", "off", "sleep", nights, 0)), "left_alone", 0)
	requireNotes(t, p.deployment("off").ObjectMeta, "", "")
	requireScale(t, r.scales(p.order("Deployment", "off", "wake", nights, 0)), "left_alone", 0)

	requireScale(t, r.scales(p.order("Deployment", "web", "sleep", nights, 0)), "slept", 3)
	p.scaleByHand("web", "1")
	requireScale(t, r.scales(p.order("Deployment", "web", "wake", nights, 0)), "scaled_by_hand", 1)
	requireNotes(t, p.deployment("web").ObjectMeta, "", "")
	requireScale(t, r.scales(p.order("Deployment", "web", "sleep", nights, 0)), "slept", 1)
	requireScale(t, r.scales(p.order("Deployment", "gone", "sleep", nights, 0)), "gone", 0)
	requireScale(t, r.scales(p.order("Deployment", "gone", "wake", nights, 30)), "gone", 0)
}

func TestAnAutoscalerSleepsAndWakesWithItsTarget(t *testing.T) {
	p := newPlot(t)
	p.addNode("a")
	p.deploy("web", 3, nil)
	least := int32(2)
	hpas := kube.admin.AutoscalingV2().HorizontalPodAutoscalers(p.name)
	_, err := hpas.Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    &least, MaxReplicas: 5,
		},
	}, metav1.CreateOptions{})
	require(t, err)
	r := startRooms(t, t.TempDir())
	requireScale(t, r.scales(p.order("Deployment", "web", "sleep", nights, 0)), "slept", 3)
	await(t, "the autoscaler to be disabled by the zero", func() bool {
		hpa, err := hpas.Get(t.Context(), "web", metav1.GetOptions{})
		require(t, err)
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse && c.Reason == "ScalingDisabled" {
				return true
			}
		}
		return false
	})
	if n := *p.deployment("web").Spec.Replicas; n != 0 {
		t.Fatalf("it was woken by its autoscaler: %d", n)
	}
	requireScale(t, r.scales(p.order("Deployment", "web", "wake", nights, 30)), "woken", 3)
}

func TestAStopHoldsSleepAndNoWaking(t *testing.T) {
	p := newPlot(t)
	p.addNode("a")
	p.deploy("web", 1, nil)
	r := startRooms(t, t.TempDir())
	requireScale(t, r.scales(p.order("Deployment", "web", "sleep", nights, 0)), "slept", 1)
	r.runner.SetStop(&agentv1.SafetyStop{Reason: "all hands", IncludeInterruptions: true})
	requireScale(t, r.scales(p.order("Deployment", "web", "wake", nights, 0)), "woken", 1)
	requireStatus(t, r.do("scale_workload", p.order("Deployment", "web", "sleep", nights, 0)), "cancelled")
	if n := *p.deployment("web").Spec.Replicas; n != 1 {
		t.Fatalf("%d replicas", n)
	}
}

func TestWhatRunsTheClusterIsNeverScaled(t *testing.T) {
	r := startRooms(t, t.TempDir())
	order := &fleetv1.ScaleWorkloadParameters{Namespace: "kube-system", Kind: "Deployment", Name: "coredns", Action: "sleep", ScheduleId: nights}
	result := r.do("scale_workload", order)
	requireStatus(t, result, "failed")
	if !strings.Contains(result.GetError(), "kube-system") {
		t.Fatalf("error %q", result.GetError())
	}
}

func TestTheAPIServerLetsOnlyReplicasBeChanged(t *testing.T) {
	admit(t)
	p := newPlot(t)
	p.addNode("a")
	p.deploy("web", 1, nil)
	agent, err := newClient(kube.agent)
	require(t, err)
	patch := func(namespace, body string) error {
		_, err := agent.AppsV1().Deployments(namespace).Patch(t.Context(), "web", types.MergePatchType, []byte(body), metav1.PatchOptions{})
		return err
	}
	other := p.deployment("web").DeepCopy()
	_, err = kube.admin.AppsV1().Deployments("kube-system").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: other.Spec,
	}, metav1.CreateOptions{})
	require(t, err)
	t.Cleanup(func() {
		_ = kube.admin.AppsV1().Deployments("kube-system").Delete(context.Background(), "web", metav1.DeleteOptions{})
	})
	image := `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"evil"}]}}}}`
	await(t, "the policy to count", func() bool { return apierrors.IsForbidden(patch(p.name, image)) })
	for name, body := range map[string]string{
		"another's annotation": `{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"9"}}}`,
		"a label":              `{"metadata":{"labels":{"a":"b"}}}`,
		"a template's note":    `{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}`,
	} {
		if err := patch(p.name, body); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want forbidden", name, err)
		}
	}
	if err := patch("kube-system", `{"spec":{"replicas":0}}`); !apierrors.IsForbidden(err) {
		t.Errorf("kube-system: %v, want forbidden", err)
	}
	require(t, patch(p.name, `{"metadata":{"annotations":{"cloudoptim.io/asleep-by":"x"}},"spec":{"replicas":0}}`))
}
