package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

const (
	// ReplicasAnnotation keeps what a workload had before it was put to sleep.
	ReplicasAnnotation = "cloudoptim.io/replicas-before-sleep"
	// AsleepByAnnotation names the schedule that put it to sleep.
	AsleepByAnnotation = "cloudoptim.io/asleep-by"
	// firstLook and lastLook bound the time between two looks at replicas that get ready.
	firstLook, lastLook = 500 * time.Millisecond, 5 * time.Second
	// inHand is how long before its deadline a wake stops waiting: it has done its part.
	inHand = 2 * time.Second
)

// neverScaled are namespaces of the cluster itself; central leaves them alone as well.
var neverScaled = map[string]bool{"kube-system": true, "kube-public": true, "kube-node-lease": true}

// workload is of a Deployment or StatefulSet what scaling needs.
type workload struct {
	meta           metav1.ObjectMeta
	replicas       int32 // wanted
	ready, updated int32
	observed       int64 // generation that the status is of
}

func (w *workload) asleepBy() string { return w.meta.Annotations[AsleepByAnnotation] }

// scaleJob is a task that puts a workload to sleep or wakes it. The notes and the
// replicas are one patch, guarded by the resourceVersion, so that what is noted is
// what was there. A HorizontalPodAutoscaler does nothing at zero replicas, by its
// own rule, and goes on when there are some again.
type scaleJob struct {
	client kubernetes.Interface
	fence  drain.Fence
	params *fleetv1.ScaleWorkloadParameters
	until  time.Time
	notes  notes

	mu     sync.Mutex
	report fleetv1.ScaleReport
}

func (r *Runner) scaleJob(t *task) (job, error) {
	p := &fleetv1.ScaleWorkloadParameters{}
	if err := decode(t.Task.GetParameters(), p); err != nil {
		return nil, err
	}
	if neverScaled[p.GetNamespace()] || p.GetNamespace() == r.cfg.Drains.Self.Namespace {
		return nil, fmt.Errorf("namespace %s is never scaled", p.GetNamespace())
	}
	return &scaleJob{client: r.cfg.Client, fence: r.cfg.Fence, params: p, until: t.until}, nil
}

func (j *scaleJob) subject() string {
	return j.params.GetKind() + " " + j.params.GetNamespace() + "/" + j.params.GetName()
}

func (j *scaleJob) prepare(context.Context) bool { return false }

func (j *scaleJob) progress() (float64, string, *fleetv1.DrainReport) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.report.GetOutcome() == "" {
		return 0, "scaling " + j.subject(), nil
	}
	return 0.5, fmt.Sprintf("%d of %d replicas of %s are ready", j.report.GetReady(), j.report.GetReplicas(), j.subject()), nil
}

func (j *scaleJob) do(ctx context.Context) outcome {
	ctx, cancel := context.WithDeadline(ctx, j.until)
	defer cancel()
	out := persist(ctx, j.try)
	if out.status == "success" && j.params.GetAction() == "wake" {
		j.awaitReady(ctx)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	out.logs, out.metadata = j.notes.String(), asStruct(&j.report)
	return out
}

// try decides by the workload as it is now.
func (j *scaleJob) try(ctx context.Context) error {
	w, err := j.read(ctx)
	if apierrors.IsNotFound(err) {
		j.is("gone", 0, "%s is gone", j.subject())
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", j.subject(), err)
	}
	if j.params.GetAction() == "wake" {
		return j.wake(ctx, w)
	}
	return j.sleep(ctx, w)
}

func (j *scaleJob) sleep(ctx context.Context, w *workload) error {
	switch {
	case w.replicas == 0 && w.asleepBy() == j.params.GetScheduleId():
		before, _ := replicasBefore(w)
		j.is("slept", before, "%s sleeps already", j.subject())
		return nil
	case w.replicas == 0:
		j.is("left_alone", 0, "%s has no replicas that this schedule could take: it is left as it is", j.subject())
		return nil
	}
	err := j.patch(ctx, w, 0, map[string]any{
		ReplicasAnnotation: strconv.Itoa(int(w.replicas)), AsleepByAnnotation: j.params.GetScheduleId(),
	})
	if err != nil {
		return err
	}
	j.is("slept", w.replicas, "scaled %s from %d to 0", j.subject(), w.replicas)
	return nil
}

// wake gives back what was taken. Who scaled the workload meanwhile is not overruled.
func (j *scaleJob) wake(ctx context.Context, w *workload) error {
	nothing := map[string]any{ReplicasAnnotation: nil, AsleepByAnnotation: nil}
	switch {
	case w.asleepBy() != j.params.GetScheduleId():
		j.is("left_alone", w.replicas, "%s does not sleep by this schedule: it is left as it is", j.subject())
		return nil
	case w.replicas > 0:
		if err := j.patch(ctx, w, w.replicas, nothing); err != nil {
			return err
		}
		j.is("scaled_by_hand", w.replicas, "somebody scaled %s to %d while it slept: it is left so", j.subject(), w.replicas)
		return nil
	}
	replicas, known := replicasBefore(w)
	if err := j.patch(ctx, w, replicas, nothing); err != nil {
		return err
	}
	if !known {
		j.notes.add("the note of the replicas it had cannot be read: %q", w.meta.Annotations[ReplicasAnnotation])
	}
	j.is("woken", replicas, "scaled %s from 0 to %d", j.subject(), replicas)
	return nil
}

// replicasBefore sleep; one where nobody knows, which is better than none.
func replicasBefore(w *workload) (replicas int32, known bool) {
	n, err := strconv.ParseInt(w.meta.Annotations[ReplicasAnnotation], 10, 32)
	if err != nil || n < 1 {
		return 1, false
	}
	return int32(n), true
}

func (j *scaleJob) is(what string, replicas int32, format string, args ...any) {
	j.notes.add(format, args...)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Outcome, j.report.Replicas = what, replicas
}

func (j *scaleJob) read(ctx context.Context) (*workload, error) {
	apps, at := j.client.AppsV1(), metav1.GetOptions{}
	if j.params.GetKind() == "StatefulSet" {
		s, err := apps.StatefulSets(j.params.GetNamespace()).Get(ctx, j.params.GetName(), at)
		if err != nil {
			return nil, err
		}
		return &workload{
			meta: s.ObjectMeta, replicas: wanted(s.Spec.Replicas), ready: s.Status.ReadyReplicas, updated: s.Status.Replicas,
			observed: s.Status.ObservedGeneration,
		}, nil
	}
	d, err := apps.Deployments(j.params.GetNamespace()).Get(ctx, j.params.GetName(), at)
	if err != nil {
		return nil, err
	}
	return &workload{
		meta: d.ObjectMeta, replicas: wanted(d.Spec.Replicas), ready: d.Status.ReadyReplicas, updated: d.Status.UpdatedReplicas,
		observed: d.Status.ObservedGeneration,
	}, nil
}

func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

func (j *scaleJob) patch(ctx context.Context, w *workload, replicas int32, annotations map[string]any) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": string(w.meta.UID), "resourceVersion": w.meta.ResourceVersion, "annotations": annotations,
		},
		"spec": map[string]any{"replicas": replicas},
	})
	if err != nil {
		return err
	}
	if j.fence != nil && !j.fence.Held() {
		return drain.ErrNotLeading
	}
	apps, opts := j.client.AppsV1(), metav1.PatchOptions{}
	if j.params.GetKind() == "StatefulSet" {
		_, err = apps.StatefulSets(j.params.GetNamespace()).Patch(ctx, j.params.GetName(), types.MergePatchType, body, opts)
	} else {
		_, err = apps.Deployments(j.params.GetNamespace()).Patch(ctx, j.params.GetName(), types.MergePatchType, body, opts)
	}
	if err != nil {
		return fmt.Errorf("scaling %s: %w", j.subject(), err)
	}
	return nil
}

// awaitReady waits as long as the task says until all replicas are ready. Those
// that are not are told of and fail nothing: the next stage has waited its time.
func (j *scaleJob) awaitReady(ctx context.Context) {
	within := time.Duration(j.params.GetReadyWithinSeconds()) * time.Second
	ctx, cancel := context.WithTimeout(ctx, max(0, min(within, time.Until(j.until)-inHand)))
	defer cancel()
	for wait := firstLook; ; wait = min(wait*2, lastLook) {
		if w, err := j.read(ctx); apierrors.IsNotFound(err) || (err == nil && j.ready(w)) {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if within > 0 {
				j.mu.Lock()
				j.notes.add("%d of %d replicas were ready when it was waited for no longer", j.report.GetReady(), j.report.GetReplicas())
				j.mu.Unlock()
			}
			return
		case <-timer.C:
		}
	}
}

func (j *scaleJob) ready(w *workload) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Ready, j.report.Replicas = w.ready, w.replicas
	return w.observed >= w.meta.Generation && min(w.ready, w.updated) >= w.replicas
}
