package schedule

import (
	"math"
	"slices"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

const (
	weekHours = 168
	// An hour is as busy as nine tenths of its samples are at most: a job that runs for a few
	// minutes an hour is not what people wait for.
	hourQuantile = 0.9
	// Quiet and busy levels of a workload, quantiles of its hours.
	quietLevel, busyLevel = 0.10, 0.95
	// activeShare of the way from quiet to busy is active.
	activeShare = 0.2
	// A workload whose busy level is not this much above its quiet one shows no difference.
	leastRise, leastRiseMillicores = 1.5, 10
)

// series is how active something was by the hour: 0 quiet to 1 busy, NaN unknown.
type series struct {
	first  int64 // hour from 1970
	level  []float64
	active []float64 // 1 or 0, NaN unknown
}

// activity of a workload: the CPU of its containers together. flat says that quiet and
// busy hours cannot be told apart.
func activity(containers []usage.Container, above *float64) (s *series, flat bool) {
	cpu := map[int64]float64{}
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, c := range containers {
		for _, h := range c.Hours {
			if h.CPU != nil {
				cpu[h.At] += usage.QuantileOf(h.CPU, hourQuantile)
				first, last = min(first, h.At), max(last, h.At)
			}
		}
	}
	if len(cpu) == 0 {
		return nil, false
	}
	sorted := make([]float64, 0, len(cpu))
	for _, v := range cpu {
		sorted = append(sorted, v)
	}
	slices.Sort(sorted)
	quiet, busy := at(sorted, quietLevel), at(sorted, busyLevel)
	threshold := quiet + activeShare*(busy-quiet)
	if flat = busy < leastRise*quiet+leastRiseMillicores; above != nil {
		threshold, flat = *above, false
	}
	s = &series{first: first, level: make([]float64, last-first+1), active: make([]float64, last-first+1)}
	for i := range s.level {
		s.level[i], s.active[i] = math.NaN(), math.NaN()
		if v, known := cpu[first+int64(i)]; known {
			s.level[i] = min(1, max(0, (v-quiet)/max(1, busy-quiet)))
			s.active[i] = 0
			if flat || v > threshold {
				s.active[i] = 1
			}
		}
	}
	return s, flat
}

// at is a quantile of sorted values, by nearest rank.
func at(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// together is active when any of them is.
func together(all []*series) *series {
	first, last := all[0].first, int64(math.MinInt64)
	for _, s := range all {
		first, last = min(first, s.first), max(last, s.first+int64(len(s.level)))
	}
	sum := &series{first: first, level: make([]float64, last-first), active: make([]float64, last-first)}
	for i := range sum.level {
		sum.level[i], sum.active[i] = math.NaN(), math.NaN()
	}
	for _, s := range all {
		for i := range s.level {
			at := s.first - first + int64(i)
			sum.level[at], sum.active[at] = higher(sum.level[at], s.level[i]), higher(sum.active[at], s.active[i])
		}
	}
	return sum
}

func higher(a, b float64) float64 {
	switch {
	case math.IsNaN(a):
		return b
	case math.IsNaN(b):
		return a
	}
	return max(a, b)
}

// profile is the activity of every hour of the week, Monday 00:00 of the zone first.
type profile struct {
	weeks       int
	odd         []int64 // first hours of weeks left out
	active      [weekHours][]float64
	level       [weekHours][]float64
	probability [weekHours]float64
}

// cellOf an hour: its hour of the week in the zone, and the date of that week's Monday.
func cellOf(hour int64, zone *time.Location) (cell int, monday calendar.Date) {
	t := time.Unix(hour*3600, 0).In(zone)
	d := calendar.DateOf(t)
	return d.Weekday()*24 + t.Hour(), d.Plus(-d.Weekday())
}

// profileOf a series in a zone, without the one week that is most unlike the others, if one is.
func profileOf(s *series, zone *time.Location) *profile {
	weeks := map[calendar.Date]*[weekHours]float64{}
	cells := make([]int, len(s.level))
	mondays := make([]calendar.Date, len(s.level))
	begins := map[calendar.Date]int64{}
	for i := range s.level {
		hour := s.first + int64(i)
		cells[i], mondays[i] = cellOf(hour, zone)
		if weeks[mondays[i]] == nil {
			weeks[mondays[i]], begins[mondays[i]] = unknownWeek(), hour
		}
		weeks[mondays[i]][cells[i]] = s.level[i]
	}
	p := &profile{}
	odd, isOdd := oddWeek(weeks)
	if isOdd {
		p.odd = append(p.odd, begins[odd])
	}
	covered := 0
	for i := range s.level {
		if math.IsNaN(s.active[i]) || isOdd && mondays[i] == odd {
			continue
		}
		covered++
		p.active[cells[i]] = append(p.active[cells[i]], s.active[i])
		p.level[cells[i]] = append(p.level[cells[i]], s.level[i])
	}
	p.weeks = int(float64(covered)/weekHours + missingShare)
	p.estimate()
	return p
}

// missingShare of a week may be missing for it to count as whole.
const missingShare = 0.1

func unknownWeek() *[weekHours]float64 {
	w := &[weekHours]float64{}
	for i := range w {
		w[i] = math.NaN()
	}
	return w
}

// estimate the probability of activity of every hour of the week: its own share of active weeks,
// drawn by the strength of one week to that of the three hours around it.
func (p *profile) estimate() {
	for h := range p.probability {
		active, seen := 0.0, 0.0
		for _, near := range []int{(h + weekHours - 1) % weekHours, h, (h + 1) % weekHours} {
			active += total(p.active[near])
			seen += float64(len(p.active[near]))
		}
		prior := (active + 0.5) / (seen + 1)
		p.probability[h] = (total(p.active[h]) + prior) / (float64(len(p.active[h])) + 1)
	}
}

func total(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum
}

// quantiles of the level over weeks, by hour of the week.
func (p *profile) quantiles(q float64) []float64 {
	all := make([]float64, weekHours)
	for h := range all {
		all[h] = at(slices.Sorted(slices.Values(p.level[h])), q)
	}
	return all
}

const (
	// A week is odd if it differs from the others' median three times as much as they do,
	// and by a tenth of the whole range in the mean.
	oddTimes, oddLeast = 3, 0.1
	// leastWeeks to say so.
	leastWeeks = 3
)

// oddWeek is the one most unlike the median of all: a holiday, an outage, a load test.
func oddWeek(weeks map[calendar.Date]*[weekHours]float64) (calendar.Date, bool) {
	if len(weeks) < leastWeeks {
		return calendar.Date{}, false
	}
	var middle [weekHours]float64
	for h := range middle {
		var values []float64
		for _, w := range weeks {
			if !math.IsNaN(w[h]) {
				values = append(values, w[h])
			}
		}
		slices.Sort(values)
		middle[h] = at(values, 0.5)
	}
	distance := map[calendar.Date]float64{}
	for monday, w := range weeks {
		sum, n := 0.0, 0
		for h, v := range w {
			if !math.IsNaN(v) {
				sum, n = sum+math.Abs(v-middle[h]), n+1
			}
		}
		if n >= weekHours/2 {
			distance[monday] = sum / float64(n)
		}
	}
	return outlier(distance)
}

func outlier(distance map[calendar.Date]float64) (calendar.Date, bool) {
	var worst calendar.Date
	found := false
	for monday, d := range distance {
		if !found || d > distance[worst] || d == distance[worst] && monday.Before(worst) {
			worst, found = monday, true
		}
	}
	var rest []float64
	for monday, d := range distance {
		if monday != worst {
			rest = append(rest, d)
		}
	}
	slices.Sort(rest)
	return worst, len(rest) >= leastWeeks-1 && distance[worst] > oddLeast && distance[worst] > oddTimes*at(rest, 0.5)
}
