package main

import (
	"cmp"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
)

const (
	hour = int64(3_600_000)
	day  = 24 * hour
	week = 7 * day
)

// Score is the error of one way to hide rows. Each series' mean absolute error is
// divided by its mean absolute value, so that large ones count no more.
type Score struct {
	// Rules, SeasonalNaive (the same time a week earlier or later) and Linear.
	Rules, SeasonalNaive, Linear float64
	// Series that could be compared, and Rows that were hidden in them.
	Series, Rows int
	// Filled is the share of hidden rows that the rules filled at all.
	Filled float64
}

// masks hide rows: single ones, blocks of up to six hours, whole days.
var masks = map[string]func(rng *rand.Rand, step int64) (rows int){
	"random": func(*rand.Rand, int64) int { return 1 },
	"block":  func(rng *rand.Rand, step int64) int { return 2 + rng.IntN(max(1, int(6*hour/step)-1)) },
	"day":    func(_ *rand.Rand, step int64) int { return int(day / step) },
}

// hiddenShare of a series' rows by each mask, about.
const hiddenShare = 0.05

func measure(all []real, seed uint64) map[string]Score {
	slices.SortFunc(all, func(a, b real) int { return cmp.Compare(a.name, b.name) })
	scores := map[string]Score{}
	for name, length := range masks {
		var sum Score
		filled := 0
		for _, r := range all {
			hash := fnv.New64a()
			_, _ = hash.Write([]byte(name + r.name))
			one, ok := compare(r, length, rand.New(rand.NewPCG(seed, hash.Sum64())))
			if !ok {
				continue
			}
			sum.Rules, sum.SeasonalNaive, sum.Linear = sum.Rules+one.Rules, sum.SeasonalNaive+one.SeasonalNaive, sum.Linear+one.Linear
			sum.Series, sum.Rows = sum.Series+1, sum.Rows+one.Rows
			filled += int(math.Round(one.Filled * float64(one.Rows)))
		}
		if n := float64(sum.Series); n > 0 {
			sum.Rules, sum.SeasonalNaive, sum.Linear = sum.Rules/n, sum.SeasonalNaive/n, sum.Linear/n
			sum.Filled = float64(filled) / float64(sum.Rows)
		}
		scores[name] = sum
	}
	return scores
}

// compare on the hidden rows that every method can fill.
func compare(r real, length func(*rand.Rand, int64) int, rng *rand.Rand) (Score, bool) {
	hidden := hide(r, length, rng)
	truth, kept := map[int64]float64{}, []series.Point{}
	scale := 0.0
	for i, row := range r.rows {
		scale += math.Abs(row.Values[0]) / float64(len(r.rows))
		if hidden[i] {
			truth[row.At] = row.Values[0]
		} else {
			kept = append(kept, row)
		}
	}
	if scale == 0 || len(truth) == 0 || len(kept) < 10 {
		return Score{}, false
	}
	known := map[int64]float64{}
	for _, row := range kept {
		known[row.At] = row.Values[0]
	}
	var s Score
	n, filled := 0.0, 0
	for _, p := range fill(r, kept) {
		want, asked := truth[p.at]
		if !asked {
			continue
		}
		filled++
		naive, ok := seasonal(known, p.at)
		if !ok {
			continue
		}
		n++
		s.Rules += math.Abs(p.rules - want)
		s.Linear += math.Abs(p.linear - want)
		s.SeasonalNaive += math.Abs(naive - want)
	}
	if n == 0 {
		return Score{}, false
	}
	s.Rules, s.Linear, s.SeasonalNaive = s.Rules/n/scale, s.Linear/n/scale, s.SeasonalNaive/n/scale
	s.Rows, s.Filled = len(truth), float64(filled)/float64(len(truth))
	return s, true
}

// hide rows, never the first or the last.
func hide(r real, length func(*rand.Rand, int64) int, rng *rand.Rand) []bool {
	hidden := make([]bool, len(r.rows))
	for count := 0; count < int(hiddenShare*float64(len(r.rows))); {
		n := length(rng, r.step)
		if n >= len(r.rows)-2 {
			break
		}
		from := 1 + rng.IntN(len(r.rows)-n-1)
		for i := from; i < from+n; i++ {
			if !hidden[i] {
				count++
			}
			hidden[i] = true
		}
	}
	return hidden
}

// seasonal is the value a week earlier, or later, or two weeks.
func seasonal(known map[int64]float64, at int64) (float64, bool) {
	for _, shift := range []int64{-week, week, -2 * week, 2 * week} {
		if v, ok := known[at+shift]; ok {
			return v, true
		}
	}
	return 0, false
}

type guess struct {
	at            int64
	rules, linear float64
}

// fill all gaps between kept rows as the service would.
func fill(r real, kept []series.Point) []guess {
	usual := series.NewProfile(hourly(kept))
	times := make([]int64, len(kept))
	byTime := map[int64]series.Point{}
	for i, row := range kept {
		times[i] = row.At
		byTime[row.At] = row
	}
	var all []guess
	for _, g := range series.Find(times, series.Fixed(r.step), times[0], times[len(times)-1]+1).Gaps {
		if g.Open() {
			continue
		}
		before, after := byTime[g.Before], byTime[g.After]
		for _, row := range series.Fill(g, g.Slots(), before, after, nil, usual) {
			share := float64(row.At-g.Before) / float64(g.After-g.Before)
			all = append(all, guess{row.At, row.Values[0], before.Values[0] + (after.Values[0]-before.Values[0])*share})
		}
	}
	return all
}

// hourly means, as the store makes them.
func hourly(rows []series.Point) []series.Point {
	var means []series.Point
	n := 0.0
	for _, row := range rows {
		at := row.At / hour * hour
		if len(means) == 0 || means[len(means)-1].At != at {
			means, n = append(means, series.Point{At: at, Values: []float64{0}}), 0
		}
		n++
		mean := means[len(means)-1].Values
		mean[0] += (row.Values[0] - mean[0]) / n
	}
	return means
}
