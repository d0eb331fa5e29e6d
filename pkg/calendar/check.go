package calendar

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Read checks what the message's own rules cannot say; field names it in errors.
func Read(field string, m *mlv1.Calendar) (*Calendar, error) {
	c := newCalendar(m)
	var err error
	if c.zone, err = ReadZone(field+".time_zone", m.GetTimeZone()); err != nil {
		return nil, err
	}
	for i, s := range m.GetOpen() {
		read, err := readSpan(fmt.Sprintf("%s.open[%d]", field, i), s)
		if err != nil {
			return nil, err
		}
		c.spans = append(c.spans, read)
	}
	if err := checkOverlap(field, c.spans); err != nil {
		return nil, err
	}
	for i, text := range m.GetHolidays() {
		d, ok := ParseDate(text)
		if !ok {
			return nil, fault.Invalid(fmt.Sprintf("%s.holidays[%d]", field, i), "must be a date that exists")
		}
		c.holidays[d] = true
	}
	return c, c.readExceptions(field, m.GetExceptions())
}

// ReadZone of the IANA database; empty: UTC.
func ReadZone(field, name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fault.Invalid(field, "must be a zone of the IANA database, such as Europe/Berlin").Because(err)
	}
	return zone, nil
}

var dayNumber = map[string]int{"mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4, "sat": 5, "sun": 6}

func readSpan(field string, m *mlv1.OpenSpan) (span, error) {
	s := span{from: minuteOf(m.GetFrom()), to: minuteOf(m.GetTo())}
	if s.from == s.to {
		return s, fault.Invalid(field+".to", "must differ from from; 00:00 to 24:00 is the whole day")
	}
	if s.to < s.from {
		s.to += dayMinutes
	}
	for i, text := range m.GetDays() {
		first, last, isRange := strings.Cut(text, "-")
		if !isRange {
			last = first
		}
		for day := dayNumber[first]; ; day = (day + 1) % 7 {
			if s.days[day] {
				return s, fault.Invalid(fmt.Sprintf("%s.days[%d]", field, i), "must not name a day twice")
			}
			s.days[day] = true
			if day == dayNumber[last] {
				break
			}
		}
	}
	return s, nil
}

// minuteOf a time that the contract's pattern has let through.
func minuteOf(text string) int {
	hour, minute, _ := strings.Cut(text, ":")
	h, _ := strconv.Atoi(hour)
	m, _ := strconv.Atoi(minute)
	return h*60 + m
}

// checkOverlap of any two spans, around the week too: one of them is a slip.
func checkOverlap(field string, spans []span) error {
	const week = 7 * dayMinutes
	owner := make([]int, week)
	for i, s := range spans {
		for day, on := range s.days {
			for m := s.from; on && m < s.to; m++ {
				at := (day*dayMinutes + m) % week
				if owner[at] != 0 {
					return fault.Invalid(fmt.Sprintf("%s.open[%d]", field, i), fmt.Sprintf("must not overlap open[%d]", owner[at]-1))
				}
				owner[at] = i + 1
			}
		}
	}
	return nil
}

// mostDates that one exception may span.
const mostDates = 3660

func (c *Calendar) readExceptions(field string, all []*mlv1.CalendarException) error {
	by := map[Date]int{}
	for i, e := range all {
		field := fmt.Sprintf("%s.exceptions[%d]", field, i)
		first, ok := ParseDate(e.GetFirstDate())
		if !ok {
			return fault.Invalid(field+".first_date", "must be a date that exists")
		}
		last := first
		if e.GetLastDate() != "" {
			if last, ok = ParseDate(e.GetLastDate()); !ok {
				return fault.Invalid(field+".last_date", "must be a date that exists")
			}
		}
		if last.Before(first) || first.Plus(mostDates).Before(last) {
			return fault.Invalid(field+".last_date", "must be from first_date to ten years after it")
		}
		for d := first; !last.Before(d); d = d.Plus(1) {
			if other, said := by[d]; said && all[other].GetState() != e.GetState() {
				return fault.Invalid(field+".state", fmt.Sprintf("must not contradict exceptions[%d] on %s", other, d.Noon().Format(time.DateOnly)))
			}
			by[d] = i
			if e.GetState() == "awake" {
				c.awake[d] = true
			} else {
				c.asleep[d] = true
			}
		}
	}
	return nil
}
