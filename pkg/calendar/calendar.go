// Package calendar says when something is awake: spans of local time, holidays,
// exceptions and changes of the clocks. ml plans by it, central acts by it.
package calendar

import (
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Calendar is a mlv1.Calendar, checked.
type Calendar struct {
	zone     *time.Location
	spans    []span
	holidays map[Date]bool
	awake    map[Date]bool
	asleep   map[Date]bool

	wakeUntil, freezeUntil time.Time
}

// span of local minutes on some days; to is above from and may be of the next day.
type span struct {
	days     [7]bool // from Monday
	from, to int
}

const dayMinutes = 24 * 60

// Interval is from start up to and without end.
type Interval struct {
	// Start is in it, End is not.
	Start, End time.Time
	// Reason of an interval asleep: calendar, holiday, exception.
	Reason string
}

// Length of it.
func (i Interval) Length() time.Duration { return i.End.Sub(i.Start) }

// Open are the intervals awake by spans, holidays and exceptions, in [from, to), merged.
func (c *Calendar) Open(from, to time.Time) []Interval {
	var all []Interval
	last := DateOf(to.In(c.zone)).Plus(1)
	for d := DateOf(from.In(c.zone)).Plus(-2); !last.Before(d); d = d.Plus(1) {
		if c.awake[d] {
			all = append(all, c.between(d, 0, dayMinutes))
		}
		if !c.awake[d] && (c.holidays[d] || c.asleep[d]) {
			continue
		}
		for _, s := range c.spans {
			if s.days[d.Weekday()] {
				all = append(all, c.between(d, s.from, s.to))
			}
		}
	}
	return Clip(Merge(all), from, to)
}

// between two minutes of a date. A time that comes twice begins at the first and
// ends at the second: in doubt, awake.
func (c *Calendar) between(d Date, from, to int) Interval {
	start, _ := Instants(d, from, c.zone)
	_, end := Instants(d, to, c.zone)
	return Interval{Start: start, End: end}
}

// AwakeIn are the intervals awake in [now, to), with what holds now: a freeze keeps
// the state as it is, waking goes before all.
func (c *Calendar) AwakeIn(now, to time.Time, isAwake bool) []Interval {
	all := c.Open(now, to)
	if c.freezeUntil.After(now) {
		frozen := Interval{Start: now, End: c.freezeUntil}
		if isAwake {
			all = append(all, frozen)
		} else {
			all = Without(all, frozen)
		}
	}
	if c.wakeUntil.After(now) {
		all = append(all, Interval{Start: now, End: c.wakeUntil})
	}
	return Clip(Merge(all), now, to)
}

// Why the zone's calendar has someone asleep at a time: exception, holiday or calendar.
func (c *Calendar) Why(at time.Time) string {
	d := DateOf(at.In(c.zone))
	switch {
	case c.asleep[d]:
		return "exception"
	case c.holidays[d]:
		return "holiday"
	}
	return "calendar"
}

// WhyAwake the zone's calendar has someone awake at a time: exception or calendar.
func (c *Calendar) WhyAwake(at time.Time) string {
	if c.awake[DateOf(at.In(c.zone))] {
		return "exception"
	}
	return "calendar"
}

// ReasonOf a sleep: what is special about it, if anything is.
func (c *Calendar) ReasonOf(i Interval) string {
	reason := "calendar"
	for t := i.Start; t.Before(i.End); t = t.Add(12 * time.Hour) {
		if why := c.Why(t); why == "exception" || why == "holiday" && reason == "calendar" {
			reason = why
		}
	}
	return reason
}

// Zone that its times are in.
func (c *Calendar) Zone() *time.Location { return c.zone }

func newCalendar(m *mlv1.Calendar) *Calendar {
	c := &Calendar{holidays: map[Date]bool{}, awake: map[Date]bool{}, asleep: map[Date]bool{}}
	if m.GetWakeUntil() != nil {
		c.wakeUntil = m.GetWakeUntil().AsTime()
	}
	if m.GetFreezeUntil() != nil {
		c.freezeUntil = m.GetFreezeUntil().AsTime()
	}
	return c
}
