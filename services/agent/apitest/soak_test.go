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
	cordoned, evicted, empty := r.interrupt(nodes, 300)
	if half := at(evicted, 50); half < at(cordoned, 99) {
		t.Errorf("half of the nodes were evicted from after %s, and the 99th of 100 was cordoned only after %s", half, at(cordoned, 99))
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
