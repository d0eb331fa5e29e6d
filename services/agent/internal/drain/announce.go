package drain

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// eventRate and eventBurst bound what all drains together tell; the burst
	// lets two hundred nodes begin at once. What is beyond is not told.
	eventRate  = 5
	eventBurst = 250
	// eventsPerDrain is how many of a drain's pods are spoken of.
	eventsPerDrain = 10
)

// announcer tells people through Kubernetes events; its zero value is mute.
type announcer struct {
	mu       sync.Mutex
	recorder record.EventRecorder
	limit    flowcontrol.RateLimiter
}

// Announce lets the drains tell, through Kubernetes events written by client,
// what they do, until stop is called.
func (e *Executor) Announce(ctx context.Context, client kubernetes.Interface) (stop func()) {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typed.EventSinkImpl{Interface: client.CoreV1().Events("")})
	e.announceTo(broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "cloudoptim-agent"}))
	return func() {
		e.announceTo(nil)
		broadcaster.Shutdown()
	}
}

func (e *Executor) announceTo(recorder record.EventRecorder) {
	e.events.mu.Lock()
	defer e.events.mu.Unlock()
	e.events.recorder = recorder
	e.events.limit = flowcontrol.NewTokenBucketRateLimiter(eventRate, eventBurst)
}

func (e *Executor) tell(about runtime.Object, kind, reason, format string, args ...any) {
	e.events.mu.Lock()
	defer e.events.mu.Unlock()
	if e.events.recorder != nil && e.leading() && e.events.limit.TryAccept() {
		e.events.recorder.Eventf(about, kind, reason, format, args...)
	}
}

func (d *Drain) tellNode(kind, reason, format string, args ...any) {
	d.exec.tell(d.node, kind, reason, format, args...)
}

// tellPod speaks of the first pods only: one budget may hold a hundred.
func (d *Drain) tellPod(pod *corev1.Pod, reason, format string, args ...any) {
	if d.told++; d.told <= eventsPerDrain {
		d.exec.tell(pod, corev1.EventTypeWarning, reason, format, args...)
	}
}

// tellStart speaks after the cordons, which must not queue behind events, and of a
// drain that is resumed not again.
func (d *Drain) tellStart() {
	if d.fresh {
		d.tellNode(corev1.EventTypeNormal, "DrainStarted", "CloudOptim drains the node, task %s, until %s at the latest",
			d.req.TaskID, d.req.Deadline.UTC().Format(time.RFC3339))
	}
}

func (d *Drain) tellEnd(phase string) {
	_, line, _ := d.Progress()
	if phase == Done {
		d.tellNode(corev1.EventTypeNormal, "DrainFinished", "CloudOptim drained the node: %s", line)
		return
	}
	d.tellNode(corev1.EventTypeWarning, "DrainEnded", "CloudOptim ended the drain as %s: %s", phase, line)
}
