package gbdt_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
)

func options() gbdt.Options {
	return gbdt.Options{Trees: 60, Rate: 0.2, Leaves: 8, MinHessian: 1, L2: 1, RowShare: 1, FeatureShare: 1, Seed: 1}
}

// sample rows of a known probability; every tenth value is missing.
func sample(n int, seed uint64, features int, p func(x []float64) float64) (*gbdt.Data, []float64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	d := &gbdt.Data{Columns: make([][]float64, features)}
	truth := make([]float64, 0, n)
	for range n {
		x := make([]float64, features)
		for f := range x {
			x[f] = rng.Float64()*4 - 2
			if rng.IntN(10) == 0 {
				x[f] = math.NaN()
			}
			d.Columns[f] = append(d.Columns[f], x[f])
		}
		q := p(x)
		truth = append(truth, q)
		y := 0.0
		if rng.Float64() < q {
			y = 1
		}
		d.Y = append(d.Y, y)
		d.W = append(d.W, 1)
	}
	return d, truth
}

func row(d *gbdt.Data, i int) []float64 {
	x := make([]float64, len(d.Columns))
	for f := range x {
		x[f] = d.Columns[f][i]
	}
	return x
}

func train(t *testing.T, d, held *gbdt.Data, o gbdt.Options) (*gbdt.Ensemble, *gbdt.Progress) {
	t.Helper()
	e, progress, err := gbdt.Train(d, held, o)
	if err != nil {
		t.Fatal(err)
	}
	return e, progress
}

// One split by hand: x ≤ 1 has one event in four, x > 1 three in four. Without penalty and
// at rate 1 the leaves are −g/h: g = 4·½ − 1 = 1 and h = 4·¼ = 1 to the left.
func TestATreeOfOneSplitIsWhatItIsByHand(t *testing.T) {
	d := &gbdt.Data{
		Columns: [][]float64{{0, 0, 1, 1, 2, 2, 3, 3}},
		Y:       []float64{0, 0, 0, 1, 1, 1, 0, 1},
	}
	o := options()
	o.Trees, o.Rate, o.Leaves, o.L2 = 1, 1, 2, 0
	e, _ := train(t, d, nil, o)
	if e.Bias != 0 {
		t.Errorf("bias %v, want 0: half of the rows are events", e.Bias)
	}
	tree := e.Trees[0]
	if len(tree) != 3 || tree[0].Threshold != 1.5 || math.Abs(tree[1].Value+1) > 1e-12 || math.Abs(tree[2].Value-1) > 1e-12 {
		t.Errorf("got %+v, want a split at 1.5 into −1 and 1", tree)
	}
	// Gain: ½(g²/h) of both sides less that of the root: ½ + ½ − 0.
	if math.Abs(tree[0].Gain-1) > 1e-12 {
		t.Errorf("gain %v, want 1", tree[0].Gain)
	}
}

func TestMissingValuesGoWhereTheLossIsLess(t *testing.T) {
	nan := math.NaN()
	d := &gbdt.Data{Columns: [][]float64{{0, 0, 1, 1, nan, nan}}, Y: []float64{0, 0, 1, 1, 1, 1}}
	o := options()
	o.Trees, o.Leaves, o.MinHessian = 1, 2, 0
	e, _ := train(t, d, nil, o)
	if tree := e.Trees[0]; tree[0].MissingLeft || tree[0].Threshold != 0.5 {
		t.Errorf("got %+v, want missing values to the right of 0.5", tree)
	}
	d.Y = []float64{0, 0, 0, 0, 1, 1} // only missing ones: known to one side, missing to the other
	e, _ = train(t, d, nil, o)
	if known, missing := e.Score([]float64{1}), e.Score([]float64{nan}); !(missing > known) {
		t.Errorf("score of a missing value %v, of a known one %v", missing, known)
	}
}

func TestWeightsCountAsSoManyRows(t *testing.T) {
	one := &gbdt.Data{Columns: [][]float64{{0, 0, 1, 1}}, Y: []float64{0, 1, 0, 1}, W: []float64{3, 1, 1, 3}}
	many := &gbdt.Data{Columns: [][]float64{{0, 0, 0, 0, 1, 1, 1, 1}}, Y: []float64{0, 0, 0, 1, 0, 1, 1, 1}}
	o := options()
	o.MinHessian = 0.1
	a, _ := train(t, one, nil, o)
	b, _ := train(t, many, nil, o)
	for _, x := range []float64{0, 1} {
		if p, q := a.Score([]float64{x}), b.Score([]float64{x}); math.Abs(p-q) > 1e-9 {
			t.Errorf("x=%v: weighted %v, repeated %v", x, p, q)
		}
	}
}

func TestAnInteractionIsLearned(t *testing.T) {
	p := func(x []float64) float64 {
		if (x[0] > 0) != (x[1] > 0) { // of missing values both are false
			return 0.8
		}
		return 0.2
	}
	d, _ := sample(8000, 1, 3, p)
	fresh, truth := sample(2000, 2, 3, p)
	e, _ := train(t, d, nil, options())
	worst := 0.0
	for i := range truth {
		worst += math.Abs(gbdt.Sigmoid(e.Score(row(fresh, i)))-truth[i]) / float64(len(truth))
	}
	if worst > 0.06 {
		t.Errorf("mean error of the probability %.3f, want at most 0.06", worst)
	}
}

func TestTheLossFallsWithEveryTreeAndTheDerivativesAreRight(t *testing.T) {
	d, _ := sample(2000, 3, 2, func(x []float64) float64 { return gbdt.Sigmoid(2 * x[0]) })
	for i := range d.Columns[0] {
		if math.IsNaN(d.Columns[0][i]) {
			d.Columns[0][i] = 0
		}
	}
	o := options()
	o.Rate = 0.1
	_, progress := train(t, d, nil, o)
	for i := 1; i < len(progress.Train); i++ {
		if progress.Train[i] > progress.Train[i-1]+1e-12 {
			t.Fatalf("tree %d raises the loss of its own data from %v to %v", i, progress.Train[i-1], progress.Train[i])
		}
	}
	// A small step along −gradient of one leaf changes the loss by −g²/h·rate, to first order:
	// compare with the loss that was measured.
	for _, rate := range []float64{1e-4, 1e-3} {
		o.Trees, o.Leaves, o.Rate, o.L2 = 1, 2, rate, 0
		e, progress := train(t, d, nil, o)
		base, _ := train(t, d, nil, gbdt.Options{Trees: 1, Rate: 1e-12, Leaves: 2, RowShare: 1, FeatureShare: 1})
		before := loss(d, base)
		gain := 2 * e.Trees[0][0].Gain * rate / float64(len(d.Y)) // the root's own gain is 0
		if fell := before - progress.Train[0]; math.Abs(fell-gain) > 0.02*gain+10*rate*rate {
			t.Errorf("rate %v: the loss fell by %v, the derivatives say %v", rate, fell, gain)
		}
	}
}

func loss(d *gbdt.Data, e *gbdt.Ensemble) float64 {
	sum := 0.0
	for i, y := range d.Y {
		p := gbdt.Sigmoid(e.Score(row(d, i)))
		sum -= y*math.Log(p) + (1-y)*math.Log(1-p)
	}
	return sum / float64(len(d.Y))
}

func TestMonotoneConstraintsHold(t *testing.T) {
	wiggly := func(x []float64) float64 { return gbdt.Sigmoid(x[0] + 2*math.Sin(4*x[0]) + math.Cos(3*x[1])*x[0]) }
	d, _ := sample(4000, 4, 3, wiggly)
	o := options()
	o.Monotone = []int{1, -1, 0}
	o.RowShare, o.FeatureShare = 0.7, 0.7
	e, _ := train(t, d, nil, o)
	free, _ := train(t, d, nil, options())
	rng := rand.New(rand.NewPCG(5, 5))
	broken := 0
	for range 300 {
		x := []float64{0, rng.Float64()*4 - 2, rng.Float64()*4 - 2}
		last, lastFree := math.Inf(-1), math.Inf(-1)
		for v := -2.5; v <= 2.5; v += 0.02 {
			x[0] = v
			s := e.Score(x)
			if s < last-1e-12 {
				t.Fatalf("the score falls from %v to %v at %v", last, s, x)
			}
			if f := free.Score(x); f < lastFree {
				broken++
				lastFree = f
			} else {
				lastFree = f
			}
			last = s
		}
		last = math.Inf(1)
		for v := -2.5; v <= 2.5; v += 0.1 {
			if s := e.Score([]float64{x[0], v, x[2]}); s > last+1e-12 {
				t.Fatalf("the score rises in a feature that must lower it")
			} else {
				last = s
			}
		}
	}
	if broken == 0 {
		t.Error("without constraints the score rises by itself: the test shows nothing")
	}
}

func TestTheSameSeedGivesTheSameTrees(t *testing.T) {
	d, _ := sample(1000, 6, 4, func(x []float64) float64 { return gbdt.Sigmoid(x[0]) })
	o := options()
	o.RowShare, o.FeatureShare = 0.5, 0.5
	a, _ := train(t, d, nil, o)
	b, _ := train(t, d, nil, o)
	if !reflect.DeepEqual(a, b) {
		t.Error("two trainings differ")
	}
	o.Seed = 2
	if c, _ := train(t, d, nil, o); reflect.DeepEqual(a, c) {
		t.Error("another seed changes nothing")
	}
}

func TestTrainingStopsWhereHeldOutDataSaysSo(t *testing.T) {
	noise := func([]float64) float64 { return 0.3 }
	d, _ := sample(500, 8, 6, noise)
	held, _ := sample(2000, 9, 6, noise)
	o := options()
	o.Trees, o.Patience = 200, 5
	e, progress := train(t, d, held, o)
	if len(e.Trees) != progress.Best || len(progress.Held) > progress.Best+5 || progress.Best > 20 {
		t.Errorf("%d trees of noise, %d tried, best %d", len(e.Trees), len(progress.Held), progress.Best)
	}
	o.Patience = 0
	if e, _ := train(t, d, held, o); len(e.Trees) != 200 {
		t.Errorf("%d trees, want all", len(e.Trees))
	}
}

func TestAStartIsGoneOnFrom(t *testing.T) {
	d, _ := sample(2000, 10, 2, func(x []float64) float64 { return gbdt.Sigmoid(x[0]) })
	first, _ := train(t, d, nil, options())
	o := options()
	o.Trees = 5
	o.Start = &gbdt.Start{Bias: first.Bias, Trees: first.Trees}
	more, progress := train(t, d, nil, o)
	if more.Started != len(first.Trees) || len(more.Trees) != more.Started+5 || !(progress.Train[4] < loss(d, first)) {
		t.Errorf("started with %d, has %d, loss %v after %v", more.Started, len(more.Trees), progress.Train[4], loss(d, first))
	}
	if cut := more.Cut(0); !reflect.DeepEqual(cut.Trees, first.Trees) {
		t.Error("cut to nothing, the start is not what it was")
	}
}

func TestBadInputIsRefused(t *testing.T) {
	good := func() (*gbdt.Data, gbdt.Options) {
		return &gbdt.Data{Columns: [][]float64{{1, 2}}, Y: []float64{0, 1}}, options()
	}
	for name, spoil := range map[string]func(*gbdt.Data, *gbdt.Options){
		"no rows":             func(d *gbdt.Data, _ *gbdt.Options) { d.Y, d.Columns[0] = nil, nil },
		"a short column":      func(d *gbdt.Data, _ *gbdt.Options) { d.Columns[0] = d.Columns[0][:1] },
		"y of a half":         func(d *gbdt.Data, _ *gbdt.Options) { d.Y[0] = 0.5 },
		"a negative weight":   func(d *gbdt.Data, _ *gbdt.Options) { d.W = []float64{-1, 1} },
		"a weight of NaN":     func(d *gbdt.Data, _ *gbdt.Options) { d.W = []float64{math.NaN(), 1} },
		"one leaf":            func(_ *gbdt.Data, o *gbdt.Options) { o.Leaves = 1 },
		"no trees":            func(_ *gbdt.Data, o *gbdt.Options) { o.Trees = 0 },
		"a row share of 0":    func(_ *gbdt.Data, o *gbdt.Options) { o.RowShare = 0 },
		"too few constraints": func(_ *gbdt.Data, o *gbdt.Options) { o.Monotone = []int{} },
	} {
		t.Run(name, func(t *testing.T) {
			d, o := good()
			spoil(d, &o)
			if _, _, err := gbdt.Train(d, nil, o); err == nil {
				t.Error("accepted")
			}
		})
	}
}
