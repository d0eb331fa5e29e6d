package backtest

import (
	"math"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

// method recommends a request from history; current is what is requested now.
type method func(s *series, history []hour, current float64) float64

// curve is methods that differ in one setting.
type curve struct {
	name   string
	points []setting
}

type setting struct {
	label string
	do    method
	ahead bool // sees the hours it is judged by
}

// floors that every method keeps: 10 millicores, 32 MiB.
func floor(s *series, request float64) float64 {
	if s.memory {
		return max(32, request)
	}
	return max(10, request)
}

// vpa as its recommender has it: a histogram whose weights halve every day, of memory the
// peaks of the last eight days; the quantile and 15 %, taken over when 10 % off or outside
// the bounds, which are 0.5 and 0.95 quantiles widened by days of history.
func vpa(q, factor float64) method {
	return func(s *series, history []hour, current float64) float64 {
		var h usage.Histogram
		last, days := history[len(history)-1].at, history[len(history)-1].at/24-history[0].at/24+1
		weigh := func(at int64) float64 { return math.Exp2(-float64(last-at) / 24) }
		if s.memory {
			for day, peak := range dailyPeaks(history) {
				if last/24-day < 8 {
					h.Add(peak, weigh(min(last, day*24+23)))
				}
			}
		} else {
			for _, one := range history {
				h.AddHour(one.hist, weigh(one.at))
			}
		}
		const margin = 1.15
		target := factor * margin * h.Quantile(q)
		lower := factor * margin * h.Quantile(min(q, 0.5)) * math.Pow(1+0.001/float64(days), -2)
		upper := factor * margin * h.Quantile(max(q, 0.95)) * (1 + 1/float64(days))
		if current > 0 && current >= lower && current <= upper && math.Abs(target-current) < 0.1*current {
			return current
		}
		return target
	}
}

func dailyPeaks(history []hour) map[int64]float64 {
	peaks := map[int64]float64{}
	for _, one := range history {
		peaks[one.at/24] = max(peaks[one.at/24], one.hist.GetMax())
	}
	return peaks
}

// krr: a quantile of two weeks' CPU, the maximum of memory and 15 %.
func krr(q, factor float64) method {
	return func(s *series, history []hour, _ float64) float64 {
		h := lastHours(history, 14*24)
		if s.memory {
			return factor * 1.15 * h.Max
		}
		return factor * h.Quantile(q)
	}
}

// highest of two weeks and a margin.
func highest(factor float64) method {
	return func(_ *series, history []hour, _ float64) float64 { return factor * lastHours(history, 14*24).Max }
}

func lastHours(history []hour, hours int64) *usage.Histogram {
	h := &usage.Histogram{}
	last := history[len(history)-1].at
	for _, one := range history {
		if last-one.at < hours {
			h.AddHour(one.hist, 1)
		}
	}
	return h
}

// kept as provisioned.
func kept(s *series, _ []hour, _ float64) float64 { return s.provisioned }

// oracle knows what comes; history is that.
func oracle(q float64) method {
	return func(_ *series, coming []hour, _ float64) float64 { return lastHours(coming, 1<<40).Quantile(q) }
}

// peers and their settings. Each is swept by its quantile, where it has one, and by a
// factor on what it recommends; the first of each is its default.
func peers() []curve {
	all := []curve{{name: "keep", points: []setting{{label: "as provisioned", do: kept}}}}
	factors := []float64{1, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 6}
	quantiles := []float64{0.5, 0.7, 0.8, 0.85, 0.95, 0.98, 0.99, 0.995, 1}
	scale := func(name string, do func(float64) method) {
		c := curve{name: name}
		for _, f := range factors {
			c.points = append(c.points, setting{label: label("×", f), do: do(f)})
		}
		all = append(all, c)
	}
	scale("vpa.factor", func(f float64) method { return vpa(0.9, f) })
	scale("krr.factor", func(f float64) method { return krr(0.95, f) })
	scale("max15.factor", func(f float64) method { return highest(1.15 * f) })
	byQuantile := func(name string, do func(float64) method, ahead bool) {
		c := curve{name: name}
		for _, q := range quantiles {
			c.points = append(c.points, setting{label: label("q", q), do: do(q), ahead: ahead})
		}
		all = append(all, c)
	}
	byQuantile("vpa.quantile", func(q float64) method { return vpa(q, 1) }, false)
	byQuantile("krr.quantile", func(q float64) method { return krr(q, 1) }, false)
	byQuantile("oracle", oracle, true)
	return all
}
