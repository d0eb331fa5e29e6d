package schedule

import (
	"testing"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func office(zone string) *mlv1.Calendar {
	return &mlv1.Calendar{TimeZone: zone, Open: []*mlv1.OpenSpan{{Days: []string{"mon-fri"}, From: "08:00", To: "20:00"}}}
}

func planOf(t *testing.T, c *mlv1.Calendar, lead int32) *plan {
	t.Helper()
	p, err := newPlan(&store.Schedule{Terms: &adminv1.Schedule{Calendar: c, LeadMinutes: lead}, Enabled: true})
	must(t, err)
	return p
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	must(t, err)
	return at
}

func TestWhatHoldsNow(t *testing.T) {
	holidays := office("Europe/Berlin")
	holidays.Holidays = []string{"2026-12-25"}
	holidays.Exceptions = []*mlv1.CalendarException{
		{FirstDate: "2026-12-28", LastDate: "2026-12-31", State: "asleep"}, {FirstDate: "2026-12-26", State: "awake"},
	}
	frozen := office("UTC")
	for name, c := range map[string]struct {
		calendar *mlv1.Calendar
		lead     int32
		now      string
		awakeNow bool
		awake    bool
		due      string
		reason   string
	}{
		"in the span":                       {office("Europe/Berlin"), 0, "2026-11-24T12:00:00+01:00", true, true, "2026-11-24T08:00:00+01:00", "calendar"},
		"at its end":                        {office("Europe/Berlin"), 0, "2026-11-24T20:00:00+01:00", true, false, "2026-11-24T20:00:00+01:00", "calendar"},
		"at night":                          {office("Europe/Berlin"), 0, "2026-11-25T03:00:00+01:00", false, false, "2026-11-24T20:00:00+01:00", "calendar"},
		"before the lead":                   {office("Europe/Berlin"), 30, "2026-11-25T07:29:59+01:00", false, false, "2026-11-24T20:00:00+01:00", "calendar"},
		"in the lead":                       {office("Europe/Berlin"), 30, "2026-11-25T07:30:00+01:00", false, true, "2026-11-25T07:30:00+01:00", "calendar"},
		"three days away, on Sunday":        {office("Europe/Berlin"), 0, "2026-11-29T12:00:00+01:00", true, false, "2026-11-27T20:00:00+01:00", "calendar"},
		"the night of winter time":          {office("Europe/Berlin"), 0, "2026-10-26T07:30:00+01:00", false, false, "2026-10-23T20:00:00+02:00", "calendar"},
		"the morning after":                 {office("Europe/Berlin"), 0, "2026-10-26T08:00:00+01:00", false, true, "2026-10-26T08:00:00+01:00", "calendar"},
		"summer time came in the lead":      {office("Europe/Berlin"), 0, "2026-03-30T08:00:00+02:00", false, true, "2026-03-30T08:00:00+02:00", "calendar"},
		"a holiday":                         {holidays, 0, "2026-12-25T12:00:00+01:00", false, false, "2026-12-24T20:00:00+01:00", "holiday"},
		"a Saturday that is awake":          {holidays, 0, "2026-12-26T12:00:00+01:00", false, true, "2026-12-26T00:00:00+01:00", "exception"},
		"a company that is closed":          {holidays, 0, "2026-12-29T12:00:00+01:00", false, false, "2026-12-27T00:00:00+01:00", "exception"},
		"lead that leaves no time to sleep": {office("UTC"), 240, "2026-11-25T04:00:00Z", true, true, "2026-11-25T04:00:00Z", "calendar"},
		"a freeze keeps it awake":           {frozenUntil(frozen, "2026-11-25T06:00:00Z"), 0, "2026-11-25T03:00:00Z", true, true, "2026-11-25T03:00:00Z", "calendar"},
		"a freeze keeps it asleep":          {frozenUntil(frozen, "2026-11-25T10:00:00Z"), 0, "2026-11-25T09:00:00Z", false, false, "2026-11-24T20:00:00Z", "calendar"},
	} {
		t.Run(name, func(t *testing.T) {
			got := planOf(t, c.calendar, c.lead).want(moment(t, c.now), c.awakeNow)
			if got.awake != c.awake || got.reason != c.reason || !got.due.Equal(moment(t, c.due)) {
				t.Fatalf("awake %v by %s since %s, want %v by %s since %s", got.awake, got.reason, got.due, c.awake, c.reason, c.due)
			}
		})
	}
}

func frozenUntil(c *mlv1.Calendar, until string) *mlv1.Calendar {
	at, err := time.Parse(time.RFC3339, until)
	if err != nil {
		return nil
	}
	return &mlv1.Calendar{TimeZone: c.GetTimeZone(), Open: c.GetOpen(), FreezeUntil: stampOf(at)}
}

func TestWhatComesNext(t *testing.T) {
	p := planOf(t, office("Europe/Berlin"), 30)
	p.wakeUntil = moment(t, "2026-11-24T22:15:00+01:00")
	var got []string
	for _, one := range p.next(moment(t, "2026-11-24T12:00:00+01:00"), true, 4) {
		got = append(got, one.GetAction()+" "+one.GetLocalTime()+" "+one.GetReason())
	}
	want := []string{
		"sleep tue 2026-11-24 22:15 CET wake_until", "wake wed 2026-11-25 07:30 CET calendar",
		"sleep wed 2026-11-25 20:00 CET calendar", "wake thu 2026-11-26 07:30 CET calendar",
	}
	equalLists(t, got, want)
	p.off = "disabled"
	if next := p.next(moment(t, "2026-11-24T12:00:00+01:00"), true, 4); len(next) != 0 {
		t.Fatalf("disabled, and yet %v", next)
	}
	if hours := planOf(t, office("UTC"), 60).asleepIn(moment(t, "2026-11-23T00:00:00Z"), moment(t, "2026-11-30T00:00:00Z")); hours != 168-5*13 {
		t.Fatalf("asleep for %g hours", hours)
	}
}
