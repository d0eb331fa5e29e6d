package gbdt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Progress is the loss after each tree.
type Progress struct {
	// Train and Held are the mean log-losses; Held is empty without held-out data.
	Train, Held []float64
	// Best is how many trees had the least held-out loss.
	Best int
}

// trainer is one training under way.
type trainer struct {
	opts  Options
	table *binned
	data  *Data
	// grad and hess are the loss' derivatives by a row's score.
	grad, hess []float64
	scores     []float64
	rng        *rand.Rand
	pool       [][]sums
	// drawn are the features of the tree under growth, splits its splits so far.
	drawn  []int
	splits []place
}

// Train on data; held, if not nil, is later data that decides when to stop.
func Train(data, held *Data, opts Options) (*Ensemble, *Progress, error) {
	if err := data.check(); err != nil {
		return nil, nil, fmt.Errorf("checking the training data: %w", err)
	}
	if err := opts.check(len(data.Columns)); err != nil {
		return nil, nil, fmt.Errorf("checking the options: %w", err)
	}
	if held != nil {
		if err := held.check(); err != nil {
			return nil, nil, fmt.Errorf("checking the held-out data: %w", err)
		}
	}
	t := newTrainer(data, opts)
	e := &Ensemble{Bias: data.bias(), Features: len(data.Columns)}
	if opts.Start != nil {
		e.Bias, e.Trees = opts.Start.Bias, slices.Clone(opts.Start.Trees)
	}
	e.Started = len(e.Trees)
	start(t.scores, data, e)
	watch := newWatch(held, e)
	progress := &Progress{}
	best, bestLoss := 0, watch.loss()
	for n := 1; n <= opts.Trees; n++ {
		t.derive()
		tree := t.grow()
		e.Trees = append(e.Trees, tree)
		t.apply(tree)
		progress.Train = append(progress.Train, logLoss(data, t.scores))
		if held == nil {
			best = n
			continue
		}
		watch.add(tree)
		loss := watch.loss()
		progress.Held = append(progress.Held, loss)
		if loss < bestLoss {
			best, bestLoss = n, loss
		} else if opts.Patience > 0 && n-best >= opts.Patience {
			break
		}
	}
	progress.Best = best
	if opts.Patience > 0 {
		e = e.Cut(best)
	}
	return e, progress, nil
}

func newTrainer(data *Data, opts Options) *trainer {
	all := make([]cuts, len(data.Columns))
	for f, column := range data.Columns {
		all[f] = newCuts(column)
	}
	n := len(data.Y)
	return &trainer{
		opts: opts, table: newBinned(data.Columns, all), data: data,
		grad: make([]float64, n), hess: make([]float64, n), scores: make([]float64, n),
		rng: rand.New(rand.NewPCG(opts.Seed, 0x9e3779b97f4a7c15)),
	}
}

// derive the log-loss: gradient w(p−y), hessian w·p(1−p).
func (t *trainer) derive() {
	for i, y := range t.data.Y {
		p, w := Sigmoid(t.scores[i]), t.data.weight(i)
		t.grad[i], t.hess[i] = w*(p-y), w*p*(1-p)
	}
}

// apply a tree to all rows, which are walked by their bins.
func (t *trainer) apply(tree Tree) {
	bins := make([]int, len(tree))
	for _, s := range t.splits {
		bins[s.node] = s.bin
	}
	for i := range t.scores {
		row := t.table.row(int32(i))
		at := 0
		for tree[at].Left != 0 {
			n := &tree[at]
			if b := int(row[n.Feature]); b == missing && n.MissingLeft || b != missing && b <= bins[at] {
				at = n.Left
			} else {
				at = n.Right
			}
		}
		t.scores[i] += tree[at].Value
	}
}

// watch keeps the score of the held-out rows.
type watch struct {
	held   *Data
	scores []float64
}

func newWatch(held *Data, e *Ensemble) *watch {
	w := &watch{held: held}
	if held != nil {
		w.scores = make([]float64, len(held.Y))
		start(w.scores, held, e)
	}
	return w
}

// start scores with what there is before the first tree is grown.
func start(scores []float64, d *Data, e *Ensemble) {
	for i := range scores {
		scores[i] = e.Bias
		for _, tree := range e.Trees {
			scores[i] += tree.value(func(f int) float64 { return d.Columns[f][i] })
		}
	}
}

func (w *watch) add(tree Tree) {
	for i := range w.scores {
		w.scores[i] += tree.value(func(f int) float64 { return w.held.Columns[f][i] })
	}
}

func (w *watch) loss() float64 {
	if w.held == nil {
		return 0
	}
	return logLoss(w.held, w.scores)
}

// logLoss is the mean of −log of the probability given to what happened.
func logLoss(d *Data, scores []float64) float64 {
	sum, all := 0.0, 0.0
	for i, y := range d.Y {
		x := scores[i]
		if y == 1 {
			x = -x
		}
		w := d.weight(i)
		// log(1+eˣ) without running over.
		sum += w * (math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))))
		all += w
	}
	return sum / all
}
