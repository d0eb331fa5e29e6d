package main

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
)

// weekly is a series that is the same each week, with noise.
func weekly(seed uint64, noise float64) real {
	rng := rand.New(rand.NewPCG(seed, 1))
	r := real{name: "weekly", step: 300_000}
	for at := int64(0); at < 6*week; at += r.step {
		v := 100 + 40*math.Sin(2*math.Pi*float64(at%day)/float64(day)) + noise*rng.NormFloat64()
		r.rows = append(r.rows, series.Point{At: at, Values: []float64{v}})
	}
	return r
}

func TestTheRulesBeatLastWeekWhereItIsNoisyAndALineOverADay(t *testing.T) {
	scores := measure([]real{weekly(1, 10)}, 1)
	for name := range masks {
		s := scores[name]
		if s.Rules >= s.SeasonalNaive && name != "random" || s.Series != 1 || s.Filled < 0.9 {
			t.Errorf("%s: %+v, want less error than seasonal-naive", name, s)
		}
	}
	if s := scores["day"]; s.Rules >= s.Linear/2 {
		t.Errorf("day: %+v, want half the error of a line", s)
	}
}

func TestNothingHiddenIsSeen(t *testing.T) {
	r := weekly(1, 0)
	for name, length := range masks {
		hidden := hide(r, length, rand.New(rand.NewPCG(1, 1)))
		n := 0
		for _, h := range hidden {
			if h {
				n++
			}
		}
		if hidden[0] || hidden[len(hidden)-1] || math.Abs(float64(n)/float64(len(hidden))-hiddenShare) > 0.03 {
			t.Errorf("%s hides %d of %d", name, n, len(hidden))
		}
	}
	same := measure([]real{weekly(1, 10)}, 1)
	if again := measure([]real{weekly(1, 10)}, 1); again["day"] != same["day"] {
		t.Error("the same seed gave another result")
	}
}

func TestRealSeriesAreRead(t *testing.T) {
	dir := os.Getenv("CLOUDOPTIM_DATA")
	if dir == "" {
		dir = "../../../../../../shared/data"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Log("the data is not on this machine")
		return
	}
	all, err := load(dir)
	if err != nil || len(all) != 1013 {
		t.Errorf("%d series, want 500 machines twice and 13 of CloudWatch (%v)", len(all), err)
	}
	if err := run([]string{"-data", t.TempDir()}); err == nil {
		t.Error("an empty folder was measured")
	}
}
