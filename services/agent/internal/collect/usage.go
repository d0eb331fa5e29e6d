package collect

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsv1beta1 "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const (
	// usageWithin bounds all that is asked of the metrics API at once.
	usageWithin = 10 * time.Second
	usagePage   = 500
	// nodeUsageBytes and workloadUsageBytes bound what one report says: it is one message, behind which others wait.
	nodeUsageBytes, workloadUsageBytes = 192 << 10, 384 << 10
	// usageRetry is how rarely an API is asked that does not tell usage.
	usageRetry = time.Minute
)

// Why usage is not known.
const (
	noMetricsAPI = "no_metrics_api"
	forbidden    = "forbidden"
	unanswered   = "unanswered"
)

// usage is what the metrics API told last and was not reported yet.
type usage struct {
	client metricsv1beta1.MetricsV1beta1Interface
	log    *slog.Logger

	mu    sync.Mutex
	fresh *fleetv1.ClusterUsage

	// Of the goroutine that looks alone.
	unknown                string // said last; "-": nothing yet
	lastNode, lastWorkload string // whose turn it was
	restarts               restarts
}

func newUsage(cfg Config) *usage {
	return &usage{client: cfg.Usage, log: cfg.Log, unknown: "-", restarts: restarts{seen: map[statusKey]int32{}, due: map[string]int32{}}}
}

// take returns what is new, once.
func (u *usage) take() *fleetv1.ClusterUsage {
	u.mu.Lock()
	defer u.mu.Unlock()
	fresh := u.fresh
	u.fresh = nil
	return fresh
}

// RunUsage asks the metrics API what is used as often as reports are made, while central
// listens. It is apart from Run, so that an API that does not answer holds nothing up. Call it after Start.
func (c *Collector) RunUsage(ctx context.Context) error {
	if c.cfg.Usage == nil {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		c.mu.Lock()
		online, every := c.said.online, c.every.metrics
		c.mu.Unlock()
		switch {
		case !online:
			every = min(every, time.Second)
		case !c.usage.look(ctx, c):
			every = max(every, min(4*every, usageRetry))
		}
		timer.Reset(every)
	}
}

// look asks once and reports whether usage is known.
func (u *usage) look(parent context.Context, view *Collector) bool {
	ctx, cancel := context.WithTimeout(parent, usageWithin)
	defer cancel()
	told, err := u.read(ctx, view)
	if parent.Err() != nil {
		return false
	}
	if err != nil {
		told = &fleetv1.ClusterUsage{Unknown: whyUnknown(err)}
	}
	if u.unknown != told.GetUnknown() {
		u.say(told.GetUnknown(), err)
		u.unknown = told.GetUnknown()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fresh = told
	return err == nil
}

// say logs when what is known of usage changes, not each time.
func (u *usage) say(unknown string, err error) {
	switch unknown {
	case "":
		u.log.Info("what nodes and containers use is known")
	case noMetricsAPI:
		u.log.Warn("what nodes and containers use is not known: nothing serves metrics.k8s.io in this cluster, as metrics-server does")
	case forbidden:
		u.log.Warn("what nodes and containers use is not known: the agent's role lacks metrics.k8s.io", "error", err)
	default:
		u.log.Warn("what nodes and containers use is not known: the metrics API does not tell", "error", err)
	}
}

func whyUnknown(err error) string {
	switch {
	case apierrors.IsNotFound(err):
		return noMetricsAPI
	case apierrors.IsForbidden(err):
		return forbidden
	}
	return unanswered
}

func (u *usage) read(ctx context.Context, view *Collector) (*fleetv1.ClusterUsage, error) {
	nodes, err := u.nodes(ctx)
	if err != nil {
		return nil, err
	}
	workloads := gather(view, &u.restarts)
	err = pages(ctx, func(ctx context.Context, opts metav1.ListOptions) (string, error) {
		page, err := u.client.PodMetricses(metav1.NamespaceAll).List(ctx, opts)
		if err != nil {
			return "", fmt.Errorf("reading the usage of pods: %w", err)
		}
		for i := range page.Items {
			workloads.sample(&page.Items[i])
		}
		return page.Continue, nil
	})
	if err != nil {
		return nil, err
	}
	told := &fleetv1.ClusterUsage{}
	told.Nodes, u.lastNode = inTurn(nodes, (*fleetv1.NodeUsage).GetNodeName, u.lastNode, nodeUsageBytes)
	told.Workloads, u.lastWorkload = inTurn(workloads.sampled(), workloadKey, u.lastWorkload, workloadUsageBytes)
	u.restarts.tell(told.Workloads)
	return told, nil
}

func (u *usage) nodes(ctx context.Context) ([]*fleetv1.NodeUsage, error) {
	var nodes []*fleetv1.NodeUsage
	err := pages(ctx, func(ctx context.Context, opts metav1.ListOptions) (string, error) {
		page, err := u.client.NodeMetricses().List(ctx, opts)
		if err != nil {
			return "", fmt.Errorf("reading the usage of nodes: %w", err)
		}
		for _, n := range page.Items {
			cpu, memory, ok := used(n.Usage)
			if ok && n.Name != "" && len(n.Name) <= 253 {
				nodes = append(nodes, &fleetv1.NodeUsage{NodeName: n.Name, CpuMillicores: cpu, MemoryBytes: memory})
			}
		}
		return page.Continue, nil
	})
	return nodes, err
}

// pages lists until the server has no more; metrics-server itself answers with everything.
func pages(ctx context.Context, list func(context.Context, metav1.ListOptions) (next string, err error)) error {
	opts := metav1.ListOptions{Limit: usagePage}
	for {
		next, err := list(ctx, opts)
		if err != nil || next == "" {
			return err
		}
		opts.Continue = next
	}
}

// used reads amounts; false: one is missing, which is not zero.
func used(list corev1.ResourceList) (millicores, bytes int64, ok bool) {
	cpu, hasCPU := list[corev1.ResourceCPU]
	memory, hasMemory := list[corev1.ResourceMemory]
	millicores, bytes = cpu.MilliValue(), memory.Value()
	return millicores, bytes, hasCPU && hasMemory && millicores >= 0 && bytes >= 0
}

// inTurn takes as many as the budget of bytes holds, beginning behind the last one of the
// time before; items are in order of their keys.
func inTurn[T proto.Message](items []T, key func(T) string, last string, budget int) (taken []T, now string) {
	first := 0
	for i, item := range items {
		if key(item) > last {
			first = i
			break
		}
	}
	for i := range items {
		item := items[(first+i)%len(items)]
		if budget -= proto.Size(item) + 4; budget < 0 && i > 0 {
			break
		}
		taken, now = append(taken, item), key(item)
	}
	return taken, now
}

// sample counts what one pod uses.
func (w *workloads) sample(m *v1beta1.PodMetrics) {
	at := w.byPod[m.Namespace+"/"+m.Name]
	if at == nil {
		return // it is gone, has finished, or is of no workload
	}
	for _, c := range m.Containers {
		cpu, memory, ok := used(c.Usage)
		sample := at.containers[c.Name]
		if !ok || sample == nil {
			continue
		}
		sample.CpuMillicores, sample.MemoryBytes = max(sample.CpuMillicores, cpu), max(sample.MemoryBytes, memory)
		at.sampled[c.Name] = true
	}
}
