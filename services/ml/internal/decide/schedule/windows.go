package schedule

import (
	"cmp"
	"math"
	"slices"
)

// window is a sleep that comes again every week: hours from Monday 00:00 of the zone.
type window struct{ start, hours int }

// cells of the week in it.
func (w window) cells() []int {
	all := make([]int, w.hours)
	for i := range all {
		all[i] = (w.start + i) % weekHours
	}
	return all
}

// bargain is what sleeping gives and costs, in hours of what the sleepers cost.
type bargain struct {
	penalty float64 // of an hour of activity asleep
	each    float64 // of one sleep: waking, and the time nodes take to go and come
	least   int     // hours of the shortest sleep
}

// gain of sleeping through an hour.
func (b bargain) gain(probability float64) float64 { return 1 - b.penalty*probability }

// choose the windows of the week with the highest gain in all. Some hour is awake, else there is
// nothing to schedule; from each in turn the week is a line, on which the best choice is exact.
func (b bargain) choose(probability [weekHours]float64) []window {
	best, most := []window(nil), 0.0
	for awake := range weekHours {
		if chosen, value := b.line(probability, awake); value > most+1e-9 {
			best, most = chosen, value
		}
	}
	slices.SortFunc(best, func(a, b window) int { return cmp.Compare(a.start, b.start) })
	return best
}

// line starts the week at an hour that stays awake.
func (b bargain) line(probability [weekHours]float64, awake int) ([]window, float64) {
	// sums[i] is the gain of the first i hours after it, value[i] the best for them, from[i] where
	// a sleep that ends there began, or -1.
	var sums, value [weekHours]float64
	var from [weekHours]int
	from[0] = -1
	bestStart, bestOpen := -1, math.Inf(-1) // the best begin for a sleep long enough to end at i
	for i := 1; i < weekHours; i++ {
		sums[i] = sums[i-1] + b.gain(probability[(awake+i)%weekHours])
		if begin := i - b.least; begin >= 0 {
			if open := value[begin] - sums[begin]; open > bestOpen && (begin == 0 || from[begin] < 0) {
				bestStart, bestOpen = begin, open
			}
		}
		value[i], from[i] = value[i-1], -1
		if asleep := bestOpen + sums[i] - b.each; bestStart >= 0 && asleep > value[i]+1e-12 {
			value[i], from[i] = asleep, bestStart
		}
	}
	var all []window
	for i := weekHours - 1; i > 0; {
		if from[i] < 0 {
			i--
			continue
		}
		all = append(all, window{start: (awake + from[i] + 1) % weekHours, hours: i - from[i]})
		i = from[i]
	}
	return all, value[weekHours-1]
}
