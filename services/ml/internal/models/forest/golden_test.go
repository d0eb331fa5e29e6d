package forest_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// golden is what testdata/golden.py wrote: null is NaN, "inf" infinity.
type golden struct {
	Format        string
	Rows          [][]any
	Margins       []float64
	Answers       []float64
	Contributions [][]float64
}

// goldens are the names of the golden files.
func goldens(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".json")
	}
	return files
}

// loadGolden is what a library predicted, and its model.
func loadGolden(t *testing.T, name string) (*golden, []byte) {
	t.Helper()
	var g golden
	if err := json.Unmarshal(read(t, "testdata/golden/"+name+".json"), &g); err != nil {
		t.Fatal(err)
	}
	return &g, read(t, "testdata/golden/"+name+".model")
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func plain(row []any) []float64 {
	x := make([]float64, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case float64:
			x[i] = v
		case string:
			x[i], _ = strconv.ParseFloat(v, 64)
		default:
			x[i] = math.NaN()
		}
	}
	return x
}

// near within 1e-6, relative beyond 1.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

func agree(t *testing.T, f *forest.Forest, g *golden) {
	t.Helper()
	for i, row := range g.Rows {
		x := plain(row)
		if got := f.Margin(x); !near(got, g.Margins[i]) {
			t.Errorf("row %d %v: margin %v, the library says %v", i, x, got, g.Margins[i])
		}
		got := f.Probability(x)
		if f.Objective() == forest.Regression {
			got = f.Margin(x)
		}
		if !near(got, g.Answers[i]) {
			t.Errorf("row %d %v: answer %v, the library says %v", i, x, got, g.Answers[i])
		}
	}
}

func TestPredictionsAreThoseOfTheRealLibraries(t *testing.T) {
	for _, name := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			g, raw := loadGolden(t, name)
			f, findings, err := forest.Load(g.Format, raw)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, f, g)
			if early, said := strings.Contains(t.Name(), "xgboost") && strings.Contains(t.Name(), "stopped_early"), len(findings) > 0; early && !said {
				t.Error("nothing says that trees were left out")
			}
		})
	}
}

func TestOurFormatKeepsEveryPrediction(t *testing.T) {
	for _, name := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			g, raw := loadGolden(t, name)
			spec, _, err := forest.Parse(g.Format, raw)
			if err != nil {
				t.Fatal(err)
			}
			var first, second bytes.Buffer
			if err := forest.Write(&first, spec); err != nil {
				t.Fatal(err)
			}
			again, _, err := forest.Parse(forest.Native, first.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if err := forest.Write(&second, again); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Error("written, read and written again, the file differs")
			}
			f, err := forest.New(again)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, f, g)
		})
	}
}

func TestContributionsAddUpAndAreThoseOfXGBoost(t *testing.T) {
	for _, name := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			g, raw := loadGolden(t, name)
			f, _, err := forest.Load(g.Format, raw)
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range g.Rows {
				x := plain(row)
				into := make([]float64, len(f.Features()))
				sum := f.Contributions(x, into)
				if g.Contributions != nil && math.Abs(sum-g.Contributions[i][len(into)]) > 1e-4 {
					t.Errorf("row %d: bias %v, XGBoost says %v", i, sum, g.Contributions[i][len(into)])
				}
				for j, c := range into {
					sum += c
					if g.Contributions != nil && math.Abs(c-g.Contributions[i][j]) > 1e-4*max(1, math.Abs(c)) {
						t.Errorf("row %d feature %d: %v, XGBoost says %v", i, j, c, g.Contributions[i][j])
					}
				}
				if !near(sum, f.Margin(x)) {
					t.Errorf("row %d: bias and contributions add up to %v, the margin is %v", i, sum, f.Margin(x))
				}
			}
		})
	}
}

func TestEvaluationTakesNoMemory(t *testing.T) {
	f, _, err := forest.Load(forest.XGBoost, read(t, "testdata/golden/xgboost-3.2.0-categories.model"))
	if err != nil {
		t.Fatal(err)
	}
	x, into := []float64{1, math.NaN(), 3, 4}, make([]float64, 4)
	if n := testing.AllocsPerRun(100, func() {
		_ = f.Probability(x) + f.Contributions(x, into)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAnyInputIsAnsweredWithAProbability(t *testing.T) {
	odd := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 5e-324, 1e-35, 1 << 31, -0.5, 65535, 65536}
	for _, name := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			g, raw := loadGolden(t, name)
			f, _, err := forest.Load(g.Format, raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range odd {
				for _, b := range odd {
					for _, x := range [][]float64{{a, b, a, b}, {b, b, b, a}, {a}, nil, {a, b, a, b, a, b}} {
						if p := f.Probability(x); !(p >= 0 && p <= 1) {
							t.Fatalf("%v: %v", x, p)
						}
						if bias := f.Contributions(x, nil); math.IsNaN(bias) || math.IsInf(bias, 0) {
							t.Fatalf("%v: bias %v", x, bias)
						}
					}
				}
			}
		})
	}
}
