package interruption

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

func TestLaunchesWaitForALullInTheIntakeButNotForLong(t *testing.T) {
	for name, c := range map[string]struct {
		takes  time.Duration // how long something is being taken in
		atMost time.Duration
		least  time.Duration
	}{
		"nothing is taken in":      {0, 0, 0},
		"it ends":                  {500 * time.Millisecond, 500*time.Millisecond + 2*lull, 500*time.Millisecond + lull},
		"it does not end for long": {time.Minute, yieldMost + lull, yieldMost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &precedence{}
				if c.takes > 0 {
					leave := p.enter()
					go func() { time.Sleep(c.takes); leave() }()
				}
				began := time.Now()
				p.yield(t.Context())
				if took := time.Since(began); took < c.least || took > c.atMost {
					t.Errorf("waited %s, want %s to %s", took, c.least, c.atMost)
				}
				time.Sleep(c.takes) // what is taken in ends too
			})
		})
	}
}

// Batches of a burst are taken side by side, by two replicas, while the inventory
// of the cluster is written: what waits for each other must not do so in a circle.
func TestF1AWaveOfOneClusterIsTakenSideBySideWithoutADeadlock(t *testing.T) {
	w := newWorld(t)
	const nodes, batch = 80, 10
	for i := range nodes {
		id := fmt.Sprintf("i-wave%02d", i)
		w.node("wave-"+id, id, "spot")
		w.nodes[len(w.nodes)-1].AvailabilityZone = []string{"us-east-1a", "us-east-1b"}[i%2]
		w.nodes[len(w.nodes)-1].InstanceType = []string{"m5.large", "c5.large", "r5.large"}[i%3]
		w.pod("wave-"+id, "wave-"+id)
	}
	w.report(t)
	var all sync.WaitGroup
	for at := 0; at < nodes; at += batch {
		var notices []notice.Notice
		for i := range batch {
			notices = append(notices, warning(fmt.Sprintf("i-wave%02d", (at*7+i*13)%nodes), "terminate"))
		}
		for _, replica := range []*Service{w.Service, w.other} {
			all.Go(func() {
				if _, err := replica.Take(t.Context(), w.queue, notices); err != nil {
					t.Errorf("taking a batch: %v", err)
				}
			})
		}
	}
	all.Go(func() {
		for range 20 {
			w.report(t)
		}
	})
	all.Wait()
	if n := w.count(t, "SELECT count(*) FROM interruptions WHERE instance_id LIKE 'i-wave%' AND state = 'draining'"); n != w.count(t, "SELECT count(DISTINCT instance_id) FROM spot_events WHERE instance_id LIKE 'i-wave%'") || n < batch {
		t.Errorf("%d nodes are drained", n)
	}
}
