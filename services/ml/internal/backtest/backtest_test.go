package backtest

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestHoursKeepAverageAndMaximum(t *testing.T) {
	for _, c := range [][2]float64{{10, 50}, {10, 10}, {0, 0}, {10, 200}, {10, 5}} {
		values, sum, top := hourOf(c[0], c[1]), 0.0, 0.0
		for _, v := range values {
			sum, top = sum+v, max(top, v)
		}
		if top != max(c[0], c[1]) || c[1] <= 12*c[0] && math.Abs(sum/12-c[0]) > 1e-9 {
			t.Errorf("average %g and maximum %g became %g and %g", c[0], c[1], sum/12, top)
		}
	}
}

func TestDaysAreJudgedByWhatCameBefore(t *testing.T) {
	s := &series{}
	for h := range int64(30 * 24) {
		s.add(1000+h, []float64{1})
	}
	folds := daily(s, 7, 3, 14)
	if len(folds) != 23 || folds[2].scored || !folds[3].scored {
		t.Fatalf("%d folds", len(folds))
	}
	for i, f := range folds {
		if f.to-f.from != 24 || f.from-f.train > 14*24 || i > 0 && folds[i-1].to != f.from || f.train >= f.from {
			t.Errorf("fold %d is %+v", i, f)
		}
	}
}

func TestSlackIsInterpolatedAtTheTarget(t *testing.T) {
	for name, c := range map[string]struct {
		points []Point
		slack  float64
		ok     bool
	}{
		"between two":     {[]Point{{Exceedance: 0.02, Slack: 0.4}, {Exceedance: 0, Slack: 0.6}}, 0.5, true},
		"never as often":  {[]Point{{Exceedance: 0.001, Slack: 0.7}, {Exceedance: 0.002, Slack: 0.6}}, 0.6, true},
		"always more":     {[]Point{{Exceedance: 0.03, Slack: 0.2}}, 0, false},
		"exactly on one":  {[]Point{{Exceedance: 0.01, Slack: 0.3}, {Exceedance: 0.5, Slack: 0.1}}, 0.3, true},
		"the nearest two": {[]Point{{Exceedance: 0, Slack: 0.9}, {Exceedance: 0.005, Slack: 0.6}, {Exceedance: 0.015, Slack: 0.4}, {Exceedance: 1}}, 0.5, true},
	} {
		if slack, ok := interpolate(c.points); ok != c.ok || math.Abs(slack-c.slack) > 1e-9 {
			t.Errorf("%s: %g %v, want %g %v", name, slack, ok, c.slack, c.ok)
		}
	}
}

func TestLongQuietSpells(t *testing.T) {
	active := make([]float64, weekHours)
	for _, h := range []int{3, 10, 14, 100} {
		active[h] = 1
	}
	quiet, hours := longQuiet(active)
	if hours != 6+85+67 || quiet[0] || quiet[12] || !quiet[4] || !quiet[15] || quiet[100] || !quiet[167] {
		t.Errorf("%d hours", hours)
	}
}

// TestGeneratedSeries walks both engines through made-up series, which need no recordings. The engine
// must do better than what it is compared with there, and the oracle better than all.
func TestGeneratedSeries(t *testing.T) {
	out := &bytes.Buffer{}
	if err := Command(t.Context(), []string{"-data", t.TempDir(), "-generated", "3"}, out); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Missing) != 6 || len(r.Rightsize) != 2 || len(r.Schedule) != 1 {
		t.Fatalf("missing %v, %d tracks, %d offices", r.Missing, len(r.Rightsize), len(r.Schedule))
	}
	for _, track := range r.Rightsize {
		ours, oracle := track.SlackAt1Pct["ours"], track.SlackAt1Pct["oracle"]
		if !track.Synthetic || ours == nil || oracle == nil || *oracle > *ours || *ours > *track.SlackAt1Pct["max15"] {
			t.Errorf("%s: %v", track.Name, track.SlackAt1Pct)
		}
	}
	methods := map[string]Sleepers{}
	for _, m := range r.Schedule[0].Methods {
		methods[m.Name] = m
	}
	if ours := methods["ours"]; ours.FalseSleepMinutes > methods["mon_fri_8_20"].FalseSleepMinutes/2 || ours.SavedOverOracle < 0.4 || ours.SavedOverOracle > 1 {
		t.Errorf("ours %+v", ours)
	}
}

// TestRecordedSeries reads a few of every recording.
func TestRecordedSeries(t *testing.T) {
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "..", "..", "..", "shared", "data")
	}
	data = filepath.Join(data, "usage-timeseries")
	if _, err := os.Stat(data); err != nil {
		t.Logf("the recordings are not here: %v", err)
		return
	}
	for _, track := range tracks(Options{Data: data, Every: 100}) {
		n, hours := 0, 0
		if err := track.each(func(s *series) error {
			n++
			hours += len(s.hours)
			for i, h := range s.hours {
				if i > 0 && s.hours[i-1].at >= h.at || len(h.values) == 0 {
					t.Fatalf("%s: hours of %s out of order or empty", track.name, s.name)
				}
			}
			return nil
		}); err != nil || !track.synthetic && (n == 0 || hours == 0) {
			t.Errorf("%s: %d series, %d hours, %v", track.name, n, hours, err)
		}
	}
}
