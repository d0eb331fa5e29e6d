package schedule

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// group sleeps and wakes together.
type group struct {
	name       string // namespace, or calendar
	workloads  []*workload
	windows    []window // of every week, for proposals
	asleep     []calendar.Interval
	profile    *profile
	rhythm     rhythm
	confidence float64
	reason     string // why it does not sleep; empty if it does
	detail     string
}

// leastWholeWeeks of usage for a proposal.
const leastWholeWeeks = 2

// groups of a proposal: namespaces, with those workloads that may sleep and whose usage is known.
// People work with all of a namespace or with none of it.
func (w *world) groups() []*group {
	var all []*group
	for _, one := range w.workloads {
		if one.reason != "" {
			continue
		}
		if len(one.containers) == 0 {
			one.reason = reasonNoUsage
			continue
		}
		if n := len(all); n == 0 || all[n-1].name != one.namespace {
			all = append(all, &group{name: one.namespace})
		}
		g := all[len(all)-1]
		g.workloads = append(g.workloads, one)
	}
	return all
}

// propose windows for a namespace, or say why not.
func (g *group) propose(want *wants, seed uint64) {
	s, flat := g.activity(want)
	if s == nil {
		g.reason = reasonNoUsage
		return
	}
	g.profile = profileOf(s, want.zone)
	if g.profile.weeks < leastWholeWeeks {
		g.reason, g.detail = reasonTwoWeeks, fmt.Sprintf("%d whole weeks of usage", g.profile.weeks)
		return
	}
	if flat {
		g.reason, g.detail = reasonAlwaysActive, "busy and quiet hours cannot be told apart"
		return
	}
	cells := func(hour int64) (int, calendar.Date) { return cellOf(hour, want.zone) }
	g.rhythm = rhythmOf(g.profile.filled(s, cells), seedOf(g.name, seed))
	if !g.rhythm.found() {
		g.reason = reasonNotPeriodic
		g.detail = fmt.Sprintf("autocorrelation %.2f a day and %.2f a week apart, %.2f by chance", g.rhythm.daily, g.rhythm.weekly, g.rhythm.shuffled)
		return
	}
	g.choose(want)
}

// activity of the workloads together; flat if one of them always looks the same.
func (g *group) activity(want *wants) (all *series, flat bool) {
	var parts []*series
	for _, one := range g.workloads {
		if s, still := activity(one.containers, want.activeAbove); s != nil {
			parts, flat = append(parts, s), flat || still
		}
	}
	if len(parts) == 0 {
		return nil, false
	}
	return together(parts), flat
}

func (g *group) choose(want *wants) {
	b := bargain{penalty: want.penalty, each: want.wakeCost + (want.lead() + settle).Hours(), least: int(math.Ceil(want.minSleep.Hours()))}
	g.windows = b.choose(g.profile.probability)
	if len(g.windows) == 0 {
		g.reason, g.detail = reasonNoWindow, fmt.Sprintf("no %.0f hours are quiet often enough", want.minSleep.Hours())
		return
	}
	g.confidence = g.trust()
	if g.confidence < want.minConfidence {
		g.reason, g.detail = reasonLowConfident, fmt.Sprintf("confidence %.2f, %.2f are asked for", g.confidence, want.minConfidence)
		g.windows = nil
	}
}

// trust in the windows: more weeks, fewer of their hours active, a stronger rhythm.
func (g *group) trust() float64 {
	active, seen := 0.0, 0.0
	for _, w := range g.windows {
		for _, cell := range w.cells() {
			active += total(g.profile.active[cell])
			seen += float64(len(g.profile.active[cell]))
		}
	}
	weeks := float64(g.profile.weeks)
	strength := min(1, 0.5+max(g.rhythm.daily, g.rhythm.weekly))
	return figure.Digits(weeks / (weeks + 1) * (1 - active/max(1, seen)) * strength)
}

// falseMinutes of activity expected asleep in a week of the window.
func (g *group) falseMinutes(w window) float64 {
	sum := 0.0
	for _, cell := range w.cells() {
		sum += 60 * g.profile.probability[cell]
	}
	return sum
}

// occurrences of the windows in [from, to), by the zone's clocks.
func (g *group) occurrences(zone *time.Location, from, to time.Time) []calendar.Interval {
	var all []calendar.Interval
	first := calendar.DateOf(from.In(zone))
	for monday := first.Plus(-first.Weekday() - 7); monday.Noon().Before(to.AddDate(0, 0, 2)); monday = monday.Plus(7) {
		for _, w := range g.windows {
			_, start := calendar.Instants(monday.Plus(w.start/24), w.start%24*60, zone)
			stop := w.start + w.hours
			end, _ := calendar.Instants(monday.Plus(stop/24), stop%24*60, zone)
			all = append(all, calendar.Interval{Start: start, End: end})
		}
	}
	return calendar.Clip(calendar.Merge(all), from, to)
}

// evidence as the contract tells it.
func (g *group) evidence() *mlv1.ScheduleEvidence {
	e := &mlv1.ScheduleEvidence{
		Namespace: g.name, Weeks: int32(g.profile.weeks), Confidence: g.confidence,
		Daily: figure.Digits(g.rhythm.daily), Weekly: figure.Digits(g.rhythm.weekly), Shuffled: figure.Digits(g.rhythm.shuffled),
	}
	active, seen := 0.0, 0.0
	for h := range g.profile.active {
		active += total(g.profile.active[h])
		seen += float64(len(g.profile.active[h]))
		e.Probability = append(e.Probability, figure.Digits(g.profile.probability[h]))
	}
	e.ActiveShare = figure.Digits(active / max(1, seen))
	for _, v := range g.profile.quantiles(0.5) {
		e.Median = append(e.Median, figure.Digits(v))
	}
	for _, v := range g.profile.quantiles(0.9) {
		e.P90 = append(e.P90, figure.Digits(v))
	}
	for _, hour := range g.profile.odd {
		e.OddWeeks = append(e.OddWeeks, timestamppb.New(time.Unix(hour*3600, 0)))
	}
	return e
}
