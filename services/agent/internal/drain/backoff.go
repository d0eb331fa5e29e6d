package drain

import (
	"math/rand/v2"
	"time"
)

const (
	// maxParallel is how many eviction calls of one drain are in flight.
	maxParallel = 50
	// callTimeout bounds a call: a slow one must not eat a two-minute notice.
	callTimeout = 3 * time.Second

	minBackoff        = 200 * time.Millisecond
	maxBlockedBackoff = 5 * time.Second
	maxFailedBackoff  = 2 * time.Second
	// longestRest caps what a server may ask for; it says 10 s itself when its
	// disruption controller is behind.
	longestRest = 10 * time.Second
)

// callBackoff doubles from minBackoff to a limit, with half of it jitter, so
// that pods behind one budget do not ask in step.
type callBackoff struct {
	step  time.Duration
	limit time.Duration // 0: maxFailedBackoff
}

func (b *callBackoff) next() time.Duration {
	limit := b.limit
	if limit == 0 {
		limit = maxFailedBackoff
	}
	b.step = min(max(b.step*2, minBackoff), limit)
	// The floor is the whole first step: a pod is asked about at most every
	// 100 ms whatever the dice say.
	return b.step/2 + rand.N(b.step/2+1)
}
