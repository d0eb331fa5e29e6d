package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// moment in the end of a node.
type moment string

const (
	cordoned      moment = "cordon"
	firstEviction moment = "first_eviction"
	emptied       moment = "empty"
)

// eyes watch some nodes of the cluster and remember when each came to its moments.
type eyes struct {
	stop func()

	mu    sync.Mutex
	nodes map[string]map[moment]time.Time
	// left are the pods that must move, by node.
	left map[string]map[string]bool
}

// watchNodes opens the eyes; pods that come to the nodes later count too.
func watchNodes(ctx context.Context, client kubernetes.Interface, nodes []stage.Node) (*eyes, error) {
	ctx, stop := context.WithCancel(ctx)
	e := &eyes{stop: stop, nodes: map[string]map[moment]time.Time{}, left: map[string]map[string]bool{}}
	for _, node := range nodes {
		e.nodes[node.Name], e.left[node.Name] = map[moment]time.Time{}, map[string]bool{}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	_, err := factory.Core().V1().Nodes().Informer().AddEventHandler(handler(e.seeNode, e.nodeGone))
	_, podErr := factory.Core().V1().Pods().Informer().AddEventHandler(handler(e.seePod, e.podGone))
	if err := errors.Join(err, podErr); err != nil {
		stop()
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return e, ctx.Err()
}

func (e *eyes) close() { e.stop() }

func handler[T any](see, gone func(*T)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { see(obj.(*T)) },    //nolint:forcetypeassert // the informer's own type
		UpdateFunc: func(_, obj any) { see(obj.(*T)) }, //nolint:forcetypeassert // the informer's own type
		DeleteFunc: func(obj any) {
			if last, missed := obj.(cache.DeletedFinalStateUnknown); missed {
				obj = last.Obj
			}
			gone(obj.(*T)) //nolint:forcetypeassert // the informer's own type
		},
	}
}

// note a moment of a node, the first time only.
func (e *eyes) note(node string, m moment) {
	if _, seen := e.nodes[node][m]; !seen {
		e.nodes[node][m] = time.Now()
	}
}

func (e *eyes) seeNode(node *corev1.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nodes[node.Name] == nil || !node.Spec.Unschedulable {
		return
	}
	e.note(node.Name, cordoned)
	e.look(node.Name)
}

// nodeGone without its pods: whatever ran there runs no more.
func (e *eyes) nodeGone(node *corev1.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nodes[node.Name] != nil {
		e.note(node.Name, cordoned)
		e.note(node.Name, emptied)
	}
}

func (e *eyes) seePod(pod *corev1.Pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nodes[pod.Spec.NodeName] == nil || !mustMove(pod) {
		return
	}
	e.left[pod.Spec.NodeName][string(pod.UID)] = true
	if pod.DeletionTimestamp != nil {
		e.note(pod.Spec.NodeName, firstEviction)
	}
}

func (e *eyes) podGone(pod *corev1.Pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nodes[pod.Spec.NodeName] == nil || !mustMove(pod) {
		return
	}
	e.note(pod.Spec.NodeName, firstEviction)
	delete(e.left[pod.Spec.NodeName], string(pod.UID))
	e.look(pod.Spec.NodeName)
}

func (e *eyes) look(node string) {
	if _, is := e.nodes[node][cordoned]; is && len(e.left[node]) == 0 {
		e.note(node, emptied)
	}
}

func mustMove(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner == nil || owner.Kind != "DaemonSet"
}

// await until every node has come to the moment.
func (e *eyes) await(ctx context.Context, m moment) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n := len(e.since(time.Time{}, m))
		if n == len(e.nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes came to %s: %w", n, len(e.nodes), m, ctx.Err())
		case <-tick.C:
		}
	}
}

// since says how long after began the nodes came to the moment.
func (e *eyes) since(began time.Time, m moment) []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	var took []time.Duration
	for _, moments := range e.nodes {
		if at, is := moments[m]; is {
			took = append(took, at.Sub(began))
		}
	}
	return took
}
