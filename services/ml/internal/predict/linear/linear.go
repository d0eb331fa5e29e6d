// Package linear fits a logistic regression as the start of boosted trees. Where
// data are few, trees need many splits for what is a straight line; from a line on
// they only need to learn what is not straight.
//
// A line is written as one tree for each feature, a flight of steps, so that the
// whole model stays a sum of trees.
package linear

import (
	"math"
	"slices"
	"sort"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
)

// Options of a fit.
type Options struct {
	// Use says which features take part.
	Use []bool
	// Log takes ln(1+x) of a feature instead of x.
	Log []bool
	// Monotone is the sign that a feature's weight must have; those that would have
	// the other are left out.
	Monotone []int
	// Ridge is the L2 penalty on weights of standardized features, as a share of the
	// data's information.
	Ridge float64
}

// steps of a flight at most.
const mostSteps = 48

// column is one feature that takes part.
type column struct {
	feature      int
	mean, spread float64
	log          bool
}

// value standardized; a missing one is at the mean.
func (c *column) value(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	if c.log {
		v = math.Log1p(v)
	}
	return (v - c.mean) / c.spread
}

// Fit returns the bias and one tree for each feature with a weight.
func Fit(d *gbdt.Data, o Options) (bias float64, trees []gbdt.Tree) {
	columns := standardize(d, o)
	for {
		w := newton(d, columns, o.Ridge)
		// The worst offender goes first: without it others may be right.
		worst, size := -1, 0.0
		for i, c := range columns {
			if against := -w[i+1] * float64(o.Monotone[c.feature]); against > size {
				worst, size = i, against
			}
		}
		if worst < 0 {
			for i := range columns {
				if w[i+1] != 0 {
					trees = append(trees, flight(d, &columns[i], w[i+1]))
				}
			}
			return w[0], trees
		}
		columns = slices.Delete(columns, worst, worst+1)
	}
}

// standardize the features that vary.
func standardize(d *gbdt.Data, o Options) []column {
	var out []column
	for f, values := range d.Columns {
		if !o.Use[f] {
			continue
		}
		c := column{feature: f, spread: 1, log: o.Log[f]}
		var n, sum, squares float64
		for i, v := range values {
			if !math.IsNaN(v) {
				x, w := c.value(v), d.W[i]
				n, sum, squares = n+w, sum+w*x, squares+w*x*x
			}
		}
		if n == 0 {
			continue
		}
		c.mean = sum / n
		if variance := squares/n - c.mean*c.mean; variance > 1e-9 {
			c.spread = math.Sqrt(variance)
			out = append(out, c)
		}
	}
	return out
}

// newton's method on the penalized log-loss; the first weight is the bias.
func newton(d *gbdt.Data, columns []column, ridge float64) []float64 {
	const rounds = 8
	n := len(columns) + 1
	w := make([]float64, n)
	yes, all := 0.5, 1.0
	for i, y := range d.Y {
		yes, all = yes+d.W[i]*y, all+d.W[i]
	}
	w[0] = gbdt.Logit(yes / all)
	penalty := ridge * yes * (1 - yes/all)
	for range rounds {
		g, h := derivatives(d, columns, w, penalty)
		size := 0.0
		for i, step := range Solve(h, g) {
			w[i] -= step
			size = max(size, math.Abs(step))
		}
		if size < 1e-6 {
			break
		}
	}
	return w
}

// derivatives of the penalized log-loss by the weights.
func derivatives(d *gbdt.Data, columns []column, w []float64, penalty float64) (g []float64, h [][]float64) {
	n := len(w)
	g, h = make([]float64, n), make([][]float64, n)
	for i := range h {
		h[i] = make([]float64, n)
		if i > 0 {
			h[i][i], g[i] = penalty+1e-9, penalty*w[i]
		}
	}
	x := make([]float64, n)
	x[0] = 1
	for r := range d.Y {
		score := w[0]
		for i := range columns {
			x[i+1] = columns[i].value(d.Columns[columns[i].feature][r])
			score += w[i+1] * x[i+1]
		}
		p := gbdt.Sigmoid(score)
		residual, weight := d.W[r]*(p-d.Y[r]), d.W[r]*p*(1-p)
		for i := range n {
			g[i] += residual * x[i]
			wx := weight * x[i]
			for j := i; j < n; j++ {
				h[i][j] += wx * x[j]
			}
		}
	}
	for i := range n {
		for j := range i {
			h[i][j] = h[j][i]
		}
	}
	return g, h
}

// Solve h·x = g for a positive definite h, by Gauss without pivoting; h and g are
// used up.
func Solve(h [][]float64, g []float64) []float64 {
	n := len(g)
	for i := range n {
		for r := i + 1; r < n; r++ {
			f := h[r][i] / h[i][i]
			for c := i; c < n; c++ {
				h[r][c] -= f * h[i][c]
			}
			g[r] -= f * g[i]
		}
	}
	for i := n - 1; i >= 0; i-- {
		for c := i + 1; c < n; c++ {
			g[i] -= h[i][c] * g[c]
		}
		g[i] /= h[i][i]
	}
	return g
}

// flight of steps along weight × value: as many rows on each step, its height that
// of their mean. Missing values are at the mean, at zero.
func flight(d *gbdt.Data, c *column, weight float64) gbdt.Tree {
	var sorted []float64
	for _, v := range d.Columns[c.feature] {
		if !math.IsNaN(v) {
			sorted = append(sorted, v)
		}
	}
	slices.Sort(sorted)
	distinct := slices.Compact(slices.Clone(sorted))
	var cuts []float64
	if len(distinct) <= mostSteps {
		for i := 1; i < len(distinct); i++ {
			cuts = append(cuts, distinct[i-1]+(distinct[i]-distinct[i-1])/2)
		}
	} else {
		for s := 1; s < mostSteps; s++ {
			v := sorted[s*len(sorted)/mostSteps]
			if v < sorted[len(sorted)-1] && (len(cuts) == 0 || v > cuts[len(cuts)-1]) {
				cuts = append(cuts, v)
			}
		}
	}
	heights := make([]float64, 0, len(cuts)+1)
	counts := make([]float64, 0, len(cuts)+1)
	from := 0
	for s := range len(cuts) + 1 {
		to := len(sorted)
		if s < len(cuts) {
			to = sort.Search(len(sorted), func(i int) bool { return sorted[i] > cuts[s] })
		}
		sum := 0.0
		for _, v := range sorted[from:to] {
			sum += c.value(v)
		}
		heights, counts = append(heights, weight*sum/float64(max(1, to-from))), append(counts, float64(to-from))
		from = to
	}
	// The root only takes missing values aside.
	t := gbdt.Tree{{Feature: c.feature, Threshold: math.MaxFloat64, Left: 1, Right: 2}, {}, {Cover: float64(len(d.Y) - len(sorted))}}
	return stairs(t, 1, c.feature, cuts, heights, counts)
}

// stairs fills in node at with a balanced tree over the steps.
func stairs(t gbdt.Tree, at, feature int, cuts, heights, counts []float64) gbdt.Tree {
	cover, mean := 0.0, 0.0
	for i, n := range counts {
		cover, mean = cover+n, mean+n*heights[i]
	}
	t[at].Cover, t[at].Value = cover, mean/max(1, cover)
	if len(cuts) == 0 {
		t[at].Value = heights[0]
		return t
	}
	m := len(cuts) / 2
	left, right := len(t), len(t)+1
	t[at].Feature, t[at].Threshold, t[at].Left, t[at].Right = feature, cuts[m], left, right
	t = append(t, gbdt.Node{}, gbdt.Node{})
	t = stairs(t, left, feature, cuts[:m], heights[:m+1], counts[:m+1])
	return stairs(t, right, feature, cuts[m+1:], heights[m+1:], counts[m+1:])
}
