package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // policies name zones, and the machine may know none

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// date is a day of the calendar.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

func (d date) plus(days int) date {
	return dateOf(time.Date(d.year, d.month, d.day+days, 12, 0, 0, 0, time.UTC))
}

func (d date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.year, int(d.month), d.day) }

func (d date) weekday() time.Weekday {
	return time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC).Weekday()
}

// at is when clocks of the zone show a minute of the day, which may be the 1440th: the
// first and the last such moment, where clocks are set back; where they are set forward
// over it, twice the moment of that.
func (d date) at(minute int, zone *time.Location) (first, last time.Time) {
	wall := time.Date(d.year, d.month, d.day, 0, minute, 0, 0, time.UTC)
	_, before := wall.Add(-26 * time.Hour).In(zone).Zone()
	_, after := wall.Add(26 * time.Hour).In(zone).Zone()
	early := wall.Add(-time.Duration(max(before, after)) * time.Second)
	late := wall.Add(-time.Duration(min(before, after)) * time.Second)
	isEarly, isLate := shows(early, zone, wall), shows(late, zone, wall)
	switch {
	case isEarly && isLate:
		return early.In(zone), late.In(zone)
	case isEarly:
		return early.In(zone), early.In(zone)
	case isLate:
		return late.In(zone), late.In(zone)
	default:
		_, change := early.In(zone).ZoneBounds()
		return change, change
	}
}

// shows tells whether clocks of the zone show wall at t.
func shows(t time.Time, zone *time.Location, wall time.Time) bool {
	_, offset := t.In(zone).Zone()
	return t.Add(time.Duration(offset) * time.Second).Equal(wall)
}

// stretch is from one moment up to another.
type stretch struct{ from, to time.Time }

func (s stretch) covers(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// times is a span of times of the week that has been read.
type times struct {
	zone        *time.Location
	first, last string
	spans       []weekly
}

// weekly is from a minute of some weekdays to a minute, which may be of the next day.
type weekly struct {
	days     [7]bool
	from, to int
}

// readTimes reads a span; unset: always. The error names what is wrong, for people.
func readTimes(span *adminv1.DisruptionSpan) (*times, error) {
	if span == nil {
		return nil, nil
	}
	zone, err := time.LoadLocation(span.GetTimeZone())
	if err != nil || span.GetTimeZone() == "Local" || span.GetTimeZone() == "" {
		return nil, fmt.Errorf("time_zone must be an IANA zone, e.g. Europe/Berlin")
	}
	out := &times{zone: zone, first: span.GetFirstDate(), last: span.GetLastDate()}
	if err := checkDates(out.first, out.last); err != nil {
		return nil, err
	}
	for _, one := range span.GetSpans() {
		out.spans = append(out.spans, readWeekly(one))
	}
	if len(out.spans) == 0 {
		out.spans = []weekly{{days: [7]bool{true, true, true, true, true, true, true}, to: 24 * 60}}
	}
	return out, nil
}

func checkDates(first, last string) error {
	for _, day := range []string{first, last} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return fmt.Errorf("%s must be a date", day)
		}
	}
	if first != "" && last != "" && last < first {
		return fmt.Errorf("last_date must not be before first_date")
	}
	return nil
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func readWeekly(span *mlv1.OpenSpan) weekly {
	w := weekly{from: minuteOf(span.GetFrom()), to: minuteOf(span.GetTo())}
	if w.to <= w.from {
		w.to += 24 * 60
	}
	for _, days := range span.GetDays() {
		from, to, isRange := strings.Cut(days, "-")
		if !isRange {
			to = from
		}
		last := slices.Index(weekdays, to)
		for day := slices.Index(weekdays, from); day >= 0 && last >= 0; day = (day + 1) % 7 {
			w.days[day] = true
			if day == last {
				break
			}
		}
	}
	return w
}

// minuteOf a time of day like 08:30, whose form the contract checks.
func minuteOf(clock string) int {
	hours, minutes, _ := strings.Cut(clock, ":")
	h, _ := strconv.Atoi(hours)
	m, _ := strconv.Atoi(minutes)
	return 60*h + m
}

// on is what begins on a day.
func (s *times) on(day date) []stretch {
	if text := day.String(); (s.first != "" && text < s.first) || (s.last != "" && text > s.last) {
		return nil
	}
	var out []stretch
	for _, w := range s.spans {
		if !w.days[day.weekday()] {
			continue
		}
		end := day
		to := w.to
		if to > 24*60 {
			end, to = day.plus(1), to-24*60
		}
		from, _ := day.at(w.from, s.zone)
		_, until := end.at(to, s.zone)
		if until.After(from) {
			out = append(out, stretch{from, until})
		}
	}
	return out
}

// covers tells whether t is in the span.
func (s *times) covers(t time.Time) bool {
	if s == nil {
		return true
	}
	today := dateOf(t.In(s.zone))
	// A stretch ends on the day after it began at the latest.
	for back := -1; back <= 1; back++ {
		for _, one := range s.on(today.plus(back)) {
			if one.covers(t) {
				return true
			}
		}
	}
	return false
}

// between is what begins on days that have a moment from one time up to another.
func (s *times) between(from, to time.Time) []stretch {
	var out []stretch
	last := dateOf(to.In(s.zone)).String()
	for day := dateOf(from.In(s.zone)); day.String() <= last; day = day.plus(1) {
		out = append(out, s.on(day)...)
	}
	return out
}
