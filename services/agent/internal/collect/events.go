package collect

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// eventRoom is what fits one batch and what waits at the most.
const eventRoom = 1000

// eventFilters are the events worth sending: every warning, and all that is
// said of nodes.
var eventFilters = []string{"type=Warning", "involvedObject.kind=Node"}

// startEvents watches events where that is allowed; nothing else needs them.
func (c *Collector) startEvents(ctx context.Context) error {
	_, err := c.cfg.Client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsForbidden(err) {
		c.cfg.Log.Warn("events may not be read: central will not show them", "error", err)
		return nil
	}
	for _, filter := range eventFilters {
		factory := informers.NewSharedInformerFactoryWithOptions(c.cfg.Client, 0, informers.WithTransform(strip),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = filter }))
		_, err := factory.Core().V1().Events().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { c.events.add(obj) },
			UpdateFunc: func(_, obj any) { c.events.add(obj) },
		})
		if err != nil {
			return fmt.Errorf("watching events: %w", err)
		}
		factory.StartWithContext(ctx)
	}
	return nil
}

// eventQueue folds repeats of an event; when it is full new ones are dropped
// and counted, as events inform and decide nothing.
type eventQueue struct {
	mu      sync.Mutex
	waiting map[string]*fleetv1.Event
	dropped int
}

func newEventQueue() *eventQueue { return &eventQueue{waiting: map[string]*fleetv1.Event{}} }

func (q *eventQueue) add(obj any) {
	event, ok := obj.(*corev1.Event)
	if !ok {
		return
	}
	m := eventMessage(event)
	if m == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, repeat := q.waiting[m.EventId]; !repeat && len(q.waiting) >= eventRoom {
		q.dropped++
		return
	}
	q.waiting[m.EventId] = m
}

func (q *eventQueue) take() (events []*fleetv1.Event, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.waiting {
		events = append(events, m)
	}
	dropped = q.dropped
	q.waiting, q.dropped = map[string]*fleetv1.Event{}, 0
	return events, dropped
}

func (c *Collector) sendEvents(ctx context.Context) error {
	events, dropped := c.events.take()
	if dropped > 0 {
		c.cfg.Log.Warn("more events than are sent", "dropped", dropped)
	}
	for len(events) > 0 {
		// Messages are up to 4 KiB each: a page must not outgrow central's limit.
		n, bytes := 0, 0
		for n < len(events) && bytes < pageBytes {
			bytes += len(events[n].Message) + 512
			n++
		}
		batch := &agentv1.EventBatch{Events: events[:n]}
		events = events[n:]
		if err := c.cfg.Outbox.Bulk(ctx, &agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Events{Events: batch}}); err != nil {
			return err
		}
	}
	return nil
}

// eventMessage folds the old and the new form of events into one; nil for an
// event about nothing.
func eventMessage(e *corev1.Event) *fleetv1.Event {
	if e.InvolvedObject.Kind == "" || e.InvolvedObject.Name == "" || e.Reason == "" {
		return nil
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		return nil
	}
	m := &fleetv1.Event{
		EventId: string(e.UID), Type: e.Type, Reason: cut(e.Reason, 128), Message: cut(e.Message, 4096),
		ObjectKind: cut(e.InvolvedObject.Kind, 63), ObjectNamespace: e.InvolvedObject.Namespace,
		ObjectName: cut(e.InvolvedObject.Name, 253), ObjectUid: cut(string(e.InvolvedObject.UID), 64),
		ReportingComponent: cut(e.ReportingController, 253), Count: max(e.Count, 1),
	}
	if m.ReportingComponent == "" {
		m.ReportingComponent = cut(e.Source.Component, 253)
	}
	first := firstTime(e.FirstTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
	last := firstTime(e.LastTimestamp.Time, first)
	if e.Series != nil {
		m.Count = max(e.Series.Count, 1)
		last = firstTime(e.Series.LastObservedTime.Time, last)
	}
	m.FirstSeen, m.LastSeen = timestamppb.New(first), timestamppb.New(last)
	return m
}

func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
