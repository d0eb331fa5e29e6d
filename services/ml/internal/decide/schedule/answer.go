package schedule

import (
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// windows of the answer: those of proposals once each, a calendar's as they come.
func (a *answer) windows() []*mlv1.SleepWindow {
	var all []*mlv1.SleepWindow
	for _, g := range a.groups {
		if g.profile == nil {
			for _, i := range g.asleep {
				all = append(all, a.window(g, i, i.Reason))
			}
			continue
		}
		for _, w := range g.windows {
			one := &group{windows: []window{w}}
			next := one.occurrences(a.world.want.zone, a.now, a.now.AddDate(0, 0, 8))
			if len(next) == 0 {
				continue
			}
			m := a.window(g, next[0], reasonQuiet)
			m.LocalStart, m.LocalEnd = hourName(w.start), hourName(w.start+w.hours)
			m.ExpectedFalseSleepMinutesPerWeek = figure.Digits(g.falseMinutes(w))
			m.HoursPerWeek = figure.Digits(max(0, float64(w.hours)-(a.world.want.lead()+settle).Hours()))
			all = append(all, m)
		}
	}
	return all
}

func (a *answer) window(g *group, i calendar.Interval, reason string) *mlv1.SleepWindow {
	zone := a.world.want.zone
	off := i.Length() - a.world.want.lead() - settle
	return &mlv1.SleepWindow{
		Group: g.name, LocalStart: clock(i.Start.In(zone)), LocalEnd: clock(i.End.In(zone)), TimeZone: zone.String(),
		Start: timestamppb.New(i.Start), End: timestamppb.New(i.End), Reason: reason, Confidence: g.confidence,
		HoursPerWeek: figure.Digits(max(0, off.Hours())),
	}
}

func hourName(hour int) string {
	return fmt.Sprintf("%s %02d:00", calendar.DayName(hour/24%7), hour%24)
}

func clock(t time.Time) string {
	return fmt.Sprintf("%s %s", calendar.DayName(calendar.DateOf(t).Weekday()), t.Format("15:04"))
}

func (a *answer) verdicts() []*mlv1.WorkloadVerdict {
	var all []*mlv1.WorkloadVerdict
	for _, one := range a.world.workloads {
		v := &mlv1.WorkloadVerdict{
			Namespace: one.namespace, Kind: one.kind, Name: one.name, Verdict: keep, Reason: one.reason, Detail: one.detail,
		}
		if one.sleeps {
			v.Verdict, v.Reason, v.Detail = sleep, one.why, ""
		}
		all = append(all, v)
	}
	return all
}

// confidence of the proposals, by their workloads; of a calendar, 1.
func (a *answer) confidence() float64 {
	sum, n := 0.0, 0.0
	for _, g := range a.groups {
		if g.reason == "" {
			sum += g.confidence * float64(len(g.workloads))
			n += float64(len(g.workloads))
		}
	}
	if n == 0 {
		return 0
	}
	return figure.Digits(sum / n)
}

// savings per month of what the horizon shows: nodes that are gone do not cost.
func (a *answer) savings(p *plan) float64 {
	return figure.Cents(p.savedUSD() / a.world.want.horizon.Hours() * figure.HoursPerMonth)
}

func (a *answer) metadata(p *plan) *structpb.Struct {
	all := map[string]any{}
	maps.Copy(all, a.req.GetMetadata().AsMap())
	asleep := 0.0
	for _, one := range a.world.workloads {
		if one.sleeps {
			asleep++
		}
	}
	maps.Copy(all, map[string]any{
		"engine": "schedule/1", "time_zone": a.world.want.zone.String(), "horizon_days": a.world.want.horizon.Hours() / 24,
		"workloads_asleep": asleep, "nodes_that_go": float64(p.nodesThatGo()), "saved_node_hours": figure.Digits(p.savedHours()),
		"lead_minutes": a.world.want.lead().Minutes(), "unknown_workloads": a.world.unknown(),
	})
	return figure.Struct(all)
}
