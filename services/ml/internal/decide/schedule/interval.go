package schedule

import (
	"slices"
	"time"
)

// merge intervals that touch or overlap; empty ones go.
func merge(all []interval) []interval {
	sorted := slices.DeleteFunc(slices.Clone(all), func(i interval) bool { return !i.start.Before(i.end) })
	slices.SortFunc(sorted, func(a, b interval) int { return a.start.Compare(b.start) })
	var merged []interval
	for _, i := range sorted {
		if n := len(merged); n > 0 && !merged[n-1].end.Before(i.start) {
			if i.end.After(merged[n-1].end) {
				merged[n-1].end = i.end
			}
			continue
		}
		merged = append(merged, i)
	}
	return merged
}

// clip intervals to [from, to).
func clip(all []interval, from, to time.Time) []interval {
	var rest []interval
	for _, i := range all {
		if i.start.Before(from) {
			i.start = from
		}
		if i.end.After(to) {
			i.end = to
		}
		if i.start.Before(i.end) {
			rest = append(rest, i)
		}
	}
	return rest
}

// without a hole.
func without(all []interval, hole interval) []interval {
	var rest []interval
	for _, i := range all {
		left, right := i, i
		left.end, right.start = earlier(i.end, hole.start), later(i.start, hole.end)
		for _, part := range []interval{left, right} {
			if part.start.Before(part.end) {
				rest = append(rest, part)
			}
		}
	}
	return rest
}

// gaps between merged intervals within [from, to).
func gaps(all []interval, from, to time.Time) []interval {
	var rest []interval
	at := from
	for _, i := range all {
		if at.Before(i.start) {
			rest = append(rest, interval{start: at, end: i.start})
		}
		at = later(at, i.end)
	}
	if at.Before(to) {
		rest = append(rest, interval{start: at, end: to})
	}
	return rest
}

// common parts of two lists of merged intervals.
func common(a, b []interval) []interval {
	var both []interval
	for _, x := range a {
		for _, y := range b {
			start, end := later(x.start, y.start), earlier(x.end, y.end)
			if start.Before(end) {
				both = append(both, interval{start: start, end: end, reason: x.reason})
			}
		}
	}
	return both
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
