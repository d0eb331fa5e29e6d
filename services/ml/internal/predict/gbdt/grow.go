package gbdt

import "math"

// sums of derivatives over rows.
type sums struct{ g, h float64 }

func (a sums) plus(b sums) sums  { return sums{a.g + b.g, a.h + b.h} }
func (a sums) minus(b sums) sums { return sums{a.g - b.g, a.h - b.h} }

// leaf under growth.
type leaf struct {
	node  int
	rows  []int32
	total sums
	hist  []sums // feature × bin; nil once given back
	// least and most bound the value, from monotone splits above.
	least, most float64
	best        split
}

// split found for a leaf.
type split struct {
	gain        float64
	feature     int
	bin         int // bins 1..bin go left
	missingLeft bool
	left, right sums
}

// grow one tree, best leaf first.
func (t *trainer) grow() Tree {
	t.drawn = t.draw()
	t.splits = t.splits[:0]
	root := &leaf{rows: t.sample(), least: math.Inf(-1), most: math.Inf(1)}
	for _, i := range root.rows {
		root.total = root.total.plus(sums{t.grad[i], t.hess[i]})
	}
	t.fill(root)
	t.search(root)
	tree := Tree{{Value: t.value(root.total, root), Cover: root.total.h}}
	leaves := []*leaf{root}
	for len(leaves) < t.opts.Leaves {
		pick := -1
		for i, l := range leaves {
			if l.best.gain > 0 && (pick < 0 || l.best.gain > leaves[pick].best.gain) {
				pick = i
			}
		}
		if pick < 0 {
			break
		}
		left, right := t.part(&tree, leaves[pick])
		if len(leaves)+1 < t.opts.Leaves {
			t.search(left)
			t.search(right)
		}
		leaves[pick] = left
		leaves = append(leaves, right)
	}
	for _, l := range leaves {
		t.giveBack(l)
	}
	for i := range tree {
		tree[i].Value *= t.opts.Rate
	}
	return tree
}

// draw the features of a tree; at least one.
func (t *trainer) draw() []int {
	n := t.table.features
	take := max(1, int(math.Ceil(t.opts.FeatureShare*float64(n))))
	if take == n {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all
	}
	return t.rng.Perm(n)[:take]
}

// sample the rows of a tree.
func (t *trainer) sample() []int32 {
	rows := make([]int32, 0, len(t.grad))
	for i := range t.grad {
		if t.opts.RowShare >= 1 || t.rng.Float64() < t.opts.RowShare {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

const width = maxBins + 1

func (t *trainer) take() []sums {
	if n := len(t.pool); n > 0 {
		h := t.pool[n-1]
		t.pool = t.pool[:n-1]
		clear(h)
		return h
	}
	return make([]sums, t.table.features*width)
}

func (t *trainer) giveBack(l *leaf) {
	if l.hist != nil {
		t.pool = append(t.pool, l.hist)
		l.hist = nil
	}
}

// fill the histogram of a leaf. This loop is where training spends its time.
func (t *trainer) fill(l *leaf) {
	l.hist = t.take()
	for _, i := range l.rows {
		g, h := t.grad[i], t.hess[i]
		bins := t.table.row(i)
		for _, f := range t.drawn {
			s := &l.hist[f*width+int(bins[f])]
			s.g += g
			s.h += h
		}
	}
}

// value that lowers the loss most: −g ÷ (h + L2), within the leaf's bounds.
func (t *trainer) value(s sums, l *leaf) float64 {
	if s.h+t.opts.L2 == 0 {
		return min(max(0, l.least), l.most)
	}
	return min(max(-s.g/(s.h+t.opts.L2), l.least), l.most)
}

// worth is how much the loss falls, to second order, when the rows get value v.
func (t *trainer) worth(s sums, v float64) float64 { return -(s.g*v + (s.h+t.opts.L2)*v*v/2) }

// search the best split of a leaf over the features drawn.
func (t *trainer) search(l *leaf) {
	l.best = split{}
	base := t.worth(l.total, t.value(l.total, l))
	for _, f := range t.drawn {
		bins := l.hist[f*width : (f+1)*width]
		last := len(t.table.cuts[f]) + 1
		lacking := bins[missing]
		seen := sums{}
		for b := 1; b <= last; b++ {
			seen = seen.plus(bins[b])
			if b < last {
				t.try(l, base, split{feature: f, bin: b, left: seen, right: l.total.minus(seen)})
			}
			if lacking.h > 0 {
				left := seen.plus(lacking)
				if b < last {
					t.try(l, base, split{feature: f, bin: b, missingLeft: true, left: left, right: l.total.minus(left)})
				} else { // known left, missing right
					t.try(l, base, split{feature: f, bin: b, left: seen, right: l.total.minus(seen)})
				}
			}
		}
	}
}

// try a split, and keep it if it is better than the best so far.
func (t *trainer) try(l *leaf, base float64, s split) {
	if s.left.h < t.opts.MinHessian || s.right.h < t.opts.MinHessian || s.left.h <= 0 || s.right.h <= 0 {
		return
	}
	a, b := t.value(s.left, l), t.value(s.right, l)
	if t.opts.Monotone != nil && float64(t.opts.Monotone[s.feature])*(b-a) < 0 {
		return
	}
	// A gain must be more than what rounding makes of none.
	s.gain = t.worth(s.left, a) + t.worth(s.right, b) - base
	if s.gain > l.best.gain && s.gain > 1e-9*(1+math.Abs(base)) {
		l.best = s
	}
}

// part a leaf in two by its best split. The smaller child's histogram is counted,
// the larger one's is what remains of the parent's.
func (t *trainer) part(tree *Tree, l *leaf) (left, right *leaf) {
	s := l.best
	left = &leaf{node: len(*tree), total: s.left, least: l.least, most: l.most}
	right = &leaf{node: len(*tree) + 1, total: s.right, least: l.least, most: l.most}
	a, b := t.value(s.left, l), t.value(s.right, l)
	if t.opts.Monotone != nil && t.opts.Monotone[s.feature] != 0 {
		// Whatever is split below must not cross the middle.
		middle := (a + b) / 2
		if t.opts.Monotone[s.feature] > 0 {
			left.most, right.least = middle, middle
		} else {
			left.least, right.most = middle, middle
		}
	}
	t.divide(l, left, right)
	lacks := l.hist[s.feature*width+missing].h > 0
	n := &(*tree)[l.node]
	n.Feature, n.Threshold, n.Gain = s.feature, t.threshold(s), s.gain
	// What was never missing here goes with the larger part.
	n.MissingLeft = s.missingLeft || !lacks && s.left.h >= s.right.h
	n.Left, n.Right = left.node, right.node
	*tree = append(*tree, Node{Value: t.value(left.total, left), Cover: left.total.h}, Node{Value: t.value(right.total, right), Cover: right.total.h})
	small, large := left, right
	if len(right.rows) < len(left.rows) {
		small, large = right, left
	}
	t.fill(small)
	large.hist, l.hist = l.hist, nil
	t.subtract(large, small)
	t.splits = append(t.splits, place{node: l.node, bin: s.bin})
	return left, right
}

// subtract the smaller child, and what rounding leaves of empty bins.
func (t *trainer) subtract(large, small *leaf) {
	for _, f := range t.drawn {
		from, less := large.hist[f*width:(f+1)*width], small.hist[f*width:(f+1)*width]
		for i := range from {
			if from[i] = from[i].minus(less[i]); from[i].h < 1e-12 {
				from[i] = sums{}
			}
		}
	}
}

// place of a split: by bin, as the training rows are walked.
type place struct{ node, bin int }

// threshold of a split: between its bin and the next; after the last bin, above all.
func (t *trainer) threshold(s split) float64 {
	c := t.table.cuts[s.feature]
	if s.bin <= len(c) {
		return c[s.bin-1]
	}
	return math.MaxFloat64
}

func (t *trainer) divide(l, left, right *leaf) {
	s := l.best
	left.rows = make([]int32, 0, len(l.rows)/2)
	right.rows = make([]int32, 0, len(l.rows)/2)
	for _, i := range l.rows {
		b := int(t.table.row(i)[s.feature])
		if b == missing && s.missingLeft || b != missing && b <= s.bin {
			left.rows = append(left.rows, i)
		} else {
			right.rows = append(right.rows, i)
		}
	}
	l.rows = nil
}
