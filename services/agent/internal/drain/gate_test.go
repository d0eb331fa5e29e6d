package drain

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestTheGateLetsTheNearestDeadlineInFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, now := &Gate{Limit: 2}, time.Now()
		for range 2 {
			if err := g.Enter(t.Context(), Rank{}); err != nil {
				t.Fatal(err)
			}
		}
		var order []string
		impatient, giveUp := context.WithCancel(t.Context())
		for _, w := range []struct {
			name     string
			ctx      context.Context
			deadline time.Duration
			priority int32
		}{
			{"late", t.Context(), time.Hour, 1},
			{"gone", impatient, time.Second, 1},
			{"near, less urgent", t.Context(), time.Minute, 5},
			{"near", t.Context(), time.Minute, 1},
			{"near, but after it", t.Context(), time.Minute, 1},
		} {
			go func() {
				if g.Enter(w.ctx, Rank{Deadline: now.Add(w.deadline), Priority: w.priority}) == nil {
					order = append(order, w.name)
				}
			}()
			synctest.Wait()
		}
		giveUp()
		synctest.Wait()
		for range 4 {
			g.Leave()
			synctest.Wait()
		}
		if want := []string{"near", "near, but after it", "near, less urgent", "late"}; !slices.Equal(order, want) {
			t.Fatalf("let in %q, want %q", order, want)
		}
		g.Leave()
		g.Leave()
		for range 2 {
			if err := g.Enter(t.Context(), Rank{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Enter(impatient, Rank{}); err == nil {
			t.Fatal("a third one is in")
		}
	})
}

func TestANodeThatCannotBeCordonedHoldsNoOtherUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		e := c.executor()
		c.down = func() bool { return true }
		stuck := e.New(ask(&params{}, 10*time.Minute))
		ctx, stop := context.WithCancel(t.Context())
		go func() { _, _ = stuck.Mark(ctx) }()
		synctest.Wait()
		start := time.Now()
		e.marking.wait(t.Context(), time.Minute)
		if took := time.Since(start); took > time.Second {
			t.Fatalf("waited %s for a node that cannot be reached", took)
		}
		stop()
	})
}

func TestAMarkThatWasBehindIsWrittenAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		e, view := c.executor(), &blind{cluster: c}
		view.node.Store(c.node)
		e.View = view
		c.editNode(func(*corev1.Node) {}) // the informer has not seen it
		start := time.Now()
		if out, err := e.New(ask(&params{}, time.Minute)).Mark(t.Context()); out != nil || err != nil || time.Since(start) != 0 || len(c.patches) != 2 {
			t.Fatalf("%v, %v after %s and %d patches", out, err, time.Since(start), len(c.patches))
		}
	})
}

func TestEvictionsWaitForCordonsButNotLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		e := c.executor()
		d := e.New(ask(&params{}, time.Minute))
		e.marking.add() // another node is being cordoned
		start := time.Now()
		time.AfterFunc(time.Second, e.marking.done)
		c.run(d)
		if at := c.asked("evict", "p")[0].at.Sub(start); at != time.Second {
			t.Fatalf("the first eviction came after %s", at)
		}
		c.add(pod("q"))
		e.marking.add() // and one more, which hangs
		start = time.Now()
		c.run(e.New(ask(&params{}, time.Minute)))
		if at := c.asked("evict", "q")[0].at.Sub(start); at != 3*time.Second {
			t.Fatalf("the first eviction came after %s", at)
		}
	})
}
