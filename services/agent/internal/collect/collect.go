// Package collect sees what the cluster looks like and tells central.
package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	metricsv1beta1 "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

// Outbox takes messages for central.
type Outbox interface {
	// Bulk blocks while central is slow to read.
	Bulk(ctx context.Context, msg *agentv1.ConnectRequest) error
	// Metrics replaces a report that was not sent yet.
	Metrics(msg *agentv1.ConnectRequest)
}

// Config is what a Collector needs.
type Config struct {
	// ClusterID goes into metrics.
	ClusterID string
	// Client lists and watches.
	Client kubernetes.Interface
	// Usage tells what nodes and pods use; nil: nobody asks.
	Usage metricsv1beta1.MetricsV1beta1Interface
	// Outbox leads to central.
	Outbox Outbox
	// Log warns of what cannot be seen.
	Log *slog.Logger
}

// Indexes of the pod informer.
const (
	byNode  = "node"
	byClaim = "claim"
)

// Collector watches the cluster. Start it, then Run it.
type Collector struct {
	cfg     Config
	factory informers.SharedInformerFactory
	nodes   cache.SharedIndexInformer
	pods    cache.SharedIndexInformer
	budgets cache.SharedIndexInformer
	claims  cache.SharedIndexInformer // nil when volumes may not be read
	volumes cache.SharedIndexInformer
	// attachments is nil when these may not be read.
	attachments cache.SharedIndexInformer

	events   *eventQueue
	watchers *watchers
	changed  *changes
	stock    *inventory
	usage    *usage

	synced     atomic.Bool
	watchError atomic.Int64 // unix ms of the last one

	mu    sync.Mutex
	said  signals
	every intervals
	base  int64 // what central has, for hello
	wake  chan struct{}
}

// signals are what the line said since the loop last looked. online alone stays.
type signals struct {
	online, connected, resync bool
	acked                     int64
}

type intervals struct {
	metrics, inventory time.Duration
}

// New makes a Collector; nothing is asked of the API server before Start.
func New(cfg Config) *Collector {
	factory := informers.NewSharedInformerFactoryWithOptions(cfg.Client, 0, informers.WithTransform(strip))
	c := &Collector{
		cfg: cfg, factory: factory,
		nodes:    factory.Core().V1().Nodes().Informer(),
		pods:     factory.Core().V1().Pods().Informer(),
		budgets:  factory.Policy().V1().PodDisruptionBudgets().Informer(),
		events:   newEventQueue(),
		watchers: newWatchers(),
		usage:    newUsage(cfg),
		changed:  newChanges(),
		every:    intervals{metrics: 30 * time.Second, inventory: 2 * time.Second},
		wake:     make(chan struct{}, 1),
	}
	c.stock = newInventory(c)
	return c
}

// Start fills the caches. Until it returns, nothing is told to central and
// nothing drained: a half-filled cache looks like a cluster that lost its pods.
func (c *Collector) Start(ctx context.Context) error {
	if err := c.pods.AddIndexers(cache.Indexers{byNode: nodeOfPod, byClaim: claimsOfPod}); err != nil {
		return fmt.Errorf("indexing pods: %w", err)
	}
	if err := c.addVolumes(ctx); err != nil {
		return err
	}
	if err := c.listen(); err != nil {
		return err
	}
	if err := c.startEvents(ctx); err != nil {
		return err
	}
	c.factory.StartWithContext(ctx)
	needed := []cache.InformerSynced{c.nodes.HasSynced, c.pods.HasSynced, c.budgets.HasSynced}
	if c.claims != nil {
		needed = append(needed, c.claims.HasSynced, c.volumes.HasSynced)
	}
	if c.attachments != nil {
		needed = append(needed, c.attachments.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), needed...) {
		return fmt.Errorf("filling the caches of the cluster: %w", context.Cause(ctx))
	}
	c.synced.Store(true)
	return nil
}

// addVolumes watches volumes where that is allowed. Without them a pod with a
// zonal volume looks free to move, so central is told less, and drains wait for
// no volume; the log says so.
func (c *Collector) addVolumes(ctx context.Context) error {
	core := c.cfg.Client.CoreV1()
	one := metav1.ListOptions{Limit: 1}
	_, claims := core.PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, one)
	_, volumes := core.PersistentVolumes().List(ctx, one)
	if apierrors.IsForbidden(claims) || apierrors.IsForbidden(volumes) {
		c.cfg.Log.Warn("volumes may not be read: the zones they bind pods to are unknown",
			"error", errors.Join(claims, volumes))
		return nil
	}
	c.claims = c.factory.Core().V1().PersistentVolumeClaims().Informer()
	c.volumes = c.factory.Core().V1().PersistentVolumes().Informer()
	if _, err := c.cfg.Client.StorageV1().VolumeAttachments().List(ctx, one); apierrors.IsForbidden(err) {
		c.cfg.Log.Warn("volume attachments may not be read: drains do not wait for volumes", "error", err)
		return nil
	}
	c.attachments = c.factory.Storage().V1().VolumeAttachments().Informer()
	if err := c.attachments.AddIndexers(cache.Indexers{byNode: nodeOfAttachment}); err != nil {
		return fmt.Errorf("indexing volume attachments: %w", err)
	}
	return nil
}

func nodeOfPod(obj any) ([]string, error) {
	if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}, nil
	}
	return nil, nil
}

func claimsOfPod(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	var keys []string
	for _, name := range claimNames(pod) {
		keys = append(keys, pod.Namespace+"/"+name)
	}
	return keys, nil
}

// listen marks what informers report as changed.
func (c *Collector) listen() error {
	handlers := map[cache.SharedIndexInformer]func(any){
		c.nodes:   c.nodeChanged,
		c.pods:    c.podChanged,
		c.budgets: c.budgetChanged,
	}
	if c.claims != nil {
		handlers[c.claims], handlers[c.volumes] = c.claimChanged, c.volumeChanged
	}
	if c.attachments != nil {
		handlers[c.attachments] = c.attachmentChanged
	}
	for informer, changed := range handlers {
		if err := informer.SetWatchErrorHandlerWithContext(c.watchFailed); err != nil {
			return fmt.Errorf("watching the cluster: %w", err)
		}
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    changed,
			UpdateFunc: func(before, now any) { changed(before); changed(now) },
			DeleteFunc: func(obj any) {
				if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = last.Obj
				}
				changed(obj)
			},
		})
		if err != nil {
			return fmt.Errorf("watching the cluster: %w", err)
		}
	}
	return nil
}

// Status is how well the cluster is seen: healthy, degraded, unhealthy.
func (c *Collector) Status() string {
	switch {
	case !c.synced.Load():
		return "unhealthy"
	case time.Since(time.UnixMilli(c.watchError.Load())) < time.Minute:
		return "degraded"
	}
	return "healthy"
}

// Synced says whether the caches are full.
func (c *Collector) Synced() bool { return c.synced.Load() }

func (c *Collector) watchFailed(ctx context.Context, r *cache.Reflector, err error) {
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		c.watchError.Store(time.Now().UnixMilli())
	}
	cache.DefaultWatchErrorHandler(ctx, r, err)
}
