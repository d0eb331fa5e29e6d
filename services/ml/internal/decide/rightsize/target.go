package rightsize

import (
	"math"
	"slices"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

const (
	// halfLife of a sample's weight. Months of history say what may come, the last
	// weeks what is likely; VPA's one day forgets the weekend.
	halfLife = 14 * 24
	// recent hours are looked at alone too, so that a rise counts the day after it.
	recent = 24
	// independentHours apart, two hours tell of different things: busy spells last about as long.
	independentHours = 6
	// widening is in standard errors of the quantile's rank: about five of six
	// samples of the same load have their quantile below.
	widening = 1
	// recurringFrom this quantile on, hours that come again every week or month are covered; a policy
	// below it means to do without some of them.
	recurringFrom = 0.95
	// sustained use of an hour is what half of its samples reach.
	sustained = 0.5
)

// point is one hour of one resource.
type point struct {
	at   int64 // hours from 1970
	hist *mlv1.UsageHistogram
}

// estimate is what usage says of one resource, in the histogram's unit.
type estimate struct {
	all       usage.Histogram // every sample, none weighted down
	late      usage.Histogram // those of the last day
	value     float64         // what to request
	hours     int             // covered
	recurring bool            // an hour of the week or day of the month raised it
	unfalling bool            // use rose and never fell
}

// days that the hours come to.
func (e *estimate) days() float64 { return float64(e.hours) / 24 }

// estimate a resource from its hours. rises says that use which never falls is to be
// covered whole.
func (r Rule) estimate(points []point, rises bool) *estimate {
	e := &estimate{hours: len(points)}
	if len(points) == 0 {
		return e
	}
	last := points[len(points)-1].at
	var long usage.Histogram
	for _, p := range points {
		e.all.AddHour(p.hist, 1)
		long.AddHour(p.hist, math.Exp2(-float64(last-p.at)/halfLife))
		if last-p.at < recent {
			e.late.AddHour(p.hist, 1)
		}
	}
	q := r.Quantile
	if e.unfalling = rises && neverFalls(points); e.unfalling {
		q = 1
	}
	e.value = max(long.Quantile(widened(q, len(points))), e.late.Quantile(q))
	if q == 1 {
		e.value = e.all.Max
	}
	if peak := recurringPeak(points); q >= recurringFrom && peak > e.value {
		e.value, e.recurring = peak, true
	}
	e.value *= 1 + r.Margin
	return e
}

// widened quantile: with few days the true one may be higher than it looks. The
// standard error of a quantile's rank among n independent values is √(q(1−q)/n).
func widened(q float64, hours int) float64 {
	n := max(1, float64(hours)/independentHours)
	return min(1, q+widening*math.Sqrt(q*(1-q)/n))
}

// recurringPeak is the highest use that an hour of the week, or the first two or last two
// days of the month, shows in at least half of its occurrences, of which there must be two. So a
// weekly batch or a month's end is covered though it is a small share of all hours. Use of an hour is what half of its samples
// reach: spikes within it are the quantile's business.
func recurringPeak(points []point) float64 {
	var weekly [168][]float64
	monthly := map[monthEdge]float64{}
	day, edge := int64(math.MinInt64), monthEdge{}
	for _, p := range points {
		value := usage.QuantileOf(p.hist, sustained)
		weekly[p.at%168] = append(weekly[p.at%168], value)
		if p.at/24 != day {
			day, edge = p.at/24, edgeOfMonth(time.Unix(p.at*3600, 0).UTC())
		}
		if edge.day != 0 {
			monthly[edge] = max(monthly[edge], value)
		}
	}
	peak := 0.0
	for _, values := range weekly {
		peak = max(peak, usual(values))
	}
	byDay := map[int][]float64{}
	for e, v := range monthly {
		byDay[e.day] = append(byDay[e.day], v)
	}
	for _, values := range byDay {
		peak = max(peak, usual(values))
	}
	return peak
}

// usual is the lower median: at least half are as high. 0 for fewer than two.
func usual(values []float64) float64 {
	if len(values) < 2 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// monthEdge is a day at the edge of a month, which is counted from the year 0: 1 or 2 for its first
// days, -1 or -2 for its last; 0 for a day between.
type monthEdge struct{ month, day int }

func edgeOfMonth(at time.Time) monthEdge {
	month := at.Year()*12 + int(at.Month())
	left := at.AddDate(0, 1, -at.Day()).Day() - at.Day()
	switch {
	case at.Day() <= 2:
		return monthEdge{month, at.Day()}
	case left < 2:
		return monthEdge{month, -1 - left}
	}
	return monthEdge{}
}

const (
	// A rise of a tenth shows that use moves at all.
	rose = 1.1
	// A fall by more than a twentieth, one bucket, is a fall.
	fell = 0.95
	// leastHours to say that something never falls.
	leastHours = 48
)

// neverFalls says whether use rose and stayed: a heap that is not given back, or a
// cache. The first restart or release of memory disproves it.
func neverFalls(points []point) bool {
	if len(points) < leastHours {
		return false
	}
	first, high := points[0].hist.GetMax(), 0.0
	for _, p := range points {
		if p.hist.GetMax() < fell*high {
			return false
		}
		high = max(high, p.hist.GetMax())
	}
	return first > 0 && high >= rose*first
}

// Target is what the rule would have a request be, in the histograms' unit, from hours in order of
// time; 0 without any. Steps, thresholds and bounds come after it.
func (r Rule) Target(hours []int64, histograms []*mlv1.UsageHistogram, memory bool) float64 {
	points := make([]point, len(hours))
	for i, at := range hours {
		points[i] = point{at, histograms[i]}
	}
	return r.estimate(points, memory).value
}
