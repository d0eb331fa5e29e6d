//go:build e2e

package e2e

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// office is a Deployment of three and a StatefulSet of one, in a namespace of their own.
type office struct {
	*stage.Stage
	t    *testing.T
	kube kubernetes.Interface
	// path of the schedule.
	path string
}

// schedule is what REST says of it.
type schedule struct {
	ScheduleID      string `json:"schedule_id"`
	State           string `json:"state"`
	HeldBecause     string `json:"held_because"`
	WorkloadsAsleep int    `json:"workloads_asleep"`
}

func openOffice(t *testing.T, s *stage.Stage) *office {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	o := &office{Stage: s, t: t, kube: client}
	ctx := t.Context()
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "office"}}, metav1.CreateOptions{})
	o.must(err)
	three, one := int32(3), int32(1)
	pod := func(app string) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
		labels := map[string]string{"app": app}
		small := corev1.ResourceList{"cpu": resource.MustParse("10m"), "memory": resource.MustParse("16Mi")}
		return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none", Resources: corev1.ResourceRequirements{Requests: small}}}},
		}
	}
	selector, template := pod("front")
	_, err = client.AppsV1().Deployments("office").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "front"}, Spec: appsv1.DeploymentSpec{Replicas: &three, Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	o.must(err)
	selector, template = pod("db")
	_, err = client.AppsV1().StatefulSets("office").Create(ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: appsv1.StatefulSetSpec{Replicas: &one, Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	o.must(err)
	o.await("the office to work", func() bool { return o.ready() == "front 3, db 1" })
	return o
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) await(what string, ok func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("waited in vain for %s: ready %s, schedule %+v", what, o.ready(), o.now())
		}
	}
}

// ready replicas, as Kubernetes says.
func (o *office) ready() string {
	front, err := o.kube.AppsV1().Deployments("office").Get(context.Background(), "front", metav1.GetOptions{})
	o.must(err)
	db, err := o.kube.AppsV1().StatefulSets("office").Get(context.Background(), "db", metav1.GetOptions{})
	o.must(err)
	count := func(n int32) string { return strconv.Itoa(int(n)) }
	return "front " + count(front.Status.ReadyReplicas) + ", db " + count(db.Status.ReadyReplicas)
}

func (o *office) notes() map[string]string {
	front, err := o.kube.AppsV1().Deployments("office").Get(context.Background(), "front", metav1.GetOptions{})
	o.must(err)
	notes := map[string]string{}
	for key, value := range front.Annotations {
		if strings.HasPrefix(key, "cloudoptim.io/") {
			notes[key] = value
		}
	}
	return notes
}

func (o *office) now() schedule {
	var all []schedule
	if err := o.Admin.Get(context.Background(), "/api/v1/admin/schedules", &all); err != nil || len(all) == 0 {
		return schedule{}
	}
	return all[0]
}

// wake until an hour from now, or end that.
func (o *office) wake(on bool) {
	o.t.Helper()
	until := time.Now().Add(-time.Hour)
	if on {
		until = time.Now().Add(time.Hour)
	}
	var said schedule
	o.must(o.Admin.Post(o.t.Context(), o.path+"/wake", map[string]any{"until": until.UTC().Format(time.RFC3339), "reason": "e2e"}, &said))
}

// TestOfficeHours puts real workloads to sleep and wakes them, with central killed
// in the middle and a stop in between.
func TestOfficeHours(t *testing.T) {
	s := newStage(t, cluster("6", "20", "11")...)
	o := openOffice(t, s)
	// Awake for an hour three days from now: it is night.
	day := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}[(int(time.Now().UTC().Weekday())+3)%7]
	var made schedule
	o.must(s.Admin.Post(t.Context(), "/api/v1/admin/schedules", map[string]any{
		"cluster_id": s.ClusterID, "name": "nights", "enabled": true, "scope": map[string]any{"namespaces": []string{"office"}},
		"calendar":   map[string]any{"time_zone": "UTC", "open": []any{map[string]any{"days": []string{day}, "from": "08:00", "to": "09:00"}}},
		"wake_order": []any{map[string]any{"workloads": []string{"office/db"}, "ready_minutes": 1}},
	}, &made))
	o.path = "/api/v1/admin/schedules/" + made.ScheduleID

	o.await("the office to sleep", func() bool { return o.ready() == "front 0, db 0" && o.now().State == "asleep" })
	if now, notes := o.now(), o.notes(); now.WorkloadsAsleep != 2 || notes["cloudoptim.io/replicas-before-sleep"] != "3" || notes["cloudoptim.io/asleep-by"] != made.ScheduleID {
		t.Fatalf("%+v, notes %v", now, notes)
	}
	requireEveryPodRuns(t, s) // all others do

	o.wake(true)
	s.Central.Kill()
	o.must(s.StartCentral(t.Context()))
	o.await("the office to wake", func() bool { return o.ready() == "front 3, db 1" && o.now().State == "awake" })
	if notes := o.notes(); len(notes) != 0 {
		t.Fatalf("notes %v", notes)
	}

	var stop struct {
		StopID string `json:"stop_id"`
	}
	o.must(s.Admin.Post(t.Context(), "/api/v1/admin/stops", map[string]any{"scope": "cluster", "cluster_id": s.ClusterID, "reason": "all hands"}, &stop))
	o.wake(false)
	o.await("the stop to hold", func() bool { return o.now().State == "held" && strings.Contains(o.now().HeldBecause, "all hands") })
	time.Sleep(3 * time.Second)
	if ready := o.ready(); ready != "front 3, db 1" {
		t.Fatalf("it slept while a stop held: %s", ready)
	}
	o.must(s.Admin.Post(t.Context(), "/api/v1/admin/stops/"+stop.StopID+"/lift", map[string]any{"reason": "over"}, nil))
	o.await("the office to sleep after the stop", func() bool { return o.ready() == "front 0, db 0" && o.now().State == "asleep" })

	o.must(s.Admin.Do(t.Context(), "DELETE", o.path, nil, nil))
	o.await("what was deleted to have woken all", func() bool { return o.ready() == "front 3, db 1" && len(o.notes()) == 0 })
	var runs []struct{ Action, Status string }
	o.must(s.Admin.Get(t.Context(), o.path+"/runs", &runs))
	if len(runs) != 4 {
		t.Errorf("runs %v, want sleep, wake, sleep, wake", runs)
	}
	// ml reads the database that central runs for itself, also after central was killed.
	o.must(s.Platform.Post(t.Context(), "/api/v1/admin/gap-filler/analyze", map[string]any{
		"model_training_date": time.Now().UTC().Format(time.RFC3339), "lookback_days": 7,
	}, nil))
}
