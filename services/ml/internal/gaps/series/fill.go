package series

import (
	"slices"
	"time"
)

// Methods by which a gap is filled.
const (
	LastValue        = "last_value"
	Linear           = "linear"
	HourOfWeekMedian = "hour_of_week_median"
	// AWSHistory is no imputation: EC2 tells what was.
	AWSHistory = "aws_history"
)

const (
	carried      = 2 // steps
	linearWithin = int64(6 * time.Hour / time.Millisecond)
	hour         = int64(time.Hour / time.Millisecond)
	hoursOfWeek  = 7 * 24
	// leastWeeks must have been observed at an hour of the week: one is an anecdote.
	leastWeeks = 2
)

// Method that the rules give a gap between two observed rows: up to two steps the
// last value, up to six hours a line, longer ones what is usual at that hour of the
// week.
func Method(g Gap) string {
	switch {
	case g.Open():
		return ""
	case g.Missing <= carried:
		return LastValue
	case int64(g.Missing)*g.Step <= linearWithin:
		return Linear
	}
	return HourOfWeekMedian
}

// Point is a row: values of the columns at a time.
type Point struct {
	At     int64
	Values []float64
}

// Profile is what is usual at each hour of the week, in UTC: the median over the
// weeks of the hour's mean. Hours have no value where too few weeks were observed.
type Profile struct{ hours [hoursOfWeek][]float64 }

// NewProfile of hourly means.
func NewProfile(hours []Point) *Profile {
	p := &Profile{}
	var seen [hoursOfWeek][]Point
	for _, h := range hours {
		i := hourOfWeek(h.At)
		seen[i] = append(seen[i], h)
	}
	for i, weeks := range seen {
		if len(weeks) < leastWeeks {
			continue
		}
		p.hours[i] = make([]float64, len(weeks[0].Values))
		column := make([]float64, len(weeks))
		for c := range p.hours[i] {
			for w := range weeks {
				column[w] = weeks[w].Values[c]
			}
			p.hours[i][c] = middle(column)
		}
	}
	return p
}

func hourOfWeek(at int64) int { return int(at / hour % hoursOfWeek) }

func middle(of []float64) float64 {
	slices.Sort(of)
	if n := len(of); n%2 == 0 {
		return (of[n/2-1] + of[n/2]) / 2
	}
	return of[len(of)/2]
}

// Fill a gap between two observed rows at some of its slots. counters are the
// columns that only ever grow: they go on at the gap's mean rate, and stand still
// where they were reset. Slots of an hour without a usual value are left out.
func Fill(g Gap, slots []int64, before, after Point, counters []bool, usual *Profile) []Point {
	method := Method(g)
	var rows []Point
	for _, at := range slots {
		share := float64(at-before.At) / float64(after.At-before.At)
		var typical []float64
		if method == HourOfWeekMedian {
			if typical = usual.hours[hourOfWeek(at)]; typical == nil {
				continue
			}
		}
		row := Point{At: at, Values: make([]float64, len(before.Values))}
		for c, from := range before.Values {
			to := after.Values[c]
			switch {
			case c < len(counters) && counters[c]:
				row.Values[c] = from + max(0, to-from)*share
			case method == LastValue:
				row.Values[c] = from
			case method == Linear:
				row.Values[c] = from + (to-from)*share
			default:
				row.Values[c] = typical[c]
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// Knows says whether there is a usual value at that time.
func (p *Profile) Knows(at int64) bool { return p.hours[hourOfWeek(at)] != nil }
