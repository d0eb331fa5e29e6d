package calibrate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/calibrate"
)

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// said and true probabilities: what is said is bent by a curve.
func cases(n int, seed uint64, bend func(x float64) float64) []calibrate.Case {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]calibrate.Case, n)
	for i := range out {
		x := rng.NormFloat64()*1.5 - 1
		y := 0.0
		if rng.Float64() < sigmoid(bend(x)) {
			y = 1
		}
		out[i] = calibrate.Case{P: sigmoid(x), Y: y, W: 1, Block: i / 50}
	}
	return out
}

func TestALineIsFoundAgain(t *testing.T) {
	m := calibrate.Fit(cases(20000, 1, func(x float64) float64 { return 0.5*x - 1 }))
	if m.Method == "" {
		t.Fatal("nothing was fitted")
	}
	for _, p := range []float64{0.02, 0.1, 0.3, 0.6} {
		want := sigmoid(0.5*math.Log(p/(1-p)) - 1)
		if got := m.Apply(p); math.Abs(got-want) > 0.03 {
			t.Errorf("%v becomes %.3f by %s, want %.3f", p, got, m.Method, want)
		}
	}
}

func TestACurveNeedsTheIsotonicFit(t *testing.T) {
	bend := func(x float64) float64 {
		if x < -1 {
			return -3
		}
		return 1
	}
	m := calibrate.Fit(cases(20000, 2, bend))
	if m.Method != calibrate.Isotonic {
		t.Fatalf("method %q, want isotonic", m.Method)
	}
	if low, high := m.Apply(sigmoid(-2)), m.Apply(sigmoid(0)); math.Abs(low-sigmoid(-3)) > 0.03 || math.Abs(high-sigmoid(1)) > 0.05 {
		t.Errorf("got %.3f and %.3f, want %.3f and %.3f", low, high, sigmoid(-3), sigmoid(1))
	}
}

func TestWhatIsRightIsHardlyChanged(t *testing.T) {
	m := calibrate.Fit(cases(5000, 3, func(x float64) float64 { return x }))
	for p := 0.02; p < 0.9; p += 0.05 {
		if got := m.Apply(p); math.Abs(got-p) > 0.05 {
			t.Errorf("%.2f becomes %.3f by %q", p, got, m.Method)
		}
	}
}

func TestFewCasesAreNotOverfitted(t *testing.T) {
	if m := calibrate.Fit(cases(100, 4, func(x float64) float64 { return x })); m.Method == calibrate.Isotonic {
		t.Error("an isotonic curve of a hundred cases")
	}
	if m := calibrate.Fit(nil); m.Method != "" || m.Apply(0.3) != 0.3 {
		t.Errorf("of nothing came %+v", m)
	}
}

func TestEveryMapRisesAndStaysWithinZeroAndOne(t *testing.T) {
	for seed := range uint64(30) {
		all := cases(200+int(seed)*30, seed, func(x float64) float64 { return math.Sin(3 * x) })
		for _, m := range []calibrate.Map{calibrate.Fit(all), calibrate.FitIsotonic(all), calibrate.FitPlatt(all)} {
			if err := m.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			last := 0.0
			for p := 0.0; p <= 1; p += 0.001 {
				q := m.Apply(p)
				if q < last-1e-12 || !(q >= 0 && q <= 1) {
					t.Fatalf("seed %d, %s: %v after %v", seed, m.Method, q, last)
				}
				last = q
			}
		}
	}
}

// By hand: 0.2 and 0.4 are in the wrong order and are pooled to 1 of 2; then (1+½)/(2+1) = ½.
func TestViolatorsArePooledByHand(t *testing.T) {
	m := calibrate.FitIsotonic([]calibrate.Case{{P: 0.4, Y: 0, W: 1}, {P: 0.2, Y: 1, W: 1}})
	if len(m.X) != 1 || math.Abs(m.Apply(0.3)-0.5) > 1e-12 {
		t.Errorf("got %+v", m)
	}
}

func TestHostileMapsAreRefused(t *testing.T) {
	for name, m := range map[string]calibrate.Map{
		"an unknown method":   {Method: "guess"},
		"a falling line":      {Method: calibrate.Platt, Slope: -1},
		"no slope":            {Method: calibrate.Platt},
		"an infinite line":    {Method: calibrate.Platt, Slope: math.Inf(1)},
		"an empty curve":      {Method: calibrate.Isotonic},
		"a curve of one side": {Method: calibrate.Isotonic, X: []float64{1}},
		"a falling curve":     {Method: calibrate.Isotonic, X: []float64{0, 1}, Y: []float64{1, 0}},
		"a curve of NaN":      {Method: calibrate.Isotonic, X: []float64{0}, Y: []float64{math.NaN()}},
		"a curve that stands": {Method: calibrate.Isotonic, X: []float64{0, 0}, Y: []float64{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if m.Check() == nil {
				t.Error("accepted")
			}
		})
	}
}
