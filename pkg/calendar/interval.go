package calendar

import (
	"slices"
	"time"
)

// Merge intervals that touch or overlap; empty ones go.
func Merge(all []Interval) []Interval {
	sorted := slices.DeleteFunc(slices.Clone(all), func(i Interval) bool { return !i.Start.Before(i.End) })
	slices.SortFunc(sorted, func(a, b Interval) int { return a.Start.Compare(b.Start) })
	var merged []Interval
	for _, i := range sorted {
		if n := len(merged); n > 0 && !merged[n-1].End.Before(i.Start) {
			if i.End.After(merged[n-1].End) {
				merged[n-1].End = i.End
			}
			continue
		}
		merged = append(merged, i)
	}
	return merged
}

// Clip intervals to [from, to).
func Clip(all []Interval, from, to time.Time) []Interval {
	var rest []Interval
	for _, i := range all {
		if i.Start.Before(from) {
			i.Start = from
		}
		if i.End.After(to) {
			i.End = to
		}
		if i.Start.Before(i.End) {
			rest = append(rest, i)
		}
	}
	return rest
}

// Without a hole.
func Without(all []Interval, hole Interval) []Interval {
	var rest []Interval
	for _, i := range all {
		left, right := i, i
		left.End, right.Start = earlier(i.End, hole.Start), later(i.Start, hole.End)
		for _, part := range []Interval{left, right} {
			if part.Start.Before(part.End) {
				rest = append(rest, part)
			}
		}
	}
	return rest
}

// Gaps between merged intervals within [from, to).
func Gaps(all []Interval, from, to time.Time) []Interval {
	var rest []Interval
	at := from
	for _, i := range all {
		if at.Before(i.Start) {
			rest = append(rest, Interval{Start: at, End: i.Start})
		}
		at = later(at, i.End)
	}
	if at.Before(to) {
		rest = append(rest, Interval{Start: at, End: to})
	}
	return rest
}

// Common parts of two lists of merged intervals.
func Common(a, b []Interval) []Interval {
	var both []Interval
	for _, x := range a {
		for _, y := range b {
			start, end := later(x.Start, y.Start), earlier(x.End, y.End)
			if start.Before(end) {
				both = append(both, Interval{Start: start, End: end, Reason: x.Reason})
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
