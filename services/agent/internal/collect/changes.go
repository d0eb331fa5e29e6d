package collect

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
)

// marks are what changed: names of nodes, UIDs of pods and budgets with the
// key to find the object by, if it still is there.
type marks struct {
	nodes   map[string]bool
	pods    map[types.UID]string
	budgets map[types.UID]string
}

func newMarks() marks {
	return marks{nodes: map[string]bool{}, pods: map[types.UID]string{}, budgets: map[types.UID]string{}}
}

// changes gathers marks between two deltas; however often an object changes,
// it is sent once.
type changes struct {
	mu    sync.Mutex
	marks marks
}

func newChanges() *changes { return &changes{marks: newMarks()} }

func (c *changes) mark(set func(marks)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set(c.marks)
}

// take empties the gathering. It must come before the caches are read, so that
// a change in between is marked again rather than lost.
func (c *changes) take() marks {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.marks
	c.marks = newMarks()
	return m
}

// nodeChanged and its like run on the informers' goroutines.
func (c *Collector) nodeChanged(obj any) {
	if node, ok := obj.(*corev1.Node); ok {
		c.changed.mark(func(m marks) { m.nodes[node.Name] = true })
		c.watchers.notify(node.Name)
	}
}

// podChanged also marks the pod's node: its sums change.
func (c *Collector) podChanged(obj any) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	c.changed.mark(func(m marks) {
		m.pods[pod.UID] = pod.Namespace + "/" + pod.Name
		if pod.Spec.NodeName != "" {
			m.nodes[pod.Spec.NodeName] = true
		}
	})
	c.watchers.notify(pod.Spec.NodeName)
}

func (c *Collector) budgetChanged(obj any) {
	if b, ok := obj.(*policyv1.PodDisruptionBudget); ok {
		c.changed.mark(func(m marks) { m.budgets[b.UID] = b.Namespace + "/" + b.Name })
	}
}

// claimChanged marks the pods that use the claim: their zones may change.
func (c *Collector) claimChanged(obj any) {
	if claim, ok := obj.(*corev1.PersistentVolumeClaim); ok {
		c.markUsers(claim.Namespace + "/" + claim.Name)
	}
}

func (c *Collector) volumeChanged(obj any) {
	if pv, ok := obj.(*corev1.PersistentVolume); ok && pv.Spec.ClaimRef != nil {
		c.markUsers(pv.Spec.ClaimRef.Namespace + "/" + pv.Spec.ClaimRef.Name)
	}
}

func (c *Collector) markUsers(claim string) {
	pods, err := c.pods.GetIndexer().ByIndex(byClaim, claim)
	if err != nil {
		return // only an index that does not exist
	}
	for _, obj := range pods {
		pod := obj.(*corev1.Pod)
		c.changed.mark(func(m marks) { m.pods[pod.UID] = pod.Namespace + "/" + pod.Name })
	}
}
