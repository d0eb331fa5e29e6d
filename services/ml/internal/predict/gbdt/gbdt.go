// Package gbdt trains gradient-boosted trees for a probability: histograms of
// binned features, second-order logistic loss, trees grown best leaf first.
//
// The method is that of Friedman (2001) with the second-order gains of Chen &
// Guestrin (2016) and the histograms and leaf-wise growth of Ke et al. (2017).
// The same data, options and seed give the same trees on any machine: there is
// one thread, and sums are made in row order.
package gbdt

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Data is a table by column.
type Data struct {
	// Columns of equal length, one for each feature; NaN: missing.
	Columns [][]float64
	// Y is what happened, 0 or 1.
	Y []float64
	// W weighs rows; nil: all 1.
	W []float64
}

// Start is what boosting goes on from; nil: the mean.
type Start struct {
	Bias  float64
	Trees []Tree
}

// Options of a training.
type Options struct {
	// Start of the sum; its trees lead those of the result and are not counted.
	Start *Start
	// Trees at most.
	Trees int
	// Rate by which each tree is shrunk.
	Rate float64
	// Leaves of a tree at most.
	Leaves int
	// MinHessian is the least sum of w·p·(1−p) in a leaf.
	MinHessian float64
	// L2 penalty of leaf values.
	L2 float64
	// RowShare and FeatureShare are drawn anew for each tree.
	RowShare, FeatureShare float64
	// Monotone is 1, −1 or 0 for each feature; nil: no constraint. Missing values are outside
	// of it.
	Monotone []int
	// Patience is how many trees in a row may fail to lower the loss on the held-out
	// data before training stops; the trees after the best are then dropped. 0: all
	// trees are grown and kept.
	Patience int
	// Seed of the draws.
	Seed uint64
}

// Node of a tree. Leaves have Left 0: the root is no one's child.
type Node struct {
	// Feature and Threshold: values ≤ Threshold go left.
	Feature   int
	Threshold float64
	// MissingLeft is where missing values go.
	MissingLeft bool
	Left, Right int
	// Value of the node as if it were a leaf, log-odds.
	Value float64
	// Gain of the split, in units of the loss.
	Gain float64
	// Cover is the sum of the hessian that ended here in training.
	Cover float64
}

// Tree is its nodes, the root first.
type Tree []Node

// Ensemble is a trained sum of trees.
type Ensemble struct {
	// Bias is the log-odds without any tree.
	Bias  float64
	Trees []Tree
	// Features is how many there are.
	Features int
	// Started is how many of the trees, the first, are the start's.
	Started int
}

// Cut keeps the start and the first n trees that were grown.
func (e *Ensemble) Cut(n int) *Ensemble {
	cut := *e
	cut.Trees = e.Trees[:min(len(e.Trees), e.Started+n)]
	return &cut
}

// Average of ensembles: one whose score is the mean of theirs. By the convexity of the
// log-loss it does no worse than they do on average, and mostly better than each.
func Average(all []*Ensemble) *Ensemble {
	mean := &Ensemble{Features: all[0].Features}
	share := 1 / float64(len(all))
	for _, e := range all {
		mean.Bias += share * e.Bias
		for _, t := range e.Trees {
			t = slices.Clone(t)
			for i := range t {
				t[i].Value *= share
				t[i].Gain *= share
			}
			mean.Trees = append(mean.Trees, t)
		}
	}
	return mean
}

// Score of a row, log-odds.
func (e *Ensemble) Score(row []float64) float64 {
	sum := e.Bias
	for _, t := range e.Trees {
		sum += t.value(func(f int) float64 { return row[f] })
	}
	return sum
}

func (t Tree) value(feature func(int) float64) float64 {
	at := 0
	for t[at].Left != 0 {
		n := t[at]
		v := feature(n.Feature)
		if math.IsNaN(v) && n.MissingLeft || v <= n.Threshold {
			at = n.Left
		} else {
			at = n.Right
		}
	}
	return t[at].Value
}

// Importance is each feature's share of all gains; all zero if there was none.
func (e *Ensemble) Importance() []float64 {
	shares, sum := make([]float64, e.Features), 0.0
	for _, t := range e.Trees {
		for _, n := range t {
			if n.Left != 0 {
				shares[n.Feature] += n.Gain
				sum += n.Gain
			}
		}
	}
	for i := range shares {
		if sum > 0 {
			shares[i] /= sum
		}
	}
	return shares
}

// Sigmoid is the probability of log-odds.
func Sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Logit is the log-odds of a probability.
func Logit(p float64) float64 { return math.Log(p / (1 - p)) }

func (d *Data) check() error {
	if len(d.Columns) == 0 || len(d.Y) == 0 {
		return errors.New("no rows or no features")
	}
	for i, c := range d.Columns {
		if len(c) != len(d.Y) {
			return fmt.Errorf("feature %d has %d rows, want %d", i, len(c), len(d.Y))
		}
	}
	if d.W != nil && len(d.W) != len(d.Y) {
		return fmt.Errorf("%d weights for %d rows", len(d.W), len(d.Y))
	}
	for i, y := range d.Y {
		if y != 0 && y != 1 {
			return fmt.Errorf("row %d: y is %v, want 0 or 1", i, y)
		}
		if w := d.weight(i); !(w >= 0) || math.IsInf(w, 1) {
			return fmt.Errorf("row %d: weight %v", i, w)
		}
	}
	return nil
}

func (d *Data) weight(i int) float64 {
	if d.W == nil {
		return 1
	}
	return d.W[i]
}

// bias is the log-odds of the mean. Half an event each way keeps it finite.
func (d *Data) bias() float64 {
	yes, all := 0.5, 1.0
	for i, y := range d.Y {
		w := d.weight(i)
		yes, all = yes+w*y, all+w
	}
	return Logit(yes / all)
}

func (o *Options) check(features int) error {
	switch {
	case o.Trees < 1 || o.Leaves < 2 || !(o.Rate > 0):
		return errors.New("trees, leaves and rate must be at least 1, 2 and above 0")
	case !(o.RowShare > 0 && o.RowShare <= 1) || !(o.FeatureShare > 0 && o.FeatureShare <= 1):
		return errors.New("row and feature shares must be above 0 and up to 1")
	case !(o.L2 >= 0) || !(o.MinHessian >= 0):
		return errors.New("the L2 penalty and the least hessian must not be negative")
	case o.Monotone != nil && len(o.Monotone) != features:
		return fmt.Errorf("%d monotone constraints for %d features", len(o.Monotone), features)
	}
	return nil
}
