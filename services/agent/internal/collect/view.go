package collect

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// PodsOn returns the pods bound to a node.
func (c *Collector) PodsOn(node string) []*corev1.Pod {
	objects, err := c.pods.GetIndexer().ByIndex(byNode, node)
	if err != nil {
		return nil // only an index that does not exist
	}
	pods := make([]*corev1.Pod, 0, len(objects))
	for _, obj := range objects {
		pods = append(pods, obj.(*corev1.Pod))
	}
	return pods
}

// Node returns a node by name.
func (c *Collector) Node(name string) (*corev1.Node, bool) {
	obj, ok, err := c.nodes.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil, false
	}
	return obj.(*corev1.Node), true
}

// Nodes returns all nodes.
func (c *Collector) Nodes() []*corev1.Node {
	objects := c.nodes.GetStore().List()
	nodes := make([]*corev1.Node, 0, len(objects))
	for _, obj := range objects {
		nodes = append(nodes, obj.(*corev1.Node))
	}
	return nodes
}

// Watch signals changes of a node or its pods.
func (c *Collector) Watch(node string) (changed <-chan struct{}, stop func()) {
	return c.watchers.add(node)
}

// watchers are told when something changed on a node.
type watchers struct {
	mu     sync.Mutex
	byNode map[string]map[chan struct{}]bool
}

func newWatchers() *watchers { return &watchers{byNode: map[string]map[chan struct{}]bool{}} }

func (w *watchers) add(node string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byNode[node] == nil {
		w.byNode[node] = map[chan struct{}]bool{}
	}
	w.byNode[node][ch] = true
	return ch, func() { w.remove(node, ch) }
}

func (w *watchers) remove(node string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byNode[node], ch)
	if len(w.byNode[node]) == 0 {
		delete(w.byNode, node)
	}
}

func (w *watchers) notify(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.byNode[node] {
		select {
		case ch <- struct{}{}:
		default: // it has not looked since the last one
		}
	}
}
