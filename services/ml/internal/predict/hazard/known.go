package hazard

import (
	"slices"
	"time"
)

// Certain is an example whose outcome at a horizon is known.
type Certain struct {
	// Index of the example.
	Index int
	// Lost is the share lost within the horizon.
	Lost float64
	// Weight is 1, and more where others like it were censored before the horizon.
	Weight float64
}

// Known picks the examples whose outcome within the minutes is known when looking
// ends at until. Those of the last minutes before until are all left out: of them
// only the losses would be known. Lives that their owner ended early are left
// out too, and the others weigh 1 ÷ P(not censored until then) instead (inverse
// probability of censoring, Robins & Rotnitzky 1992; P by Kaplan–Meier).
func Known(all []Example, minutes float64, until time.Time) []Certain {
	horizon := time.Duration(minutes * float64(time.Minute))
	var in []int
	for i := range all {
		if until.IsZero() || !all[i].At.Add(horizon).After(until) {
			in = append(in, i)
		}
	}
	stays := uncensored(all, in, minutes)
	var out []Certain
	for _, i := range in {
		o := &all[i].Outcome
		if o.Seen < minutes && !o.Gone {
			continue
		}
		out = append(out, Certain{Index: i, Lost: o.lostBy(minutes), Weight: 1 / max(stays(min(o.Seen, minutes)), 0.05)})
	}
	return out
}

// uncensored is the Kaplan–Meier estimate of not being censored before a time.
func uncensored(all []Example, in []int, minutes float64) func(float64) float64 {
	sorted := slices.Clone(in)
	slices.SortStableFunc(sorted, func(a, b int) int {
		switch x, y := all[a].Outcome.Seen, all[b].Outcome.Seen; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var times, stays []float64
	share := 1.0
	for n, i := range sorted {
		if o := &all[i].Outcome; !o.Gone && o.Seen < minutes {
			share *= 1 - 1/float64(len(sorted)-n)
			times, stays = append(times, o.Seen), append(stays, share)
		}
	}
	return func(at float64) float64 {
		// Only what was censored strictly before counts.
		n, _ := slices.BinarySearch(times, at)
		if n == 0 {
			return 1
		}
		return stays[n-1]
	}
}
