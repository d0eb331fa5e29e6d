package forest

import (
	"encoding/json"
	"math"
)

// xgbTree is one tree as XGBoost writes it: a list for each field, leaves among
// the nodes, a leaf's value in split_conditions.
type xgbTree struct {
	left, right, feature []int32
	condition, hessian   []float32
	defaultLeft          []bool
	categorical          []bool
	count, deleted       int

	categories                     []uint16
	catNodes, catStarts, catCounts []int32
}

// most nodes, leaves among them, that a tree of XGBoost may have here.
const mostRaw = 2*MaxNodes + 1

func (r *xgbReader) tree() (Tree, error) {
	t := xgbTree{count: -1}
	err := r.object(func(key string) error { return r.treeField(&t, key) })
	if err != nil {
		return Tree{}, err
	}
	r.raw += t.count
	r.listed += len(t.categories)
	return r.convert(&t)
}

func (r *xgbReader) treeField(t *xgbTree, key string) (err error) {
	most := mostRaw - r.raw
	switch key {
	case "left_children":
		t.left, err = list(r.walker, most, r.child)
	case "right_children":
		t.right, err = list(r.walker, most, r.child)
	case "split_indices":
		t.feature, err = list(r.walker, most, r.index)
	case "split_conditions":
		t.condition, err = list(r.walker, most, r.conditionOf)
	case "default_left":
		t.defaultLeft, err = list(r.walker, most, r.flag)
	case "sum_hessian":
		t.hessian, err = list(r.walker, most, r.float32)
	case "tree_param":
		err = r.object(func(key string) error { return r.treeParam(t, key) })
	case "base_weights", "loss_changes", "parents", "id": // of training
		err = r.skip()
	default:
		err = r.categoryField(t, key)
	}
	return err
}

func (r *xgbReader) categoryField(t *xgbTree, key string) (err error) {
	most := mostRaw - r.raw
	switch key {
	case "split_type":
		t.categorical, err = list(r.walker, most, r.flag)
	case "categories":
		t.categories, err = list(r.walker, MaxCategories-r.listed, func() (uint16, error) {
			c, err := r.whole(0, MaxCategory)
			return uint16(c), err
		})
	case "categories_nodes":
		t.catNodes, err = list(r.walker, most, r.index)
	case "categories_segments":
		t.catStarts, err = list(r.walker, most, r.index)
	case "categories_sizes":
		t.catCounts, err = list(r.walker, most, r.index)
	default:
		err = r.unknown()
	}
	return err
}

func (r *xgbReader) treeParam(t *xgbTree, key string) (err error) {
	switch key {
	case "num_nodes":
		t.count, err = r.wholeText(1, mostRaw-r.raw)
	case "num_deleted":
		t.deleted, err = r.wholeText(0, mostRaw)
	case "size_leaf_vector":
		_, err = r.wholeText(0, 1)
	case "num_feature", "num_roots", "max_depth":
		_, err = r.text()
	default:
		err = r.unknown()
	}
	return err
}

func (r *xgbReader) child() (int32, error) {
	n, err := r.whole(-1, mostRaw)
	return int32(n), err
}

func (r *xgbReader) index() (int32, error) {
	n, err := r.whole(0, 1<<31-1)
	return int32(n), err
}

// conditionOf a node; NaN, see nanAsText, is refused later where it counts.
func (r *xgbReader) conditionOf() (float32, error) {
	token, err := r.token()
	if err != nil {
		return 0, err
	}
	switch v := token.(type) {
	case json.Number:
		number, err := r.parse(string(v), 32)
		return float32(number), err
	case string:
		if `"`+v+`"` == notNumber {
			return float32(math.NaN()), nil
		}
	}
	return 0, r.refuse("must be a number")
}

func (r *xgbReader) float32() (float32, error) {
	digits, err := r.digits()
	if err != nil {
		return 0, err
	}
	v, err := r.parse(digits, 32)
	return float32(v), err
}

// convert to nodes and leaves, walking from the root; each node may be reached
// once, and all but the deleted ones must be.
func (r *xgbReader) convert(t *xgbTree) (Tree, error) {
	if err := r.checkLengths(t); err != nil {
		return Tree{}, err
	}
	sets, err := r.sets(t)
	if err != nil {
		return Tree{}, err
	}
	var made Tree
	slots := make([]int, t.count) // a node's place in made: as a child is named
	reached := make([]bool, t.count)
	reached[0] = true
	queue := make([]int32, 1, t.count)
	for next := 0; next < len(queue); next++ {
		at := queue[next]
		left, right := t.left[at], t.right[at]
		if left < 0 && right < 0 {
			slots[at] = -1 - len(made.Leaves)
			made.Leaves = append(made.Leaves, Leaf{Value: float64(t.condition[at]), Cover: t.cover(at)})
			continue
		}
		for _, child := range [2]int32{left, right} {
			if child < 0 || int(child) >= t.count {
				return Tree{}, r.refuse("node %d leads to %d, which is not one of the %d nodes", at, child, t.count)
			}
			if reached[child] {
				return Tree{}, r.refuse("node %d leads to %d, which is reached twice: a cycle or a shared child", at, child)
			}
			reached[child] = true
			queue = append(queue, child)
		}
		slots[at] = len(made.Nodes)
		made.Nodes = append(made.Nodes, t.node(at, sets))
	}
	if lost := t.count - len(queue); lost != t.deleted {
		return Tree{}, r.refuse("%d of its %d nodes are not reached from the root, and num_deleted is %d", lost, t.count, t.deleted)
	}
	for i := range made.Nodes {
		made.Nodes[i].Left, made.Nodes[i].Right = slots[made.Nodes[i].Left], slots[made.Nodes[i].Right]
	}
	return made, nil
}

// node with its children still in XGBoost's numbers.
func (t *xgbTree) node(at int32, sets map[int32][]uint16) Node {
	n := Node{
		Feature: int(t.feature[at]), Op: Less, Threshold: float64(t.condition[at]), Missing: MissingNaN, DefaultLeft: t.defaultLeft[at],
		Left: int(t.left[at]), Right: int(t.right[at]),
	}
	if t.categorical != nil && t.categorical[at] {
		n.Op, n.Threshold, n.Set = NotIn, 0, sets[at]
	}
	return n
}

func (t *xgbTree) cover(at int32) float64 {
	if t.hessian == nil || !(t.hessian[at] > 0) {
		return 0
	}
	return float64(t.hessian[at])
}

func (r *xgbReader) checkLengths(t *xgbTree) error {
	if t.count < 1 {
		return r.refuse("tree_param.num_nodes is missing")
	}
	for _, f := range []struct {
		name     string
		length   int
		optional bool
	}{
		{"left_children", len(t.left), false},
		{"right_children", len(t.right), false},
		{"split_indices", len(t.feature), false},
		{"split_conditions", len(t.condition), false},
		{"default_left", len(t.defaultLeft), false},
		{"sum_hessian", len(t.hessian), t.hessian == nil},
		{"split_type", len(t.categorical), t.categorical == nil},
	} {
		if f.length != t.count && !f.optional {
			return r.refuse("%s has %d entries, and num_nodes is %d", f.name, f.length, t.count)
		}
	}
	return nil
}

// sets of categories by node.
func (r *xgbReader) sets(t *xgbTree) (map[int32][]uint16, error) {
	if len(t.catNodes) != len(t.catStarts) || len(t.catNodes) != len(t.catCounts) {
		return nil, r.refuse("categories_nodes, _segments and _sizes must be equally long")
	}
	sets := make(map[int32][]uint16, len(t.catNodes))
	used := 0
	for i, node := range t.catNodes {
		start, size := int(t.catStarts[i]), int(t.catCounts[i])
		if used += size; start+size > len(t.categories) || used > len(t.categories) {
			return nil, r.refuse("categories_segments[%d] is beyond the %d categories", i, len(t.categories))
		}
		if _, twice := sets[node]; twice || int(node) >= t.count {
			return nil, r.refuse("categories_nodes[%d]: %d is repeated or not one of the %d nodes", i, node, t.count)
		}
		sets[node] = t.categories[start : start+size]
	}
	for at, is := range t.categorical {
		if _, has := sets[int32(at)]; is && !has && t.left[at] >= 0 {
			return nil, r.refuse("node %d asks for a category and has none", at)
		}
	}
	return sets, nil
}
