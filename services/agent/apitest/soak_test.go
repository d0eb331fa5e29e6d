//go:build soak

package apitest

import (
	"testing"
	"time"
)

// 5,500 pods are made and moved. How fast is the figure that the log shows, as it is
// the API server's; that each goes once, unforced, and no node waits is ours.
func TestF27FiftyNodesOfAHundredAndTenPodsAtOnce(t *testing.T) {
	p := newPlot(t)
	nodes := p.crowd(50, 110)
	r := startRooms(t, t.TempDir())
	limit := max(2*time.Second, 2*at(r.bare(nodes), 99))
	cordoned, _, empty := r.interrupt(nodes, 300)
	if p99 := at(cordoned, 99); p99 > limit {
		t.Errorf("the 99th of 100 nodes was cordoned after %s, %s are allowed", p99, limit)
	}
	if last := at(empty, 100); last > 295*time.Second {
		t.Errorf("the last node was empty after %s of 300 s", last)
	}
	for pod, n := range r.asked.granted("POST ", "/eviction") {
		if n != 1 {
			t.Errorf("%s was evicted %d times", pod, n)
		}
	}
}
