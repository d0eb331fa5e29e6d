// Package hazard is the model of interruptions: in each step of fifteen minutes
// ahead, an instance that is still there is lost with a probability that trees
// give. Probabilities over any time follow from those, and instances whose end
// was not an interruption count for as long as they were seen (right-censoring).
package hazard

import (
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// StepMinutes is the length of a step that a hazard is of.
const StepMinutes = 15

// Edges of the lead buckets, minutes ahead. Within a bucket every step has the same
// hazard; after the last edge the last one holds on.
var Edges = [...]float64{0, 15, 30, 45, 60, 90, 120, 180, 240, 360, 540, 720, 1080, 1440, 2880}

// Buckets is how many there are.
const Buckets = len(Edges) - 1

// Outcome of an example by lead bucket. An example of several units (a pool that
// holds n) counts as one: shares of them fall.
type Outcome struct {
	// Trials are the steps that a unit was seen to begin, part of one where it was seen
	// for part of it. Lost is the share of the units lost.
	Trials, Lost [Buckets]float32
	// Seen is for how many minutes it was looked at; Gone says that by then all was
	// lost. Otherwise looking ended there.
	Seen float64
	Gone bool
}

// lostBy is the share lost within the first minutes, which must be an edge.
func (o *Outcome) lostBy(minutes float64) float64 {
	lost := 0.0
	for b := range Buckets {
		if Edges[b] >= minutes {
			break
		}
		lost += float64(o.Lost[b])
	}
	return min(lost, 1)
}

// probed is what becomes of the units that a pool holds at a tick, seen until the
// given time.
func probed(s *history.Series, tick int, until time.Time) Outcome {
	var o Outcome
	units := float64(s.Up[tick])
	alive, step := 1.0, s.Step.Minutes()
	end := min(float64(Edges[Buckets]), until.Sub(s.At(tick)).Minutes())
	for n := 1; ; n++ {
		from, to := float64(n-1)*step, min(float64(n)*step, end)
		next := tick + n
		if from >= end || next >= len(s.Up) || s.Up[next] == history.Unknown {
			o.Seen = from
			return o
		}
		o.expose(from, to, alive)
		if float64(n)*step > end { // the tick's news is beyond what may be known
			o.Seen = end
			return o
		}
		// Units that come back are others: only a new low is a loss.
		if left := float64(s.Up[next]) / units; left < alive {
			o.Lost[bucketOf(to)] += float32(alive - left)
			o.complete(to, alive-left)
			alive = left
		}
		if alive <= 0 {
			o.Seen, o.Gone = to, true
			return o
		}
	}
}

// lived is what becomes of one instance that is up at a time.
func lived(l history.Life, at, until time.Time) Outcome {
	var o Outcome
	left := l.End.Sub(at).Minutes()
	end := min(Edges[Buckets], left, until.Sub(at).Minutes())
	o.expose(0, end, 1)
	o.Seen = end
	if l.Interrupted && left <= end {
		o.Lost[bucketOf(left)]++
		o.complete(left, 1)
		o.Gone = true
	}
	return o
}

// bucketOf minutes ahead: an event at an edge is in the bucket before it.
func bucketOf(minutes float64) int {
	for b := range Buckets {
		if minutes <= Edges[b+1] {
			return b
		}
	}
	return Buckets - 1
}

// expose adds a time in which a share of the units was seen to live.
func (o *Outcome) expose(from, to, alive float64) {
	for b := range Buckets {
		a, z := max(from, Edges[b]), min(to, Edges[b+1])
		if z > a {
			o.Trials[b] += float32(alive * (z - a) / StepMinutes)
		}
	}
}

// complete the step in which units were lost: a step with a loss is a whole trial.
func (o *Outcome) complete(at, units float64) {
	b := bucketOf(at)
	into := (at - Edges[b]) / StepMinutes
	whole := max(1, float64(int(into+1-1e-9)))
	o.Trials[b] += float32(units * (whole - into))
}
