package evaluate

import (
	"math"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/advisor"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/linear"
)

// predictor gives the probability of an example.
type predictor func(e *hazard.Example) float64

// baseline is a simpler way to predict, fitted on the same training examples.
type baseline struct {
	name string
	fit  func(train []hazard.Example, known []hazard.Certain, minutes float64) predictor
}

// baselines that a model is shown beside.
var baselines = []baseline{
	{"constant", constant},
	{"advisor_midpoint", midpoint},
	{"pool_rate", poolRate},
	{"minutes_up", func(train []hazard.Example, known []hazard.Certain, _ float64) predictor {
		return logistic(train, known, []input{minutesUp})
	}},
	{"logistic", func(train []hazard.Example, known []hazard.Certain, _ float64) predictor {
		return logistic(train, known, []input{
			minutesUp, plain(feature.DownShare24h), plain(feature.DownShareSoFar), plain(feature.LossRate24h),
			plain(feature.LossRateSoFar), plain(feature.SistersDownNow),
		})
	}},
}

// constant is the share that was lost in training.
func constant(_ []hazard.Example, known []hazard.Certain, _ float64) predictor {
	lost, all := 0.0, 0.0
	for _, k := range known {
		lost, all = lost+k.Weight*k.Lost, all+k.Weight
	}
	return func(*hazard.Example) float64 { return lost / all }
}

// midpoint is the Spot Advisor's bucket as a constant rate; where it is missing, the
// third.
func midpoint(_ []hazard.Example, _ []hazard.Certain, minutes float64) predictor {
	return func(e *hazard.Example) float64 {
		bucket := 2
		if b := e.Row[feature.AdvisorBucket]; !math.IsNaN(b) {
			bucket = int(b)
		}
		return 1 - math.Exp(-advisor.HourlyRate(bucket)*minutes/60)
	}
}

// poolRate is the share each pool lost in training, drawn to the mean of all by
// fifty examples.
func poolRate(train []hazard.Example, known []hazard.Certain, minutes float64) predictor {
	const weight = 50
	mean := constant(train, known, minutes)(nil)
	lost, all := map[history.Pool]float64{}, map[history.Pool]float64{}
	for _, k := range known {
		pool := train[k.Index].Pool
		lost[pool] += k.Weight * k.Lost
		all[pool] += k.Weight
	}
	return func(e *hazard.Example) float64 { return (lost[e.Pool] + weight*mean) / (all[e.Pool] + weight) }
}

// input of the logistic regression.
type input func(r *feature.Row) float64

func minutesUp(r *feature.Row) float64 { return math.Log1p(r[feature.UptimeMinutes]) }

func plain(f int) input { return func(r *feature.Row) float64 { return r[f] } }

// logistic regression on standardized inputs, missing ones at their mean, with a
// weak L2 penalty.
func logistic(train []hazard.Example, known []hazard.Certain, inputs []input) predictor {
	mean, spread := moments(train, known, inputs)
	vector := func(e *hazard.Example) []float64 {
		x := make([]float64, len(inputs)+1)
		x[0] = 1
		for i, in := range inputs {
			if v := in(&e.Row); !math.IsNaN(v) {
				x[i+1] = (v - mean[i]) / spread[i]
			}
		}
		return x
	}
	w := make([]float64, len(inputs)+1)
	const rounds, penalty = 25, 1.0
	for range rounds {
		g, h := make([]float64, len(w)), make([][]float64, len(w))
		for i := range h {
			h[i] = make([]float64, len(w))
			h[i][i] = penalty
			g[i] = penalty * w[i]
		}
		for _, k := range known {
			x := vector(&train[k.Index])
			p := sigmoid(dot(w, x))
			for i, xi := range x {
				g[i] += k.Weight * (p - k.Lost) * xi
				for j, xj := range x {
					h[i][j] += k.Weight * p * (1 - p) * xi * xj
				}
			}
		}
		for i, d := range linear.Solve(h, g) {
			w[i] -= d
		}
	}
	return func(e *hazard.Example) float64 { return sigmoid(dot(w, vector(e))) }
}

func moments(train []hazard.Example, known []hazard.Certain, inputs []input) (mean, spread []float64) {
	for _, in := range inputs {
		var n, sum, squares float64
		for _, k := range known {
			if v := in(&train[k.Index].Row); !math.IsNaN(v) {
				n, sum, squares = n+1, sum+v, squares+v*v
			}
		}
		m := sum / max(1, n)
		mean = append(mean, m)
		spread = append(spread, math.Sqrt(max(squares/max(1, n)-m*m, 1e-12)))
	}
	return mean, spread
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}
