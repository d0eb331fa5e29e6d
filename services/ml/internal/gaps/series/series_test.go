package series

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	second = int64(1000)
	minute = 60 * second
	// base is a Monday.
	base = int64(1_790_553_600_000)
)

// regular times from one to another, jittered by up to a tenth of the step.
func regular(from, to, step int64, seed uint64) []int64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	var times []int64
	for at := from; at < to; at += step {
		times = append(times, at+rng.Int64N(step/5+1)-step/10)
	}
	return times
}

func without(times []int64, from, to int64) []int64 {
	return slices.DeleteFunc(slices.Clone(times), func(at int64) bool { return at >= from && at < to })
}

func TestTheCadenceIsLearnedFromTheSeries(t *testing.T) {
	for name, c := range map[string]struct {
		times []int64
		want  int64
	}{
		"none":                        {nil, DefaultStep},
		"one row":                     {[]int64{base}, DefaultStep},
		"fifteen seconds":             {regular(base, base+hour, 15*second, 1), 15 * second},
		"a minute with a gap":         {without(regular(base, base+day, minute, 2), base+hour, base+3*hour), minute},
		"two agents":                  {twice(regular(base, base+hour, 30*second, 3)), 30 * second},
		"an odd one":                  {regular(base, base+hour, 37*second, 4), 37 * second},
		"slower than the ceiling":     {regular(base, base+day, hour, 5), DefaultStep},
		"a tenth of all rows missing": {thin(regular(base, base+day, minute, 6), 10), minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Learn(c.times).Whole(); got < c.want-2*second || got > c.want+2*second || slices.Contains(steps, c.want) && got != c.want {
				t.Errorf("%d ms, want %d", got, c.want)
			}
		})
	}
}

func twice(times []int64) []int64 {
	var all []int64
	for _, at := range times {
		all = append(all, at, at+300)
	}
	return all
}

func thin(times []int64, every int) []int64 {
	var kept []int64
	for i, at := range times {
		if i%every != every/2 {
			kept = append(kept, at)
		}
	}
	return kept
}

func TestAChangedCadenceIsNoGap(t *testing.T) {
	times := append(regular(base, base+3*day, 15*second, 7), regular(base+3*day, base+4*day, minute, 8)...)
	c := Learn(times)
	if c.At(base) != 15*second || c.At(base+3*day+hour) != minute {
		t.Fatalf("cadence %d, then %d", c.At(base), c.At(base+3*day+hour))
	}
	if f := Find(times, c, base, base+4*day); len(f.Gaps) > 1 {
		t.Errorf("%d gaps, want at most one where it changes", len(f.Gaps))
	}
}

func TestGapsAreFoundWhereRowsAreMissing(t *testing.T) {
	all := regular(base+minute/10, base+day, minute, 9)
	c := Learn(all)
	for name, cuts := range map[string][][2]int64{
		"nothing missing": nil,
		"one row":         {{base + hour - minute/2, base + hour + minute/2}},
		"an hour":         {{base + hour, base + 2*hour}},
		"two gaps":        {{base + hour, base + 2*hour}, {base + 5*hour, base + 5*hour + 10*minute}},
		"the start":       {{base, base + hour}},
		"the end":         {{base + 23*hour, base + day}},
		"everything":      {{base - hour, base + day}},
	} {
		t.Run(name, func(t *testing.T) {
			times, missing := all, 0
			for _, cut := range cuts {
				times = without(times, cut[0], cut[1])
			}
			f := Find(times, c, base, base+day)
			for _, g := range f.Gaps {
				missing += g.Missing
			}
			if len(f.Gaps) != len(cuts) || f.Observed != len(times) {
				t.Fatalf("gaps %+v, %d observed; want %d gaps, %d observed", f.Gaps, f.Observed, len(cuts), len(times))
			}
			if off := missing - (len(all) - len(times)); off < -1 || off > 1 || f.Expected != f.Observed+missing {
				t.Errorf("%d missing of %d expected, want %d", missing, f.Expected, len(all)-len(times))
			}
		})
	}
}

// The rows that are found missing lie in the gap, a step apart, and with them nothing
// is missing any more.
func TestFilledGapsAreNoGaps(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		times := regular(base, base+2*day, steps[1+rng.IntN(5)], seed)
		for range 5 {
			from := base + rng.Int64N(2*day)
			times = without(times, from, from+rng.Int64N(5*hour))
		}
		if len(times) < 100 {
			continue
		}
		c, filled := Learn(times), slices.Clone(times)
		for _, g := range Find(times, c, base, base+2*day).Gaps {
			last := g.Before
			for _, slot := range g.Slots() {
				if slot <= g.Before || slot >= g.After || float64(slot-last) < 0.6*float64(g.Step) {
					t.Fatalf("seed %d: slot %d after %d in %+v", seed, slot, last, g)
				}
				last = slot
			}
			filled = append(filled, g.Slots()...)
		}
		slices.Sort(filled)
		for _, g := range Find(filled, c, base, base+2*day).Gaps {
			if !g.Open() {
				t.Fatalf("seed %d: %+v is still a gap", seed, g)
			}
		}
	}
}

func TestARowBeforeTheWindowIsTheEdgeOfAGapThatReachesIn(t *testing.T) {
	times := append(regular(base, base+hour, minute, 1), regular(base+3*hour, base+4*hour, minute, 2)...)
	f := Find(times, Learn(times), base+2*hour, base+4*hour)
	if len(f.Gaps) != 1 || f.Gaps[0].Open() || f.Gaps[0].Start != base+2*hour {
		t.Fatalf("gaps %+v, want one with both edges, from the window's start", f.Gaps)
	}
	if f.Expected-f.Observed < 58 || f.Expected-f.Observed > 61 {
		t.Errorf("%d of the gap's steps are expected in the window, want about 60", f.Expected-f.Observed)
	}
}

func TestPricesHoldUntilTheNextButNotForEver(t *testing.T) {
	const hold = 2 * 24 * hour
	for name, c := range map[string]struct {
		days  []int64
		gaps  int
		known int64
	}{
		"none":                     {nil, 1, 0},
		"each day":                 {[]int64{-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 0, 10},
		"from before the window":   {[]int64{-1, 1, 3, 5, 7, 9}, 0, 10},
		"three days apart":         {[]int64{0, 3, 6, 9}, 3, 7},
		"a late start":             {[]int64{5, 6, 7, 8, 9}, 1, 5},
		"an early end":             {[]int64{0, 1}, 1, 3},
		"after the window is none": {[]int64{11}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var times []int64
			for _, d := range c.days {
				times = append(times, base+d*day)
			}
			gaps, known := Held(times, hold, base, base+10*day)
			if len(gaps) != c.gaps || known != c.known*day {
				t.Errorf("%d gaps, %d days known; want %d and %d: %+v", len(gaps), known/day, c.gaps, c.known, gaps)
			}
		})
	}
}

func TestAGapHasACause(t *testing.T) {
	gap := Gap{Start: base, End: base + hour}
	silence := func(kind string, from, to int64) Silence { return Silence{kind, base + from*minute, base + to*minute} }
	for name, c := range map[string]struct {
		gap      Gap
		silences []Silence
		want     string
	}{
		"heartbeats and no report":      {gap, nil, ScrapeFailed},
		"no heartbeats":                 {gap, []Silence{silence(AgentSilent, -1, 61)}, AgentDown},
		"in pieces":                     {gap, []Silence{silence(AgentSilent, 0, 20), silence(AgentSilent, 30, 50)}, AgentDown},
		"none for a tenth of it":        {gap, []Silence{silence(AgentSilent, 0, 6)}, ScrapeFailed},
		"central away":                  {gap, []Silence{silence(AgentSilent, -1, 61), silence(CentralSilent, 0, 59)}, Refused},
		"before silences were noted":    {gap, []Silence{silence(Unwatched, -600, 61)}, Unknown},
		"too short to notice a silence": {Gap{Start: base, End: base + minute}, nil, Unknown},
		"a silence next to it":          {gap, []Silence{silence(AgentSilent, 60, 90)}, ScrapeFailed},
		"short, and central known away": {Gap{Start: base, End: base + minute}, []Silence{silence(CentralSilent, 0, 2)}, Refused},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Cause(c.gap, c.silences); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func gapOf(missing int, step int64) (Gap, []int64) {
	g := Gap{Before: base, After: base + int64(missing+1)*step, Step: step, Missing: missing}
	g.Start, g.End = base+step, g.After
	return g, g.Slots()
}

func TestMethodsFollowTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		missing int
		step    int64
		want    string
	}{
		"one step": {1, minute, LastValue}, "two steps": {2, minute, LastValue}, "three": {3, minute, Linear},
		"two steps of four hours": {2, 4 * hour, LastValue}, "six hours": {360, minute, Linear}, "six hours and a minute": {361, minute, HourOfWeekMedian},
	} {
		if g, _ := gapOf(c.missing, c.step); Method(g) != c.want {
			t.Errorf("%s: %s, want %s", name, Method(g), c.want)
		}
	}
	if got := Method(Gap{Before: base, End: base + hour, Missing: 1}); got != "" {
		t.Errorf("a gap without an end is filled by %s", got)
	}
}

func TestValuesAreFilledByTheirMethod(t *testing.T) {
	before, after := Point{base, []float64{10, 100}}, func(at int64, counter float64) Point { return Point{at, []float64{20, counter}} }
	counters := []bool{false, true}
	g, slots := gapOf(1, minute)
	if rows := Fill(g, slots, before, after(g.After, 200), counters, nil); rows[0].Values[0] != 10 || rows[0].Values[1] != 150 {
		t.Errorf("last value: %v, want 10 carried on and the counter half way", rows)
	}
	g, slots = gapOf(9, minute)
	rows := Fill(g, slots, before, after(g.After, 50), counters, nil)
	if len(rows) != 9 || rows[4].Values[0] != 15 || rows[4].Values[1] != 100 {
		t.Errorf("linear: %v, want 15 half way and the counter, which was reset, at rest", rows[4])
	}
	g, slots = gapOf(24*60, minute)
	if rows := Fill(g, slots, before, after(g.After, 50), nil, NewProfile(nil)); len(rows) != 0 {
		t.Errorf("%d rows without any history", len(rows))
	}
	var hours []Point
	for w := int64(1); w <= 3; w++ { // 7, 7 and an outlier of 700
		for h := int64(0); h < 24; h++ {
			hours = append(hours, Point{base - w*7*day + h*hour, []float64{7 + math.Pow(10, float64(w-1)) - 1, 0}})
		}
	}
	rows = Fill(g, slots, before, after(g.After, 0), nil, NewProfile(hours))
	if len(rows) != 24*60-1 && len(rows) != 24*60 || rows[100].Values[0] != 16 {
		t.Errorf("%d rows of %v, want a day of the median 16", len(rows), rows[100].Values)
	}
}

// Whatever is observed, a filled value lies between the least and the most that was.
func TestFilledValuesStayWithinWhatWasSeen(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var hours []Point
		for h := range int64(24 * 7 * 4) {
			hours = append(hours, Point{base - h*hour, []float64{rng.Float64() * 100}})
		}
		g, slots := gapOf(1+rng.IntN(3000), minute)
		from, to := Point{g.Before, []float64{rng.Float64() * 100}}, Point{g.After, []float64{rng.Float64() * 100}}
		for _, row := range Fill(g, slots, from, to, nil, NewProfile(hours)) {
			if v := row.Values[0]; v < 0 || v > 100 || math.IsNaN(v) {
				t.Fatalf("seed %d: %v", seed, v)
			}
		}
	}
}

func TestAWholeYearHasNoGaps(t *testing.T) {
	times := regular(base, base+365*day, time.Minute.Milliseconds(), 1)
	if f := Find(times, Learn(times), base, base+365*day); len(f.Gaps) != 0 || f.Expected != len(times) {
		t.Errorf("%d gaps, %d expected of %d", len(f.Gaps), f.Expected, len(times))
	}
}
