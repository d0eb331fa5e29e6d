package schedule

import (
	"time"
	_ "time/tzdata" // zones must not depend on what the image happens to have installed
)

// date is a day of the calendar, whatever the zone.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

func (d date) noon() time.Time { return time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC) }

func (d date) plus(days int) date { return dateOf(d.noon().AddDate(0, 0, days)) }

func (d date) weekday() int { return (int(d.noon().Weekday()) + 6) % 7 } // 0 is Monday

func (d date) before(e date) bool { return d.noon().Before(e.noon()) }

// parseDate of the form 2026-12-25.
func parseDate(text string) (date, bool) {
	t, err := time.Parse(time.DateOnly, text)
	return dateOf(t), err == nil
}

// instants at which the clocks of a zone show a minute of a date: one, or two where they are
// set back, first and last. Where clocks are set forward over it, both are the moment of that.
// time.Date answers too, but leaves open which of the two it means.
func instants(d date, minute int, zone *time.Location) (first, last time.Time) {
	guess := time.Date(d.year, d.month, d.day, 0, minute, 0, 0, zone)
	wall := time.Date(d.year, d.month, d.day, 0, minute, 0, 0, time.UTC).Unix()
	for _, near := range []time.Time{guess.AddDate(0, 0, -1), guess, guess.AddDate(0, 0, 1)} {
		_, offset := near.Zone()
		t := time.Unix(wall-int64(offset), 0).In(zone)
		if _, there := t.Zone(); there != offset {
			continue
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if last.IsZero() || t.After(last) {
			last = t
		}
	}
	if !first.IsZero() {
		return first, last
	}
	begin, end := guess.ZoneBounds()
	if _, offset := guess.Zone(); guess.Unix()+int64(offset) > wall { // moved on, over the gap
		return begin, begin
	}
	return end, end
}
