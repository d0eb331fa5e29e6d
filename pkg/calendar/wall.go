package calendar

import (
	"time"
	_ "time/tzdata" // zones must not depend on what the image happens to have installed
)

// Date is a day of the calendar, whatever the zone.
type Date struct {
	year  int
	month time.Month
	day   int
}

// DateOf a time, as its zone has it.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// Noon of it, UTC.
func (d Date) Noon() time.Time { return time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC) }

// Plus days.
func (d Date) Plus(days int) Date { return DateOf(d.Noon().AddDate(0, 0, days)) }

// Weekday from 0, which is Monday.
func (d Date) Weekday() int { return (int(d.Noon().Weekday()) + 6) % 7 }

// Before another.
func (d Date) Before(e Date) bool { return d.Noon().Before(e.Noon()) }

// ParseDate of the form 2026-12-25.
func ParseDate(text string) (Date, bool) {
	t, err := time.Parse(time.DateOnly, text)
	return DateOf(t), err == nil
}

// Instants at which the clocks of a zone show a minute of a date: one, or two where they are
// set back, first and last. Where clocks are set forward over it, both are the moment of that.
// time.Date answers too, but leaves open which of the two it means.
func Instants(d Date, minute int, zone *time.Location) (first, last time.Time) {
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

var dayNames = [7]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// DayName of a weekday from Monday, 0 to 6.
func DayName(weekday int) string { return dayNames[weekday] }
