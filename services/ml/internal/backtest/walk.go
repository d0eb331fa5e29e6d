package backtest

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Track is what came of one set of series.
type Track struct {
	Name string `json:"name"`
	// Synthetic series are generated, not recorded.
	Synthetic bool `json:"synthetic"`
	// Mode is engine, with steps, thresholds and evidence, or target, without.
	Mode   string  `json:"mode"`
	Series int     `json:"series"`
	Days   float64 `json:"days"`
	Curves []Curve `json:"curves"`
	// Slack at 1 % exceedance, interpolated, by method: the better of its sweeps. null
	// where a method never gets there.
	SlackAt1Pct map[string]*float64 `json:"slack_at_1pct_exceedance"`
}

// Curve is one method with one setting swept.
type Curve struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Point is one setting: means over series, each of which counts the same.
type Point struct {
	Setting string `json:"setting"`
	// Exceedance is the share of samples above the request.
	Exceedance float64 `json:"exceedance"`
	// Slack is the share of the request that was not used.
	Slack float64 `json:"slack"`
	// SlackBySize weighs series by what they request, as a bill does.
	SlackBySize float64 `json:"slack_by_size"`
	// Depth is by how much samples were above, as a share of the request, over all samples.
	Depth float64 `json:"depth"`
	// DaysAbove is the share of days with a sample above: of memory, kills.
	DaysAbove float64 `json:"days_above"`
	// ChangesPerWeek of the request.
	ChangesPerWeek float64 `json:"changes_per_week"`

	series, requested, unused, days, daysAbove, changes float64
}

// take a series' score in.
func (p *Point) take(s score) {
	p.series++
	p.Exceedance += s.exceedance()
	p.Slack += s.slack()
	p.Depth += s.depth / math.Max(1, s.samples)
	p.requested, p.unused = p.requested+s.requested/math.Max(1, s.samples), p.unused+s.unused/math.Max(1, s.samples)
	p.days, p.daysAbove, p.changes = p.days+s.days, p.daysAbove+s.died, p.changes+s.changes
}

func (p *Point) mean() {
	n := math.Max(1, p.series)
	p.Exceedance, p.Slack, p.Depth = p.Exceedance/n, p.Slack/n, p.Depth/n
	p.SlackBySize = p.unused / math.Max(1e-9, p.requested)
	p.DaysAbove = p.daysAbove / math.Max(1, p.days)
	p.ChangesPerWeek = 7 * p.changes / math.Max(1, p.days)
}

// walk a method through a series.
func walk(s *series, folds []fold, with setting) score {
	var sum score
	request := s.provisioned
	for _, f := range folds {
		history := s.hours[f.train:f.from]
		if with.ahead {
			history = s.hours[f.from:f.to]
		}
		if len(history) == 0 {
			continue
		}
		next := floor(s, with.do(s, history, request))
		if f.scored {
			if next != request {
				sum.changes++
			}
			sum.hold(next, s.hours[f.from:f.to])
		}
		request = next
	}
	return sum
}

// run all curves over a track, one series at a time: a year of samples need not be held at once.
func (t track) run(o *ours) (Track, error) {
	curves := slices.Concat(o.curves(t.engine), peers())
	out := Track{Name: t.name, Synthetic: t.synthetic, Mode: "target", SlackAt1Pct: map[string]*float64{}}
	if t.engine {
		out.Mode = "engine"
	}
	for _, c := range curves {
		out.Curves = append(out.Curves, Curve{Name: c.name, Points: make([]Point, len(c.points))})
	}
	err := t.each(func(s *series) error {
		folds := t.folds(s)
		if !slices.ContainsFunc(folds, func(f fold) bool { return f.scored }) {
			return nil
		}
		out.Series++
		for i, c := range curves {
			for j, with := range c.points {
				result := walk(s, folds, with)
				out.Curves[i].Points[j].take(result)
				if i == 0 && j == 0 {
					out.Days += result.days
				}
			}
		}
		return o.failed
	})
	for i, c := range curves {
		for j := range c.points {
			out.Curves[i].Points[j].Setting = c.points[j].label
			out.Curves[i].Points[j].mean()
		}
	}
	out.compare()
	return out, err
}

// target exceedance that slack is compared at.
const target = 0.01

// compare methods at the target, each by the better of its sweeps.
func (t *Track) compare() {
	for _, c := range t.Curves {
		name, _, _ := strings.Cut(c.Name, ".")
		slack, ok := interpolate(c.Points)
		if known, seen := t.SlackAt1Pct[name]; !seen || ok && (known == nil || slack < *known) {
			t.SlackAt1Pct[name] = nil
			if ok {
				t.SlackAt1Pct[name] = &slack
			}
		}
	}
}

// interpolate the slack at the target between the two settings around it. A method that never
// exceeds as much is taken at its least slack.
func interpolate(points []Point) (float64, bool) {
	sorted := slices.SortedFunc(slices.Values(points), func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.Exceedance, b.Exceedance), cmp.Compare(b.Slack, a.Slack))
	})
	if sorted[0].Exceedance > target {
		return 0, false
	}
	below := sorted[0]
	for _, above := range sorted[1:] {
		if above.Exceedance <= target {
			below = above
			continue
		}
		share := (target - below.Exceedance) / (above.Exceedance - below.Exceedance)
		return below.Slack + share*(above.Slack-below.Slack), true
	}
	return below.Slack, true
}
