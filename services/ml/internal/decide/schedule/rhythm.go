package schedule

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/cloudoptim/cloudoptim/pkg/calendar"
)

// rhythm is whether a series comes again every day or week.
type rhythm struct {
	daily, weekly float64 // autocorrelation at 24 and 168 hours
	shuffled      float64 // what 99 % of shuffled series stay below
}

const (
	shuffles      = 200
	shuffledLevel = 0.99
	// blockHours stay together when shuffled: activity lasts, so single hours would make too easy a foe.
	blockHours = 6
	// leastCorrelation below which even an honest rhythm foretells little.
	leastCorrelation = 0.2
)

// rhythmOf the known hours of whole weeks, against the same hours in shuffled blocks.
func rhythmOf(values []float64, seed uint64) rhythm {
	whole := values[len(values)-len(values)/weekHours*weekHours:]
	r := rhythm{daily: correlation(whole, 24), weekly: correlation(whole, weekHours)}
	if len(whole) <= weekHours {
		r.weekly = 0 // of one week, every hour is a week from itself
	}
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	highest := make([]float64, shuffles)
	mixed := slices.Clone(whole)
	order := make([]int, len(whole)/blockHours)
	for i := range order {
		order[i] = i
	}
	for i := range highest {
		rng.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
		for to, from := range order {
			copy(mixed[to*blockHours:(to+1)*blockHours], whole[from*blockHours:(from+1)*blockHours])
		}
		highest[i] = max(correlation(mixed, 24), correlation(mixed, weekHours))
	}
	slices.Sort(highest)
	r.shuffled = at(highest, shuffledLevel)
	return r
}

// found says whether the rhythm is one.
func (r rhythm) found() bool {
	return max(r.daily, r.weekly) > max(r.shuffled, leastCorrelation)
}

// correlation of a series with itself so many hours later, around its end. Over whole weeks
// days and weeks come out even, so nothing leaks from one hour of the day into another.
func correlation(values []float64, lag int) float64 {
	if len(values) == 0 {
		return 0
	}
	mean := total(values) / float64(len(values))
	product, square := 0.0, 0.0
	for i, v := range values {
		d := v - mean
		product += d * (values[(i+lag)%len(values)] - mean)
		square += d * d
	}
	if square < 1e-12 {
		return 0
	}
	return product / square
}

// filled series: unknown hours as the median of their hour of the week, and without the odd weeks.
func (p *profile) filled(s *series, cells func(int64) (int, calendar.Date)) []float64 {
	medians := p.quantiles(0.5)
	var values []float64
	for i, v := range s.level {
		cell, monday := cells(s.first + int64(i))
		if p.leftOut(monday, cells) {
			continue
		}
		if math.IsNaN(v) {
			v = medians[cell]
		}
		values = append(values, v)
	}
	return values
}

func (p *profile) leftOut(monday calendar.Date, cells func(int64) (int, calendar.Date)) bool {
	return slices.ContainsFunc(p.odd, func(hour int64) bool {
		_, m := cells(hour)
		return m == monday
	})
}

// seedOf a name, so that namespaces do not share their luck.
func seedOf(name string, seed uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64() ^ seed
}
