package schedule

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// ahead is how far transitions are looked for.
	ahead = 60 * 24 * time.Hour
	// behind is how far back the last one is looked for; it only tells people when one was due.
	behind = 8 * 24 * time.Hour
)

// plan is what a schedule wants, from nothing but what was set and the time.
type plan struct {
	calendar  *calendar.Calendar
	lead      time.Duration
	wakeUntil time.Time
	// off: nothing is to sleep, for the reason disabled or deleted.
	off string
}

// wish is what should be the case now, since when, and why.
type wish struct {
	awake  bool
	due    time.Time
	reason string
}

func newPlan(s *store.Schedule) (*plan, error) {
	read, err := calendar.Read("schedule.calendar", s.Terms.GetCalendar())
	if err != nil {
		return nil, err
	}
	p := &plan{calendar: read, lead: time.Duration(s.Terms.GetLeadMinutes()) * time.Minute, wakeUntil: s.WakeUntil}
	switch {
	case !s.DeletedAt.IsZero():
		p.off = "deleted"
	case !s.Enabled:
		p.off = "disabled"
	}
	return p, nil
}

// awakeIn are the times in [now, to) at which the workloads are to be awake or waking.
func (p *plan) awakeIn(now, to time.Time, awakeNow bool) []calendar.Interval {
	spans := p.early(p.calendar.AwakeIn(now, to.Add(p.lead), awakeNow))
	if p.wakeUntil.After(now) {
		spans = append(spans, calendar.Interval{Start: now, End: p.wakeUntil})
	}
	return calendar.Clip(calendar.Merge(spans), now, to)
}

// early begins each span as much before it as waking takes.
func (p *plan) early(spans []calendar.Interval) []calendar.Interval {
	for i := range spans {
		spans[i].Start = spans[i].Start.Add(-p.lead)
	}
	return calendar.Merge(spans)
}

// want is what should hold now. What was missed is not made up for: only now counts.
func (p *plan) want(now time.Time, awakeNow bool) wish {
	if p.off != "" {
		return wish{awake: true, due: now, reason: p.off}
	}
	if p.wakeUntil.After(now) {
		return wish{awake: true, due: now, reason: "wake_now"}
	}
	spans := p.awakeIn(now, now.Add(ahead), awakeNow)
	past := p.early(p.calendar.Open(now.Add(-behind), now.Add(p.lead+24*time.Hour)))
	if len(spans) > 0 && !spans[0].Start.After(now) {
		due := now
		for _, one := range past {
			if !one.Start.After(now) && one.End.After(now) {
				due = one.Start
			}
		}
		return wish{awake: true, due: due, reason: p.calendar.WhyAwake(now.Add(p.lead))}
	}
	w := wish{due: now, reason: "calendar"}
	for _, one := range past {
		if !one.End.After(now) {
			w.due = one.End
		}
	}
	end := now.Add(ahead)
	if len(spans) > 0 {
		end = spans[0].Start
	}
	w.reason = p.calendar.ReasonOf(calendar.Interval{Start: w.due, End: end})
	return w
}

// next are the transitions to come, at most so many.
func (p *plan) next(now time.Time, awakeNow bool, most int) []*adminv1.ScheduleTransition {
	if p.off != "" {
		return nil
	}
	var out []*adminv1.ScheduleTransition
	spans := p.awakeIn(now, now.Add(ahead), awakeNow)
	for i, one := range spans {
		if one.Start.After(now) {
			out = append(out, p.transition("wake", one.Start, p.calendar.WhyAwake(one.Start.Add(p.lead))))
		}
		if one.End.Before(now.Add(ahead)) {
			gap := calendar.Interval{Start: one.End, End: now.Add(ahead)}
			if i+1 < len(spans) {
				gap.End = spans[i+1].Start
			}
			reason := p.calendar.ReasonOf(gap)
			if one.End.Equal(p.wakeUntil) {
				reason = "wake_until"
			}
			out = append(out, p.transition("sleep", one.End, reason))
		}
	}
	return out[:min(len(out), most)]
}

func (p *plan) transition(action string, at time.Time, reason string) *adminv1.ScheduleTransition {
	local := at.In(p.calendar.Zone())
	return &adminv1.ScheduleTransition{
		At: timestamppb.New(at), Action: action, Reason: reason,
		LocalTime: fmt.Sprintf("%s %s", calendar.DayName(calendar.DateOf(local).Weekday()), local.Format("2006-01-02 15:04 MST")),
	}
}

// until the next transition.
func (p *plan) until(now time.Time, awakeNow bool) time.Duration {
	if next := p.next(now, awakeNow, 1); len(next) > 0 {
		return next[0].GetAt().AsTime().Sub(now)
	}
	return ahead
}

// asleepIn are the hours asleep in a time to come.
func (p *plan) asleepIn(now, to time.Time) float64 {
	sum := 0.0
	for _, gap := range calendar.Gaps(p.awakeIn(now, to, true), now, to) {
		sum += gap.Length().Hours()
	}
	return sum
}
