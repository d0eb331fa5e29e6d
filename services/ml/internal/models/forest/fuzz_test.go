package forest_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// fuzz starts from the real libraries' files, and from these cut and bent.
func fuzz(f *testing.F, format, pattern string, more ...string) {
	f.Helper()
	files, err := filepath.Glob("testdata/golden/" + pattern)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
		for _, bend := range [][2]string{{"1", "-1"}, {"0", "99999999999"}, {".", "e"}, {" ", "  "}, {",", ",,"}, {"=", "=nan "}, {"[", "[["}} {
			f.Add([]byte(strings.Replace(string(raw), bend[0], bend[1], 3)))
		}
	}
	for _, text := range more {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { holds(t, format, raw) })
}

// holds checks that a file is either refused, as a Refusal, or is a forest that
// answers any input, and that our format keeps it.
func holds(t *testing.T, format string, raw []byte) {
	t.Helper()
	spec, _, err := forest.Parse(format, raw)
	var refusal *forest.Refusal
	if err != nil {
		if !errors.As(err, &refusal) || refusal.Field == "" || refusal.Reason == "" {
			t.Fatalf("refused as %#v", err)
		}
		return
	}
	made, err := forest.New(spec)
	if err != nil {
		if !errors.As(err, &refusal) {
			t.Fatalf("refused as %#v", err)
		}
		return
	}
	var file bytes.Buffer
	if err := forest.Write(&file, spec); err != nil {
		t.Fatal(err)
	}
	again, _, err := forest.Load(forest.Native, file.Bytes())
	if err != nil {
		t.Fatalf("our own file is refused: %v", err)
	}
	x := make([]float64, len(made.Features()))
	into := make([]float64, len(x))
	for _, v := range []float64{0, 1, -0.5, math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 1e-36, 63} {
		for i := range x {
			x[i] = v
		}
		p := made.Probability(x)
		if !(p >= 0 && p <= 1) {
			t.Fatalf("%v: probability %v", v, p)
		}
		if q := again.Probability(x); q != p {
			t.Fatalf("%v: %v, and %v from our own file", v, p, q)
		}
		made.Contributions(x, into)
	}
}

func FuzzLightGBM(f *testing.F) {
	fuzz(f, forest.LightGBM, "lightgbm-*.model", "tree\n", "tree\nversion=v4\n\nTree=0\n")
}

func FuzzXGBoost(f *testing.F) {
	fuzz(f, forest.XGBoost, "xgboost-*.model", `{}`, `{"learner":{},"version":[3,0,0]}`, `{"learner":{"gradient_booster":{"gbtree":{"gbtree":{"gbtree":{}}}}}}`)
}

func FuzzNative(f *testing.F) {
	var file bytes.Buffer
	if err := forest.Write(&file, small()); err != nil {
		f.Fatal(err)
	}
	good := file.String()
	fuzz(f, forest.Native, "none", good, good[:len(good)/2], strings.Replace(good, `"left":-1`, `"left":0`, 1),
		strings.ReplaceAll(good, "0", "-1"), `{"format":"cloudoptim","version":1}`, `{"trees":[{"nodes":[{"set":[0,65535]}]}]}`)
}
