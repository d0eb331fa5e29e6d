package forest

import (
	"math"
	"sort"
)

// zero is what LightGBM takes for zero: kZeroThreshold, a float32 constant.
const zero = float64(float32(1e-35))

// Margin is the sum of the base and of one leaf of each tree. x holds the features
// in the order of Features; what it lacks is missing.
func (f *Forest) Margin(x []float64) float64 {
	if f.single {
		sum := float32(f.base)
		for t, root := range f.roots {
			sum += float32(f.weights[t]) * float32(f.leaves[f.walk(root, x)])
		}
		return float64(sum)
	}
	sum := f.base
	for t, root := range f.roots {
		sum += f.weights[t] * f.leaves[f.walk(root, x)]
	}
	return sum
}

// Probability is the calibrated logistic function of the margin, 0 to 1. A
// regression's margin is only cut to that range.
func (f *Forest) Probability(x []float64) float64 { return f.Link(f.Margin(x)) }

// Link turns a margin into a probability.
func (f *Forest) Link(margin float64) float64 {
	if f.objective == Regression {
		return min(max(margin, 0), 1)
	}
	return calibrate(f.calibration, 1/(1+math.Exp(-f.sigmoid*margin)))
}

// Contributions adds to into[i] what feature i moved the margin by, along the path
// through each tree: at each node, the mean of the side taken less the mean of the
// node (Saabas, "Interpreting random forests", 2014). The bias returned is the base
// plus all roots' means; bias and contributions sum up to Margin, but for rounding.
// Cheap and exact in sum; unlike SHAP values it favours features near the leaves.
func (f *Forest) Contributions(x, into []float64) float64 {
	bias := f.base
	for t, root := range f.roots {
		weight := f.weights[t]
		mean := f.mean(root)
		bias += weight * mean
		for at := root; at >= 0; {
			n := &f.nodes[at]
			at = f.next(n, x)
			side := f.mean(at)
			if int(n.feature) < len(into) {
				into[n.feature] += weight * (side - mean)
			}
			mean = side
		}
	}
	return bias
}

// mean of a node, or the value of ^leaf.
func (f *Forest) mean(at int32) float64 {
	if at < 0 {
		return f.leaves[^at]
	}
	return f.means[at]
}

// walk from a root to a leaf. New has made sure that it ends.
func (f *Forest) walk(at int32, x []float64) int32 {
	for at >= 0 {
		at = f.next(&f.nodes[at], x)
	}
	return ^at
}

func (f *Forest) next(n *node, x []float64) int32 {
	v := math.NaN()
	if int(n.feature) < len(x) {
		v = x[n.feature]
	}
	if f.single {
		v = float64(float32(v))
	}
	if f.left(n, v) {
		return n.left
	}
	return n.right
}

func (f *Forest) left(n *node, v float64) bool {
	if v != v { // NaN
		if n.missing != MissingNone {
			return n.defaultLeft
		}
		v = 0
	}
	if n.missing == MissingZero && v >= -zero && v <= zero {
		return n.defaultLeft
	}
	switch n.op {
	case LessEqual:
		return v <= n.threshold
	case Less:
		return v < n.threshold
	case In:
		return f.has(n, v)
	default:
		return v < 0 || !f.has(n, v)
	}
}

// has tells whether v, cut to a whole number, is in the node's set.
func (f *Forest) has(n *node, v float64) bool {
	if !(v > -1 && v <= MaxCategory+1) {
		return false
	}
	c := int32(v)
	if c>>6 >= n.words {
		return false
	}
	return f.sets[n.set+c>>6]>>(c&63)&1 == 1
}

// calibrate along straight lines between points, flat beyond the ends.
func calibrate(points []Point, p float64) float64 {
	if len(points) == 0 {
		return p
	}
	i := sort.Search(len(points), func(i int) bool { return points[i].From >= p })
	switch {
	case i == 0:
		return points[0].To
	case i == len(points):
		return points[i-1].To
	}
	a, b := points[i-1], points[i]
	share := (p - a.From) / (b.From - a.From)
	return a.To + share*(b.To-a.To)
}
