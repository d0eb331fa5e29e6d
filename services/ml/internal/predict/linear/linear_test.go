package linear_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/linear"
)

// sample of a logistic regression with the weights 1, −0.5 and 0; a tenth is missing.
func sample(n int) *gbdt.Data {
	rng := rand.New(rand.NewPCG(1, 9))
	d := &gbdt.Data{Columns: make([][]float64, 3)}
	for range n {
		x := [3]float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
		y := 0.0
		if rng.Float64() < gbdt.Sigmoid(x[0]-0.5*x[1]-1) {
			y = 1
		}
		for f := range x {
			if rng.IntN(10) == 0 && f == 2 {
				x[f] = math.NaN()
			}
			d.Columns[f] = append(d.Columns[f], x[f])
		}
		d.Y, d.W = append(d.Y, y), append(d.W, 1)
	}
	return d
}

func options() linear.Options {
	return linear.Options{Use: []bool{true, true, true}, Log: make([]bool, 3), Monotone: make([]int, 3), Ridge: 0.001}
}

func score(bias float64, trees []gbdt.Tree, x ...float64) float64 {
	return (&gbdt.Ensemble{Bias: bias, Trees: trees}).Score(x)
}

func TestTheWeightsAreFoundAgain(t *testing.T) {
	bias, trees := linear.Fit(sample(20000), options())
	nan := math.NaN()
	for _, x := range [][2]float64{{0, 0}, {1, 0}, {-1, 0}, {0, 1}, {1, -1}} {
		want := x[0] - 0.5*x[1] - 1
		if got := score(bias, trees, x[0], x[1], nan); math.Abs(got-want) > 0.15 {
			t.Errorf("at %v the score is %.3f, want %.3f", x, got, want)
		}
	}
	last := math.Inf(-1)
	for x := -3.0; x < 3; x += 0.05 { // a flight of steps goes one way
		if s := score(bias, trees, x, 0, 0); s < last {
			t.Fatalf("the score falls at %v", x)
		} else {
			last = s
		}
	}
}

func TestAWeightOfTheWrongSignIsLeftOut(t *testing.T) {
	o := options()
	o.Monotone = []int{1, 1, 0} // the second falls in truth
	bias, trees := linear.Fit(sample(5000), o)
	if a, b := score(bias, trees, 0, -2, 0), score(bias, trees, 0, 2, 0); a != b {
		t.Errorf("a feature that may only raise moves the score from %v to %v", a, b)
	}
	o.Use[0] = false
	for _, tree := range func() []gbdt.Tree { _, all := linear.Fit(sample(5000), o); return all }() {
		if tree[0].Feature == 0 {
			t.Error("a feature that is not used has a tree")
		}
	}
}

// 2x + y = 5 and x + 3y = 10: x = 1, y = 3.
func TestEquationsAreSolvedByHand(t *testing.T) {
	x := linear.Solve([][]float64{{2, 1}, {1, 3}}, []float64{5, 10})
	if math.Abs(x[0]-1) > 1e-12 || math.Abs(x[1]-3) > 1e-12 {
		t.Errorf("got %v", x)
	}
}
