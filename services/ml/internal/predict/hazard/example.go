package hazard

import (
	"math"
	"regexp"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// Example is what was known of a pool or instance at a moment, and what became of it.
type Example struct {
	Row     feature.Row
	At      time.Time
	Pool    history.Pool
	Outcome Outcome
}

// Window of examples.
type Window struct {
	// From and To bound when examples are taken, To not included; zero: no bound.
	From, To time.Time
	// Until is when looking ends: what happens later is not known. Zero: the data's end.
	Until time.Time
	// Every is the time between examples of a probed pool.
	Every time.Duration
	// Set picks recordings by name; nil: all.
	Set *regexp.Regexp
}

// mostExamples of a window; with more, each keeps its turn by a fixed draw.
const mostExamples = 300_000

// ages at which an instance's life is looked at; after that daily.
var ages = [...]time.Duration{
	0, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour,
}

// moment at which an example is taken.
type moment struct {
	series, tick int
	life         *history.Life
	at           time.Time
}

// Examples of data in a window.
func Examples(data *history.Data, x *feature.Extractor, w Window) []Example {
	var all []moment
	if len(data.Lives) > 0 {
		all = lives(data, w)
	} else {
		all = probes(data, w)
	}
	keep := 1.0
	if len(all) > mostExamples {
		keep = float64(mostExamples) / float64(len(all))
	}
	out := make([]Example, 0, min(len(all), mostExamples))
	for n, m := range all {
		if draw(uint64(n), 0) >= keep {
			continue
		}
		s := data.Series[m.series]
		e := Example{At: m.at, Pool: s.Pool}
		until := w.Until
		if until.IsZero() {
			until = s.End()
		}
		if m.life == nil {
			e.Row = x.Row(m.series, m.tick, math.NaN())
			e.Outcome = probed(s, m.tick, until)
		} else {
			e.Row = x.Row(m.series, m.tick, m.at.Sub(m.life.Start).Minutes())
			if m.life.PriceOverOnDemand > 0 {
				e.Row[feature.PriceOverOnDemand] = m.life.PriceOverOnDemand
			}
			e.Outcome = lived(*m.life, m.at, until)
		}
		out = append(out, e)
	}
	return out
}

func (w Window) has(at time.Time) bool {
	return (w.From.IsZero() || !at.Before(w.From)) && (w.To.IsZero() || at.Before(w.To)) && (w.Until.IsZero() || at.Before(w.Until))
}

// probes are the ticks at which a pool holds something.
func probes(data *history.Data, w Window) []moment {
	var all []moment
	for i, s := range data.Series {
		if w.Set != nil && !w.Set.MatchString(s.Set) {
			continue
		}
		stride := max(1, int((w.Every+s.Step/2)/s.Step))
		for tick := 0; tick < len(s.Up)-1; tick += stride {
			if at := s.At(tick); s.Up[tick] > 0 && w.has(at) {
				all = append(all, moment{series: i, tick: tick, at: at})
			}
		}
	}
	return all
}

// lives are looked at at fixed ages: which age is picked does not bias a hazard that is
// conditional on age.
func lives(data *history.Data, w Window) []moment {
	bySeries := map[history.Pool]int{}
	for i, s := range data.Series {
		bySeries[s.Pool] = i
	}
	var all []moment
	for n := range data.Lives {
		l := &data.Lives[n]
		i := bySeries[l.Pool]
		for k := 0; ; k++ {
			age := time.Duration(k-len(ages)+2) * 24 * time.Hour
			if k < len(ages) {
				age = ages[k]
			}
			at := l.Start.Add(age)
			if !at.Before(l.End) {
				break
			}
			if tick, ok := data.Series[i].Tick(at); ok && w.has(at) {
				all = append(all, moment{series: i, tick: tick, life: l, at: at})
			}
		}
	}
	return all
}

// draw is a number of 0 to 1 that depends on n and salt alone (splitmix64).
func draw(n, salt uint64) float64 {
	z := n + (salt+1)*0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
