package calendar

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

func spanOf(from, to string, days ...string) *mlv1.OpenSpan {
	return &mlv1.OpenSpan{Days: days, From: from, To: to}
}

func read(t *testing.T, zone string, spans ...*mlv1.OpenSpan) *Calendar {
	t.Helper()
	c, err := Read("calendar", &mlv1.Calendar{TimeZone: zone, Open: spans})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func TestSpansWhereClocksAreSet(t *testing.T) {
	for name, c := range map[string]struct {
		zone, from, to, day string
		start, end          string
	}{
		"an ordinary day":                        {"Europe/Berlin", "08:00", "20:00", "2026-11-24", "2026-11-24T08:00:00+01:00", "2026-11-24T20:00:00+01:00"},
		"the same in summer":                     {"Europe/Berlin", "08:00", "20:00", "2026-07-21", "2026-07-21T08:00:00+02:00", "2026-07-21T20:00:00+02:00"},
		"a whole day of 23 hours":                {"Europe/Berlin", "00:00", "24:00", "2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		"a whole day of 25 hours":                {"Europe/Berlin", "00:00", "24:00", "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"},
		"begins in the hour that is left out":    {"Europe/Berlin", "02:30", "09:00", "2026-03-29", "2026-03-29T01:00:00Z", "2026-03-29T09:00:00+02:00"},
		"ends in the hour that is left out":      {"Europe/Berlin", "00:00", "02:30", "2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-29T01:00:00Z"},
		"begins in the hour that comes twice":    {"Europe/Berlin", "02:30", "09:00", "2026-10-25", "2026-10-25T02:30:00+02:00", "2026-10-25T09:00:00+01:00"},
		"ends in the hour that comes twice":      {"Europe/Berlin", "00:00", "02:30", "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-25T02:30:00+01:00"},
		"over a night that is an hour shorter":   {"America/New_York", "22:00", "06:00", "2026-03-07", "2026-03-07T22:00:00-05:00", "2026-03-08T06:00:00-04:00"},
		"over a night that is an hour longer":    {"America/New_York", "22:00", "06:00", "2026-10-31", "2026-10-31T22:00:00-04:00", "2026-11-01T06:00:00-05:00"},
		"where clocks move by half an hour":      {"Australia/Lord_Howe", "01:45", "03:00", "2026-04-05", "2026-04-05T01:45:00+11:00", "2026-04-05T03:00:00+10:30"},
		"where midnight is left out":             {"America/Sao_Paulo", "00:00", "12:00", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-04T12:00:00-02:00"},
		"where a date was left out":              {"Pacific/Apia", "08:00", "20:00", "2011-12-29", "2011-12-29T08:00:00-10:00", "2011-12-29T20:00:00-10:00"},
		"where quarters of an hour are offset":   {"Asia/Kathmandu", "09:00", "17:00", "2026-05-05", "2026-05-05T03:15:00Z", "2026-05-05T11:15:00Z"},
		"southern summer begins where ours ends": {"Australia/Sydney", "02:30", "04:00", "2026-10-04", "2026-10-03T16:00:00Z", "2026-10-04T04:00:00+11:00"},
	} {
		t.Run(name, func(t *testing.T) {
			calendar := read(t, c.zone, spanOf(c.from, c.to, "mon-sun"))
			d, _ := ParseDate(c.day)
			s := calendar.spans[0]
			got := calendar.between(d, s.from, s.to)
			if !got.Start.Equal(instant(t, c.start)) || !got.End.Equal(instant(t, c.end)) {
				t.Errorf("%s to %s, want %s to %s", got.Start.UTC(), got.End.UTC(), c.start, c.end)
			}
		})
	}
}

// transitions of a zone in a year.
func transitions(zone *time.Location, year int) []time.Time {
	var all []time.Time
	for at := time.Date(year, 1, 1, 0, 0, 0, 0, zone); ; {
		_, end := at.ZoneBounds()
		if end.IsZero() || end.Year() > year {
			return all
		}
		all = append(all, end)
		at = end
	}
}

// TestCalendarsAgreeWithTheClocks minute by minute around every change of clocks: awake is when
// the clocks show a minute of a span; where they show one twice, awake may last through both.
func TestCalendarsAgreeWithTheClocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	checked := 0
	for _, name := range []string{
		"Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe",
		"Australia/Sydney", "Pacific/Apia", "Africa/Casablanca", "Asia/Tehran", "America/St_Johns",
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, year := range []int{2011, 2018, 2025, 2026} {
			for _, change := range transitions(zone, year) {
				from := rng.IntN(24 * 4)
				to := (from + 1 + rng.IntN(24*4-1)) % (24 * 4)
				s := spanOf(quarter(from), quarter(to), "mon-sun")
				if to == 0 {
					s.To = "24:00"
				}
				checked += compare(t, read(t, name, s), change.Add(-36*time.Hour), change.Add(36*time.Hour))
			}
		}
	}
	if checked < 100_000 {
		t.Errorf("only %d minutes were compared", checked)
	}
}

func quarter(n int) string { return fmt.Sprintf("%02d:%02d", n/4, n%4*15) }

func compare(t *testing.T, c *Calendar, from, to time.Time) int {
	t.Helper()
	open := c.Open(from, to)
	s, n := c.spans[0], 0
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		n++
		awake := false
		for _, i := range open {
			awake = awake || !at.Before(i.Start) && at.Before(i.End)
		}
		local := at.In(c.zone)
		minute := local.Hour()*60 + local.Minute()
		shown := minute >= s.from && minute < s.to || minute+dayMinutes < s.to
		if awake == shown || awake && twice(local) {
			continue
		}
		t.Fatalf("%s, %d to %d: at %s awake is %v", c.zone, s.from, s.to, local, awake)
	}
	return n
}

// twice says whether clocks show this minute twice; near it counts too.
func twice(local time.Time) bool {
	for _, near := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		_, here := local.Zone()
		other := local.Add(near)
		if _, there := other.Zone(); here != there {
			_, before := local.Add(min(near, 0)).Zone()
			_, after := local.Add(max(near, 0)).Zone()
			return after < before
		}
	}
	return false
}

func TestWeeksWrap(t *testing.T) {
	c := read(t, "Asia/Jerusalem", spanOf("22:00", "06:00", "sat-thu")) // Sunday to Friday mornings
	sunday := instant(t, "2026-11-22T00:00:00Z")
	var days []string
	for _, i := range c.Open(sunday, sunday.AddDate(0, 0, 7)) {
		days = append(days, i.Start.In(c.zone).Format("Mon"))
	}
	if got := fmt.Sprint(days); got != "[Sun Sun Mon Tue Wed Thu Sat]" { // the first began on Saturday and is cut at the beginning
		t.Errorf("spans begin on %s", got)
	}
}

func TestHolidaysExceptionsFreezeAndWaking(t *testing.T) {
	monday := instant(t, "2026-11-23T00:00:00Z")
	make := func(change func(*mlv1.Calendar)) *Calendar {
		m := &mlv1.Calendar{TimeZone: "UTC", Open: []*mlv1.OpenSpan{spanOf("08:00", "20:00", "mon-fri")}}
		change(m)
		c, err := Read("calendar", m)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	stamp := func(text string) *timestamppb.Timestamp { return timestamppb.New(instant(t, text)) }
	for name, c := range map[string]struct {
		change func(*mlv1.Calendar)
		awake  bool // before now
		hours  float64
	}{
		"a plain week":          {func(*mlv1.Calendar) {}, true, 60},
		"a holiday":             {func(m *mlv1.Calendar) { m.Holidays = []string{"2026-11-25"} }, true, 48},
		"a holiday on a Sunday": {func(m *mlv1.Calendar) { m.Holidays = []string{"2026-11-29"} }, true, 60},
		"three days asleep":     {func(m *mlv1.Calendar) { m.Exceptions = exception("2026-11-25", "2026-11-27", "asleep") }, true, 24},
		"a Saturday awake":      {func(m *mlv1.Calendar) { m.Exceptions = exception("2026-11-28", "", "awake") }, true, 84},
		"awake on a holiday": {func(m *mlv1.Calendar) {
			m.Holidays, m.Exceptions = []string{"2026-11-28"}, exception("2026-11-28", "", "awake")
		}, true, 84},
		"woken until six":         {func(m *mlv1.Calendar) { m.WakeUntil = stamp("2026-11-23T06:00:00Z") }, false, 66},
		"woken until long ago":    {func(m *mlv1.Calendar) { m.WakeUntil = stamp("2020-01-01T06:00:00Z") }, false, 60},
		"frozen awake for a day":  {func(m *mlv1.Calendar) { m.FreezeUntil = stamp("2026-11-24T00:00:00Z") }, true, 72},
		"frozen asleep for a day": {func(m *mlv1.Calendar) { m.FreezeUntil = stamp("2026-11-24T00:00:00Z") }, false, 48},
		"frozen asleep, woken for an hour": {func(m *mlv1.Calendar) {
			m.FreezeUntil, m.WakeUntil = stamp("2026-11-24T00:00:00Z"), stamp("2026-11-23T01:00:00Z")
		}, false, 49},
	} {
		sum := 0.0
		for _, i := range make(c.change).AwakeIn(monday, monday.AddDate(0, 0, 7), c.awake) {
			sum += i.Length().Hours()
		}
		if sum != c.hours {
			t.Errorf("%s: awake for %g hours, want %g", name, sum, c.hours)
		}
	}
}

func exception(first, last, state string) []*mlv1.CalendarException {
	return []*mlv1.CalendarException{{FirstDate: first, LastDate: last, State: state}}
}

func TestCalendarsThatCannotBeAreNamed(t *testing.T) {
	day := spanOf("08:00", "20:00", "mon-fri")
	for field, m := range map[string]*mlv1.Calendar{
		"time_zone":                {TimeZone: "Europe/Atlantis", Open: []*mlv1.OpenSpan{day}},
		"open[0].to":               {TimeZone: "UTC", Open: []*mlv1.OpenSpan{spanOf("08:00", "08:00", "mon")}},
		"open[1]":                  {TimeZone: "UTC", Open: []*mlv1.OpenSpan{day, spanOf("19:00", "21:00", "fri")}},
		"open[0].days[1]":          {TimeZone: "UTC", Open: []*mlv1.OpenSpan{spanOf("08:00", "09:00", "mon-fri", "wed")}},
		"holidays[1]":              {TimeZone: "UTC", Open: []*mlv1.OpenSpan{day}, Holidays: []string{"2026-02-28", "2026-02-30"}},
		"exceptions[0].first_date": {TimeZone: "UTC", Open: []*mlv1.OpenSpan{day}, Exceptions: exception("2026-13-01", "", "awake")},
		"exceptions[0].last_date":  {TimeZone: "UTC", Open: []*mlv1.OpenSpan{day}, Exceptions: exception("2026-12-02", "2026-12-01", "awake")},
		"exceptions[1].state": {TimeZone: "UTC", Open: []*mlv1.OpenSpan{day}, Exceptions: append(
			exception("2026-12-01", "2026-12-05", "awake"), exception("2026-12-05", "", "asleep")...)},
	} {
		_, err := Read("calendar", m)
		if got := fault.From(err).Details["field"]; err == nil || got != "calendar."+field {
			t.Errorf("the fault is in %v, want %s: %v", got, field, err)
		}
	}
	// Around the week's end too: Sunday night runs into Monday.
	if _, err := Read("calendar", &mlv1.Calendar{TimeZone: "UTC", Open: []*mlv1.OpenSpan{spanOf("22:00", "06:00", "sun"), spanOf("05:00", "07:00", "mon")}}); err == nil {
		t.Error("spans that overlap over Sunday's midnight are let in")
	}
}

// FuzzCalendar reads whatever a caller may send, and lays out what is let in.
func FuzzCalendar(f *testing.F) {
	f.Add("Europe/Berlin", "sun-fri", "22:00", "06:00", "2026-12-25", "2026-10-24", "2026-10-26", int64(1_780_000_000))
	f.Add("", "", "", "", "", "", "", int64(-1))
	f.Fuzz(func(t *testing.T, zone, days, from, to, holiday, first, last string, now int64) {
		m := &mlv1.Calendar{TimeZone: zone, Open: []*mlv1.OpenSpan{spanOf(from, to, days)}, Holidays: []string{holiday}, Exceptions: exception(first, last, "awake")}
		if protovalidate.Validate(m) != nil || now < 0 || now > 4e9 {
			return
		}
		c, err := Read("calendar", m)
		if err != nil {
			return
		}
		at := time.Unix(now, 0).UTC()
		open := c.Open(at, at.AddDate(0, 0, 14))
		for i, one := range open {
			if !one.Start.Before(one.End) || i > 0 && !open[i-1].End.Before(one.Start) {
				t.Fatalf("intervals %v", open)
			}
		}
	})
}
