package apitest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// crowd makes nodes, with so many pods on each, all at once.
func (p *plot) crowd(nodes, pods int) []string {
	p.t.Helper()
	amounts := corev1.ResourceList{
		"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("250"),
	}
	names := make([]string, nodes)
	var all sync.WaitGroup
	for i := range nodes {
		names[i] = fmt.Sprintf("%s-%03d", p.name, i)
		all.Go(func() {
			_, err := kube.admin.CoreV1().Nodes().Create(p.t.Context(), &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: names[i], Labels: map[string]string{"plot": p.name}},
				Spec:       corev1.NodeSpec{ProviderID: "aws:///us-east-1a/" + instanceOf(names[i])},
				Status:     corev1.NodeStatus{Capacity: amounts, Allocatable: amounts},
			}, metav1.CreateOptions{})
			if err != nil {
				p.t.Error(err)
			}
			for k := range pods {
				template := p.template("crowd", nil)
				template.Spec.NodeName = names[i]
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%03d-%03d", i, k), Labels: template.Labels}, Spec: template.Spec}
				if _, err := kube.admin.CoreV1().Pods(p.name).Create(p.t.Context(), pod, metav1.CreateOptions{}); err != nil {
					p.t.Error(err)
				}
			}
		})
	}
	all.Wait()
	p.t.Cleanup(func() {
		// One call, as two hundred of them would slow the tests that follow.
		_ = kube.admin.CoreV1().Nodes().DeleteCollection(p.t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "plot=" + p.name})
	})
	if p.t.Failed() {
		p.t.FailNow()
	}
	p.settle()
	return names
}

// settle waits until nobody writes to the nodes any more: half a dozen controllers
// do to new ones, and those that are interrupted are not new.
func (p *plot) settle() {
	p.t.Helper()
	versions, since := map[string]string{}, time.Now()
	await(p.t, "the nodes to settle", func() bool {
		list, err := kube.admin.CoreV1().Nodes().List(p.t.Context(), metav1.ListOptions{LabelSelector: "plot=" + p.name})
		require(p.t, err)
		for _, node := range list.Items {
			if versions[node.Name] != node.ResourceVersion || len(node.Spec.Taints) > 0 {
				versions[node.Name], since = node.ResourceVersion, time.Now()
			}
		}
		return time.Since(since) > 3*time.Second
	})
}

// interrupt drains all nodes at once as a spot interruption does, and returns how
// long each took to be cordoned, to be evicted from first, and to be empty.
func (r *rooms) interrupt(nodes []string, seconds float64) (cordoned, evicted, empty []time.Duration) {
	r.t.Helper()
	tasks := make([]*fleetv1.Task, len(nodes))
	for i, node := range nodes {
		tasks[i] = newTask(r.t, "drain_node", seconds, &fleetv1.DrainNodeParameters{NodeName: node, InstanceId: instanceOf(node), Force: true})
		tasks[i].Priority = 1
	}
	start := time.Now()
	for _, task := range tasks {
		require(r.t, r.runner.Offer(task))
	}
	r.t.Logf("%d offers took %s", len(tasks), time.Since(start).Round(time.Millisecond))
	for _, task := range tasks {
		result := r.out.result(r.t, task.TaskId)
		requireStatus(r.t, result, "success")
		rep := report(r.t, result)
		if rep.GetForced() != 0 {
			r.t.Errorf("%s: %d pods were forced", rep.GetNodeName(), rep.GetForced())
		}
		cordoned = append(cordoned, rep.GetCordonedAt().AsTime().Sub(start))
		if rep.GetFirstEvictionAt() != nil {
			evicted = append(evicted, rep.GetFirstEvictionAt().AsTime().Sub(start))
		}
		empty = append(empty, result.GetExecutedAt().AsTime().Sub(start)+time.Duration(result.GetDurationSeconds()*float64(time.Second)))
	}
	for what, times := range map[string][]time.Duration{"cordoned": cordoned, "first eviction": evicted, "empty": empty} {
		slices.Sort(times)
		r.t.Logf("%s after: p50 %s, p99 %s, max %s", what, at(times, 50), at(times, 99), at(times, 100))
	}
	return cordoned, evicted, empty
}

// at is a percentile of sorted times.
func at(times []time.Duration, percent int) time.Duration {
	return times[max(0, (len(times)*percent+99)/100-1)].Round(time.Millisecond)
}

// Cordons overtake evictions, however busy the machine is; how soon they are done is a figure of the bench,
// interruption.cordon_p99_s.200.
func TestTwoHundredInterruptionsAreCordonedFirst(t *testing.T) {
	p := newPlot(t)
	nodes := p.crowd(200, 3)
	r := startRooms(t, t.TempDir())
	cordoned, evicted, empty := r.interrupt(nodes, 120)
	if half := at(evicted, 50); half < at(cordoned, 99) {
		t.Errorf("half of the nodes were evicted from after %s, and the 99th of 100 was cordoned only after %s", half, at(cordoned, 99))
	}
	if last := at(empty, 100); last > 115*time.Second {
		t.Errorf("the last node was empty after %s", last)
	}
	answers := map[int]int{}
	for key, codes := range r.asked.writes {
		if strings.HasPrefix(key, "PATCH /api/v1/nodes/") {
			for code, n := range codes {
				answers[code] += n
			}
		}
	}
	t.Logf("patches of nodes by answer: %v", answers)
}
