// Package series knows when a series should have had a row, why it had none, and
// what may be put in its place.
package series

import (
	"slices"
	"time"
)

// Times are in milliseconds since 1970: a series of three years has millions.
const (
	// MinStep is the least cadence: rows that are closer are repeats, or two agents of one cluster.
	MinStep = int64(5 * time.Second / time.Millisecond)
	// MaxStep is the most: what is further apart is a gap, whatever the series says.
	MaxStep = int64(10 * time.Minute / time.Millisecond)
	// DefaultStep is taken where there is nothing to learn from.
	DefaultStep = int64(time.Minute / time.Millisecond)

	day = int64(24 * time.Hour / time.Millisecond)
	// enough distances in a day for it to have a cadence of its own: settings change.
	enough = 20
)

// steps that people set; a median within a tenth of one is it.
var steps = []int64{5_000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000}

// Cadence says how far apart the rows of a series are.
type Cadence struct {
	whole int64
	days  map[int64]int64
}

// Fixed cadence, of a series whose step is known.
func Fixed(step int64) Cadence { return Cadence{whole: step} }

// Learn the cadence from a series' observed rows: the lower median of their
// distances, of each day that has enough and of the whole.
func Learn(times []int64) Cadence {
	c := Cadence{whole: DefaultStep, days: map[int64]int64{}}
	var all, today []int64
	close := func(of int64) {
		if len(today) >= enough {
			c.days[of] = snap(median(today))
		}
		all, today = append(all, today...), today[:0]
	}
	for i := 1; i < len(times); i++ {
		if i > 1 && times[i]/day != times[i-1]/day {
			close(times[i-1] / day)
		}
		if d := times[i] - times[i-1]; d >= MinStep && d <= MaxStep {
			today = append(today, d)
		}
	}
	if len(times) > 0 {
		close(times[len(times)-1] / day)
	}
	if len(all) > 0 {
		c.whole = snap(median(all))
	}
	return c
}

// At is the step at a time.
func (c Cadence) At(at int64) int64 {
	if step, ok := c.days[at/day]; ok {
		return step
	}
	return c.whole
}

// Whole is the step of the series as a whole.
func (c Cadence) Whole() int64 { return c.whole }

func median(of []int64) int64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2]
}

// snap makes the step the same in every run, although each has more rows to learn from.
func snap(step int64) int64 {
	for _, s := range steps {
		if step*10 >= s*9 && step*10 <= s*11 {
			return s
		}
	}
	return min(max((step+500)/1000*1000, MinStep), MaxStep)
}
