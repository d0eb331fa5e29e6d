package interruption

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// lull is how long nothing must have been taken in before a replacement is looked for.
	lull = 150 * time.Millisecond
	// yieldMost bounds how long a replacement waits for that.
	yieldMost = 1500 * time.Millisecond
)

// precedence lets what is said of instances be taken in before anything is launched:
// when a hundred nodes are taken at once, each cordon that waits for launches may get
// a pod that has just been moved.
type precedence struct {
	inHand atomic.Int32
	last   atomic.Int64 // in nanoseconds since 1970
}

// enter counts what is being taken in until leave is called.
func (p *precedence) enter() (leave func()) {
	p.inHand.Add(1)
	return func() {
		p.last.Store(time.Now().UnixNano())
		p.inHand.Add(-1)
	}
}

func (p *precedence) free(now time.Time) bool {
	return p.inHand.Load() == 0 && now.Sub(time.Unix(0, p.last.Load())) >= lull
}

// yield waits until nothing is being taken in, but not for long.
func (p *precedence) yield(ctx context.Context) {
	tick := time.NewTicker(lull / 5)
	defer tick.Stop()
	for until := time.Now().Add(yieldMost); time.Now().Before(until) && !p.free(time.Now()); {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
