package forest

import (
	"fmt"
	"math"
)

// add a tree; field names it in refusals. Returns its depth.
func (f *Forest) add(t *Tree, field string) (int, error) {
	weight := t.Weight
	if weight == 0 {
		weight = 1
	}
	if !finite(weight) {
		return 0, refuse(field+".weight", "must be finite")
	}
	a := adder{forest: f, tree: t, field: field, node: int32(len(f.nodes)), leaf: int32(len(f.leaves))}
	for i, leaf := range t.Leaves {
		if !(math.Abs(leaf.Value) <= maxValue && math.Abs(leaf.Value*weight) <= maxValue) {
			return 0, refuse(fmt.Sprintf("%s.leaves[%d].value", field, i), "must be finite and within ±%g", maxValue)
		}
		if !(leaf.Cover >= 0 && leaf.Cover <= math.MaxFloat64) {
			return 0, refuse(fmt.Sprintf("%s.leaves[%d].cover", field, i), "must be finite and not negative")
		}
		f.leaves = append(f.leaves, leaf.Value)
	}
	for i := range t.Nodes {
		if err := a.append(i); err != nil {
			return 0, err
		}
	}
	f.weights = append(f.weights, weight)
	if len(t.Nodes) == 0 {
		f.roots = append(f.roots, ^a.leaf)
		return 0, nil
	}
	f.roots = append(f.roots, a.node)
	depth, order, err := a.order()
	if err != nil {
		return 0, err
	}
	a.average(order)
	return depth, nil
}

// adder puts one tree into a forest.
type adder struct {
	forest     *Forest
	tree       *Tree
	field      string
	node, leaf int32 // where its nodes and leaves begin
}

func (a *adder) append(i int) error {
	n := &a.tree.Nodes[i]
	at := func(name string) string { return fmt.Sprintf("%s.nodes[%d].%s", a.field, i, name) }
	made := node{
		threshold: n.Threshold, feature: int32(n.Feature), op: n.Op, missing: n.Missing, defaultLeft: n.DefaultLeft,
	}
	switch {
	case n.Feature < 0 || n.Feature >= len(a.forest.features):
		return refuse(at("feature"), "%d is not one of the %d features", n.Feature, len(a.forest.features))
	case n.Op > NotIn:
		return refuse(at("op"), "is not known")
	case n.Missing > MissingNone:
		return refuse(at("missing"), "is not known")
	case n.Op < In && !finite(n.Threshold):
		return refuse(at("threshold"), "must be finite")
	case n.Op >= In:
		if err := a.set(&made, n.Set, at("set")); err != nil {
			return err
		}
	}
	for _, c := range [2]int{n.Left, n.Right} {
		if c >= len(a.tree.Nodes) || c < -len(a.tree.Leaves) {
			return refuse(at("left or right"), "%d is neither one of the %d nodes nor −1−i of one of the %d leaves",
				c, len(a.tree.Nodes), len(a.tree.Leaves))
		}
	}
	made.left, made.right = a.child(n.Left), a.child(n.Right)
	a.forest.nodes = append(a.forest.nodes, made)
	return nil
}

func (a *adder) child(c int) int32 {
	if c < 0 {
		return ^(a.leaf + int32(-1-c))
	}
	return a.node + int32(c)
}

// set of categories as bits, just as long as its largest needs.
func (a *adder) set(n *node, categories []uint16, field string) error {
	words := 0
	for _, c := range categories {
		words = max(words, int(c)/64+1)
	}
	if len(a.forest.sets)+words > MaxSetWords {
		return refuse(field, "the sets of categories are too large together")
	}
	n.threshold, n.set, n.words = 0, int32(len(a.forest.sets)), int32(words)
	a.forest.sets = append(a.forest.sets, make([]uint64, words)...)
	bits := a.forest.sets[n.set:]
	for _, c := range categories {
		bits[c>>6] |= 1 << (c & 63)
	}
	return nil
}

// order walks the tree from its root: each node and leaf must be reached, and
// reached once, or it is no tree. Returns the depth, and the nodes with parents
// before children.
func (a *adder) order() (int, []int32, error) {
	nodes := a.forest.nodes[a.node:]
	reached := make([]bool, len(nodes)+len(a.tree.Leaves))
	depths := make([]int32, len(nodes))
	order := make([]int32, 1, len(nodes))
	reached[0], depths[0] = true, 1
	deepest := int32(1)
	for next := 0; next < len(order); next++ {
		n := &nodes[order[next]]
		for _, child := range [2]int32{n.left, n.right} {
			slot := child - a.node
			if child < 0 {
				slot = int32(len(nodes)) + ^child - a.leaf
			}
			if reached[slot] {
				return 0, nil, refuse(fmt.Sprintf("%s.nodes[%d]", a.field, order[next]), "leads to %s, which is reached twice: a cycle or a shared child",
					a.name(child))
			}
			reached[slot] = true
			if child < 0 {
				continue
			}
			depths[slot] = depths[order[next]] + 1
			if deepest = max(deepest, depths[slot]); deepest > MaxDepth {
				return 0, nil, refuse(a.field, "is deeper than %d nodes", MaxDepth)
			}
			order = append(order, slot)
		}
	}
	if len(order) != len(nodes) { // a leaf left out means a node left out
		return 0, nil, refuse(a.field, "%d of its %d nodes are not reached from the root", len(nodes)-len(order), len(nodes))
	}
	return int(deepest), order, nil
}

func (a *adder) name(child int32) string {
	if child < 0 {
		return fmt.Sprintf("leaf %d", ^child-a.leaf)
	}
	return fmt.Sprintf("node %d", child-a.node)
}

// average fills the nodes' means, children first.
func (a *adder) average(order []int32) {
	covers := make([]float64, len(order))
	of := func(child int32) (mean, cover float64) {
		if child < 0 {
			return a.forest.leaves[^child], a.tree.Leaves[^child-a.leaf].Cover
		}
		return a.forest.means[child], covers[child-a.node]
	}
	for k := len(order) - 1; k >= 0; k-- {
		n := &a.forest.nodes[a.node+order[k]]
		left, leftCover := of(n.left)
		right, rightCover := of(n.right)
		share := 0.5
		if sum := leftCover + rightCover; sum > 0 && !math.IsInf(sum, 0) {
			share = leftCover / sum
			covers[order[k]] = sum
		}
		a.forest.means[a.node+order[k]] = share*left + (1-share)*right
	}
}
