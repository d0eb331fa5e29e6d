package backtest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/schedule"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Office is what sleeping by each method did to one set of series.
type Office struct {
	Name      string `json:"name"`
	Synthetic bool   `json:"synthetic"`
	// Series that have busy and quiet hours, and those that do not and are left out.
	Series int `json:"series"`
	Flat   int `json:"flat"`
	// Weeks judged, of all series.
	Weeks   int        `json:"weeks"`
	Methods []Sleepers `json:"methods"`
}

// Sleepers is one method.
type Sleepers struct {
	Name string `json:"name"`
	// FalseSleepMinutes of activity met asleep, per week and series.
	FalseSleepMinutes float64 `json:"false_sleep_minutes_per_week"`
	// SavedOverOracle is the quiet hours slept through, over those that whoever knows the
	// week sleeps through, four hours at least at a time.
	SavedOverOracle float64 `json:"saved_over_oracle"`
	// AsleepShare of all hours.
	AsleepShare float64 `json:"asleep_share"`
	// Proposed is the share of weeks for which anything was proposed.
	Proposed float64 `json:"proposed_share"`
	// Stability is the overlap (Jaccard) of one week's proposal with the next one's.
	Stability float64 `json:"stability"`

	falseHours, saved, asleep, hours, proposed, overlap, pairs float64
}

const (
	weekHours  = 168
	trainWeeks = 4
	leastSleep = 4
)

// week asleep, by hour of the week from Monday 00:00 UTC.
type week [weekHours]bool

// sleeper decides from the weeks before which hours of the next are slept through.
type sleeper func(history []hour, monday int64) (week, error)

// offices walk methods through a set of series: every week is judged after the four before it.
func offices(name string, made bool, prices *market.Snapshot, zone string, each func(func(*series) error) error) (Office, error) {
	out := Office{Name: name, Synthetic: made}
	names := []string{"ours", "mon_fri_8_20", "threshold_on_mean", "always_on"}
	methods := []sleeper{
		func(h []hour, monday int64) (week, error) { return propose(h, monday, prices, zone) },
		func(_ []hour, monday int64) (week, error) { return officeHours(monday, zone) },
		func(h []hour, _ int64) (week, error) { return thresholdOnMean(h), nil },
		func([]hour, int64) (week, error) { return week{}, nil },
	}
	for _, n := range names {
		out.Methods = append(out.Methods, Sleepers{Name: n})
	}
	oracle := 0.0
	err := each(func(s *series) error {
		before := make([]*week, len(methods))
		judged, flat := 0, 0
		for monday, ends := firstMonday(s)+trainWeeks*weekHours, s.hours[len(s.hours)-1].at; monday+weekHours <= ends+1; monday += weekHours {
			history, next := between(s, monday-trainWeeks*weekHours, monday), between(s, monday, monday+weekHours)
			threshold, isFlat := activeAbove(history)
			if isFlat {
				flat++
				continue
			}
			judged++
			active := activeHours(next, monday, threshold)
			quiet, hours := longQuiet(active)
			oracle += float64(hours)
			for i, m := range methods {
				asleep, err := m(history, monday)
				if err != nil {
					return fmt.Errorf("asking %s about %s: %w", names[i], s.name, err)
				}
				out.Methods[i].judge(asleep, quiet, active, before[i])
				before[i] = &asleep
			}
		}
		if out.Weeks += judged; judged > 0 {
			out.Series++
		} else {
			out.Flat++
		}
		return nil
	})
	for i := range out.Methods {
		out.Methods[i].mean(float64(out.Weeks), oracle)
	}
	return out, err
}

func (m *Sleepers) judge(asleep, quiet week, active []float64, before *week) {
	any, both, either := false, 0.0, 0.0
	for h, sleeps := range asleep {
		m.hours++
		if before != nil && (sleeps || before[h]) {
			either++
			if sleeps && before[h] {
				both++
			}
		}
		if !sleeps {
			continue
		}
		any = true
		m.asleep++
		if active[h] == 1 {
			m.falseHours++
		}
		if quiet[h] {
			m.saved++
		}
	}
	if any {
		m.proposed++
	}
	if either > 0 {
		m.overlap, m.pairs = m.overlap+both/either, m.pairs+1
	}
}

func (m *Sleepers) mean(weeks, oracle float64) {
	weeks = math.Max(1, weeks)
	m.FalseSleepMinutes, m.Proposed = 60*m.falseHours/weeks, m.proposed/weeks
	m.SavedOverOracle, m.AsleepShare = m.saved/math.Max(1, oracle), m.asleep/math.Max(1, m.hours)
	m.Stability = m.overlap / math.Max(1, m.pairs)
}

// firstMonday 00:00 UTC in the series.
func firstMonday(s *series) int64 {
	const thursday = 72 // 1970 began on one
	at := s.hours[0].at
	return at + (weekHours-(at+thursday)%weekHours)%weekHours
}

func between(s *series, from, to int64) []hour {
	begin, _ := slices.BinarySearchFunc(s.hours, from, func(h hour, at int64) int { return int(h.at - at) })
	end, _ := slices.BinarySearchFunc(s.hours, to, func(h hour, at int64) int { return int(h.at - at) })
	return s.hours[begin:end]
}

// activeAbove is the engine's documented default, worked out here anew: a fifth of the way from the 10th to
// the 95th percentile of hours.
func activeAbove(history []hour) (threshold float64, flat bool) {
	var values []float64
	for _, h := range history {
		values = append(values, usage.QuantileOf(h.hist, 0.9))
	}
	if len(values) == 0 {
		return 0, true
	}
	slices.Sort(values)
	quiet, busy := values[(len(values)-1)/10], values[(len(values)-1)*95/100]
	return quiet + 0.2*(busy-quiet), busy < 1.5*quiet+10
}

// activeHours of a week: 1, 0, or 2 where nothing is known.
func activeHours(hours []hour, monday int64, threshold float64) []float64 {
	active := make([]float64, weekHours)
	for i := range active {
		active[i] = 2
	}
	for _, h := range hours {
		active[h.at-monday] = 0
		if usage.QuantileOf(h.hist, 0.9) > threshold {
			active[h.at-monday] = 1
		}
	}
	return active
}

// longQuiet are the quiet hours in spells that are worth a sleep.
func longQuiet(active []float64) (quiet week, hours int) {
	spell := 0
	for h, a := range append(slices.Clone(active), 1) {
		if a == 0 {
			spell++
			continue
		}
		for back := 1; spell >= leastSleep && back <= spell; back++ {
			quiet[h-back] = true
			hours++
		}
		spell = 0
	}
	return quiet, hours
}

// propose asks the engine.
func propose(history []hour, monday int64, prices *market.Snapshot, zone string) (week, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return week{}, err
	}
	c := &mlv1.ContainerUsage{Namespace: "n", Kind: "Deployment", Name: "w", Container: "c", Replicas: 1}
	for _, h := range history {
		c.Hours = append(c.Hours, &mlv1.UsageHour{Start: h.start, Cpu: h.hist})
	}
	requirements, err := structpb.NewStruct(map[string]any{"time_zone": zone})
	if err != nil {
		return week{}, err
	}
	now := time.Unix(monday*3600, 0)
	answer, err := schedule.Decide(&mlv1.DecisionRequest{
		RequestId: "backtest", CurrentState: &fleetv1.ClusterState{Region: "us-east-1"},
		Requirements: requirements, Usage: []*mlv1.ContainerUsage{c},
	}, prices, now)
	if err != nil {
		return week{}, err
	}
	var asleep week
	for h := range asleep {
		cell := cellOf(monday+int64(h), location)
		asleep[h] = slices.ContainsFunc(answer.GetSleepWindows(), func(w *mlv1.SleepWindow) bool { return covers(w, cell) })
	}
	return asleep, nil
}

// covers an hour of the week; a window may run over the week's end.
func covers(w *mlv1.SleepWindow, cell int) bool {
	from, to := cellNamed(w.GetLocalStart()), cellNamed(w.GetLocalEnd())
	if from < to {
		return cell >= from && cell < to
	}
	return cell >= from || cell < to
}

// cellOf an hour: its hour of the week from Monday by the zone's clocks.
func cellOf(at int64, zone *time.Location) int {
	t := time.Unix(at*3600, 0).In(zone)
	return (int(t.Weekday())+6)%7*24 + t.Hour()
}

// cellNamed as the engine names hours of the week: fri 20:00.
func cellNamed(text string) int {
	day, clock, _ := strings.Cut(text, " ")
	hour, _, _ := strings.Cut(clock, ":")
	h, _ := strconv.Atoi(hour)
	return slices.Index([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, day)*24 + h
}

// officeHours sleeps outside Monday to Friday, 8 to 20 by the zone's clocks.
func officeHours(monday int64, zone string) (week, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return week{}, err
	}
	var asleep week
	for h := range asleep {
		cell := cellOf(monday+int64(h), location)
		asleep[h] = cell >= 5*24 || cell%24 < 8 || cell%24 >= 20
	}
	return asleep, nil
}

// thresholdOnMean sleeps through the hours of the week whose mean is below the threshold, four at least.
func thresholdOnMean(history []hour) week {
	threshold, _ := activeAbove(history)
	var sum, n [weekHours]float64
	for _, h := range history {
		cell := (h.at + 72) % weekHours
		sum[cell] += usage.QuantileOf(h.hist, 0.9)
		n[cell]++
	}
	quiet := make([]float64, weekHours)
	for cell := range quiet {
		if quiet[cell] = 1; n[cell] > 0 && sum[cell]/n[cell] <= threshold {
			quiet[cell] = 0
		}
	}
	var asleep week
	for from := 0; from < weekHours; {
		to := from
		for to < weekHours && quiet[to] == 0 {
			to++
		}
		for h := from; h < to && to-from >= leastSleep; h++ {
			asleep[h] = true
		}
		from = max(to, from+1)
	}
	return asleep
}
