package series

import "sort"

// Gap is a hole between two rows, or before the first, or after the last.
type Gap struct {
	// Before and After are the observed rows at its edges; 0: there is none.
	Before, After int64
	// Start is the first step missing, End the first there again, or where the look ended.
	Start, End int64
	// Step of the series there.
	Step int64
	// Missing steps.
	Missing int
}

// Open says that one of its edges was not observed.
func (g Gap) Open() bool { return g.Before == 0 || g.After == 0 }

// Length between its edges.
func (g Gap) Length() int64 { return g.End - g.Start }

// Slots are the times of the missing rows, spread evenly between the edges, so
// that they are the same whenever the gap is looked at.
func (g Gap) Slots() []int64 {
	if g.Open() {
		return nil
	}
	slots := make([]int64, g.Missing)
	for k := range slots {
		slots[k] = g.Before + (g.After-g.Before)*int64(k+1)/int64(g.Missing+1)
	}
	return slots
}

// Found is what a look at a series found.
type Found struct {
	Gaps []Gap
	// Expected steps, and those Observed.
	Expected, Observed int
}

// Find the gaps in a series' observed rows that reach into start to end. A distance
// of more than one and a half steps is a gap.
func Find(times []int64, c Cadence, start, end int64) Found {
	var f Found
	// The row before the window is the edge of a gap that reaches into it.
	first := sort.Search(len(times), func(i int) bool { return times[i] >= start })
	last := int64(0)
	if first > 0 {
		last = times[first-1]
	}
	for _, at := range times[first:] {
		if at >= end {
			break
		}
		f.between(last, at, c, start)
		if last == 0 || at-last >= MinStep/2 {
			f.Observed++
		}
		last = at
	}
	f.after(last, c, start, end)
	f.Expected += f.Observed
	return f
}

func (f *Found) between(before, at int64, c Cadence, start int64) {
	from, step := before, c.At(at)
	if before == 0 {
		from = start - step // the window's first step is one
	} else {
		step = max(step, c.At(before))
	}
	missing := missing(at-from, step)
	if missing == 0 {
		return
	}
	g := Gap{Before: before, After: at, Start: max(from+step, start), End: at, Step: step, Missing: missing}
	f.Gaps = append(f.Gaps, g)
	f.Expected += inside(g, start)
}

// inside counts the steps of a gap that lie in the window.
func inside(g Gap, start int64) int {
	if g.Before == 0 || g.Before >= start {
		return g.Missing
	}
	n := 0
	for _, slot := range g.Slots() {
		if slot >= start {
			n++
		}
	}
	return n
}

func (f *Found) after(last int64, c Cadence, start, end int64) {
	from := last
	if last == 0 {
		from = start - c.Whole()
	}
	step := c.At(from)
	first := max(from+step, start)
	if missing(end-from, step) == 0 || first >= end {
		return
	}
	g := Gap{Before: last, Start: first, End: end, Step: step, Missing: max(missing(end-first, step)+1, 1)}
	f.Gaps = append(f.Gaps, g)
	f.Expected += g.Missing
}

// missing rows between two that are so far apart.
func missing(distance, step int64) int {
	if distance*2 <= step*3 {
		return 0
	}
	return int((distance+step/2)/step) - 1
}

// Held finds what of start to end is not known of a price: each holds until the
// next, but no longer than hold. It returns how long one was known, too.
func Held(times []int64, hold, start, end int64) (gaps []Gap, known int64) {
	before, reach := int64(0), start
	for _, at := range times {
		if at >= end {
			break
		}
		if at > reach {
			gaps = append(gaps, Gap{Before: before, After: at, Start: reach, End: at})
		}
		before, reach = at, max(reach, min(at+hold, end))
	}
	if reach < end {
		gaps = append(gaps, Gap{Before: before, Start: reach, End: end})
	}
	known = end - start
	for _, g := range gaps {
		known -= g.Length()
	}
	return gaps, known
}
