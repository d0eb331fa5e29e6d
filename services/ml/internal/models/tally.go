package models

import (
	"math"
	"sync"
	"time"
)

// thresholds at which it is counted whether live and shadow part.
var thresholds = [...]float64{0.01, 0.05, 0.1, 0.25, 0.5}

// tally counts what a pair of models said, and what came of it.
type tally struct {
	mu    sync.Mutex
	since time.Time

	live, shadow role
	skipped      int64
	difference   float64 // sum of |shadow − live|
	parted       [len(thresholds)]int64
}

// role is one model's part of it; means are sums here.
type role struct {
	predictions, outcomes, interruptions int64
	probability, brier, logLoss          float64
}

func newTally() tally { return tally{since: time.Now()} }

// foretold notes a prediction of the live model.
func (t *tally) foretold(live float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live.predictions++
	t.live.probability += live
}

// compared notes the shadow's beside it.
func (t *tally) compared(live, shadow float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shadow.predictions++
	t.shadow.probability += shadow
	t.difference += math.Abs(shadow - live)
	for i, at := range thresholds {
		if (live >= at) != (shadow >= at) {
			t.parted[i]++
		}
	}
}

func (t *tally) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped++
}

// settled notes what became of an instance; shadow is NaN where there is none.
func (t *tally) settled(live, shadow float64, interrupted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live.settle(live, interrupted)
	if !math.IsNaN(shadow) {
		t.shadow.settle(shadow, interrupted)
	}
}

// least probability that a log loss is taken of: a certainty that fails must not
// count without end.
const least = 1e-6

func (r *role) settle(p float64, interrupted bool) {
	what, of := 0.0, 1-p
	if interrupted {
		what, of = 1, p
		r.interruptions++
	}
	r.outcomes++
	r.brier += (p - what) * (p - what)
	r.logLoss += -math.Log(max(of, least))
}
