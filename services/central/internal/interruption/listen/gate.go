package listen

import (
	"context"
	"sync"
	"time"
)

const (
	// suspicious is after how many batches in a row without success the intake
	// counts as out of order, rather than those batches.
	suspicious = 3
	// probe is how often a poller looks all the same.
	probe = time.Second
)

// gate is closed while nothing can be taken. Messages are then left in their
// queues, where they do not come nearer to their dead letters with every look.
type gate struct {
	mu       sync.Mutex
	failures int
	opened   chan struct{} // nil while open
}

func newGate() *gate { return &gate{} }

// pass waits until the gate is open, or for one probe; false when ctx ended first.
func (g *gate) pass(ctx context.Context) bool {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(probe)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-opened:
	case <-timer.C:
	}
	return true
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened != nil
}

// failed counts a batch whose first Take failed; true if that closed the gate.
func (g *gate) failed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures++
	if g.failures < suspicious || g.opened != nil {
		return false
	}
	g.opened = make(chan struct{})
	return true
}

// succeeded opens the gate; true if it was closed.
func (g *gate) succeeded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures = 0
	if g.opened == nil {
		return false
	}
	close(g.opened)
	g.opened = nil
	return true
}
