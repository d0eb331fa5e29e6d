package drain

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"
)

// Gate lets so many in at once; the others wait, and whose deadline is nearest
// goes first. Without it the calls of two hundred drains would queue inside the
// client, first come first served, until their own time-outs end them.
type Gate struct {
	// Limit is how many may be in.
	Limit int

	mu      sync.Mutex
	inside  int
	arrived int64
	waiting queue
}

// Rank is a place in the queue: by deadline, then by priority, 1 before 10.
type Rank struct {
	// Deadline is when the caller's time is over.
	Deadline time.Time
	// Priority orders those with the same deadline.
	Priority int32
}

type waiter struct {
	rank    Rank
	arrival int64
	index   int
	open    chan struct{}
}

// Enter waits for a place; each Enter that returns nil needs one Leave.
func (g *Gate) Enter(ctx context.Context, rank Rank) error {
	g.mu.Lock()
	if g.inside < g.Limit {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	g.arrived++
	w := &waiter{rank: rank, arrival: g.arrived, open: make(chan struct{})}
	heap.Push(&g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.open:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.index < 0 { // it was let in at the same moment
		g.next()
	} else {
		heap.Remove(&g.waiting, w.index)
	}
	return fmt.Errorf("waiting for a turn: %w", context.Cause(ctx))
}

// Leave gives the place to the next.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next()
}

func (g *Gate) next() {
	if len(g.waiting) == 0 {
		g.inside--
		return
	}
	close(heap.Pop(&g.waiting).(*waiter).open)
}

// latch is open while nothing is counted.
type latch struct {
	mu    sync.Mutex
	count int
	open  chan struct{} // closed when count is 0; nil: it has always been
}

func (l *latch) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count++; l.count == 1 {
		l.open = make(chan struct{})
	}
}

func (l *latch) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count--; l.count == 0 {
		close(l.open)
	}
}

// wait waits until the latch is open, ctx ends, or for so long.
func (l *latch) wait(ctx context.Context, longest time.Duration) {
	l.mu.Lock()
	open, count := l.open, l.count
	l.mu.Unlock()
	if count == 0 {
		return
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-open:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// queue is a heap.
type queue []*waiter

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if c := a.rank.Deadline.Compare(b.rank.Deadline); c != 0 {
		return c < 0
	}
	if a.rank.Priority != b.rank.Priority {
		return a.rank.Priority < b.rank.Priority
	}
	return a.arrival < b.arrival
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(w any) {
	w.(*waiter).index = len(*q)
	*q = append(*q, w.(*waiter))
}

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	last.index = -1
	*q = (*q)[:len(*q)-1]
	return last
}
