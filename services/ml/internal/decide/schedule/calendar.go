package schedule

import (
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// calendar is a mlv1.Calendar, checked.
type calendar struct {
	zone     *time.Location
	spans    []span
	holidays map[date]bool
	awake    map[date]bool
	asleep   map[date]bool

	wakeUntil, freezeUntil time.Time
}

// span of local minutes on some days; to is above from and may be of the next day.
type span struct {
	days     [7]bool // from Monday
	from, to int
}

const dayMinutes = 24 * 60

// interval is from start up to and without end.
type interval struct {
	start, end time.Time
	reason     string // of an asleep one
}

func (i interval) length() time.Duration { return i.end.Sub(i.start) }

// open intervals by spans, holidays and exceptions, in [from, to), merged.
func (c *calendar) open(from, to time.Time) []interval {
	var all []interval
	last := dateOf(to.In(c.zone)).plus(1)
	for d := dateOf(from.In(c.zone)).plus(-2); !last.before(d); d = d.plus(1) {
		if c.awake[d] {
			all = append(all, c.between(d, 0, dayMinutes))
		}
		if !c.awake[d] && (c.holidays[d] || c.asleep[d]) {
			continue
		}
		for _, s := range c.spans {
			if s.days[d.weekday()] {
				all = append(all, c.between(d, s.from, s.to))
			}
		}
	}
	return clip(merge(all), from, to)
}

// between two minutes of a date. A time that comes twice begins at the first and
// ends at the second: in doubt, awake.
func (c *calendar) between(d date, from, to int) interval {
	start, _ := instants(d, from, c.zone)
	_, end := instants(d, to, c.zone)
	return interval{start: start, end: end}
}

// awakeIn are the intervals awake in [now, to), with what holds now: a freeze keeps
// the state as it is, waking goes before all.
func (c *calendar) awakeIn(now, to time.Time, isAwake bool) []interval {
	all := c.open(now, to)
	if c.freezeUntil.After(now) {
		frozen := interval{start: now, end: c.freezeUntil}
		if isAwake {
			all = append(all, frozen)
		} else {
			all = without(all, frozen)
		}
	}
	if c.wakeUntil.After(now) {
		all = append(all, interval{start: now, end: c.wakeUntil})
	}
	return clip(merge(all), now, to)
}

// why the zone's calendar has someone asleep at a time.
func (c *calendar) why(at time.Time) string {
	d := dateOf(at.In(c.zone))
	switch {
	case c.asleep[d]:
		return "exception"
	case c.holidays[d]:
		return "holiday"
	}
	return "calendar"
}

func newCalendar(m *mlv1.Calendar) *calendar {
	c := &calendar{holidays: map[date]bool{}, awake: map[date]bool{}, asleep: map[date]bool{}}
	if m.GetWakeUntil() != nil {
		c.wakeUntil = m.GetWakeUntil().AsTime()
	}
	if m.GetFreezeUntil() != nil {
		c.freezeUntil = m.GetFreezeUntil().AsTime()
	}
	return c
}
