package forest

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// lgbFields are the keys that a tree may have. The last line's belong to linear
// trees, which are refused by is_linear; the one before changes nothing.
var lgbFields = map[string]bool{
	"num_leaves": true, "num_cat": true, "split_feature": true, "threshold": true, "decision_type": true, "left_child": true,
	"right_child": true, "leaf_value": true, "leaf_count": true, "cat_boundaries": true, "cat_threshold": true, "is_linear": true,
	"split_gain": true, "leaf_weight": true, "internal_value": true, "internal_weight": true, "internal_count": true, "shrinkage": true,
	"leaf_const": true, "num_features": true, "leaf_features": true, "leaf_coeff": true,
}

// Bits of decision_type.
const (
	lgbCategorical = 1
	lgbDefaultLeft = 2
	lgbMissing     = 2 // shift
)

// readTrees, the line in hand being the first one's "Tree=0".
func (r *lgbReader) readTrees() error {
	sizes := strings.Fields(r.header["tree_sizes"])
	for string(r.line) != "end of trees" {
		i := len(r.spec.Trees)
		if string(r.line) != fmt.Sprintf("Tree=%d", i) {
			return r.refuse("Tree", "must be Tree=%d, and is %s", i, quote(string(r.line)))
		}
		if i >= MaxTrees {
			return r.refuse("Tree", "there are more than %d", MaxTrees)
		}
		begin := r.size
		tree, err := r.readTree(i)
		if err != nil {
			return err
		}
		// LightGBM itself finds the trees by these.
		if size := fmt.Sprint(r.size - begin); i >= len(sizes) || sizes[i] != size {
			return r.refuse("tree_sizes", "do not say that tree %d has %s bytes: the file was changed or cut", i, size)
		}
		r.spec.Trees = append(r.spec.Trees, tree)
	}
	if len(sizes) != len(r.spec.Trees) {
		return r.refuse("tree_sizes", "speak of %d trees, and there are %d", len(sizes), len(r.spec.Trees))
	}
	return nil
}

// lgbTree is the text of one tree by key, and where each was.
type lgbTree struct {
	*lgbReader
	index  int
	values map[string][]byte
	lines  map[string]int
}

// readTree up to the line that begins what follows it.
func (r *lgbReader) readTree(i int) (Tree, error) {
	t := lgbTree{lgbReader: r, index: i, values: map[string][]byte{}, lines: map[string]int{}}
	for r.next() {
		if bytes.HasPrefix(r.line, []byte("Tree=")) || string(r.line) == "end of trees" {
			return t.build()
		}
		if len(r.line) == 0 {
			continue
		}
		key, _, found := strings.Cut(string(r.line[:min(len(r.line), 32)]), "=")
		if !found || !lgbFields[key] {
			return Tree{}, t.refuse(short(key), "is not known: it might change what the tree means")
		}
		if _, twice := t.lines[key]; twice {
			return Tree{}, t.refuse(key, "the key is repeated")
		}
		t.values[key], t.lines[key] = r.line[len(key)+1:], r.at
	}
	return Tree{}, r.cutOff()
}

// refuse one of the tree's fields, naming its line where it has one.
func (t *lgbTree) refuse(field, reason string, args ...any) error {
	line := t.at
	if at, ok := t.lines[field]; ok {
		line = at
	}
	return &Refusal{
		Field: fmt.Sprintf("Tree=%d %s", t.index, field), At: fmt.Sprintf("line %d", line), Reason: fmt.Sprintf(reason, args...),
	}
}

func (t *lgbTree) build() (Tree, error) {
	count, err := t.one("num_leaves", 1, MaxNodes+1)
	if err != nil {
		return Tree{}, err
	}
	if t.nodes += count - 1; t.nodes > MaxNodes {
		return Tree{}, t.refuse("num_leaves", "more than %d nodes up to here", MaxNodes)
	}
	if linear := string(t.values["is_linear"]); linear != "" && linear != "0" {
		return Tree{}, t.refuse("is_linear", "trees with a linear model in each leaf are not supported")
	}
	tree := Tree{Leaves: make([]Leaf, 0, min(count, len(t.values["leaf_value"])))}
	err = t.each("leaf_value", count, func(_ int, word []byte) error {
		value, err := float(word)
		tree.Leaves = append(tree.Leaves, Leaf{Value: value})
		return err
	})
	if err != nil || count == 1 {
		return tree, err
	}
	if t.values["leaf_count"] != nil {
		err = t.each("leaf_count", count, func(i int, word []byte) (err error) {
			tree.Leaves[i].Cover, err = float(word)
			return err
		})
		if err != nil {
			return Tree{}, err
		}
	}
	tree.Nodes, err = t.splits(count - 1)
	return tree, err
}

func (t *lgbTree) splits(count int) ([]Node, error) {
	// The text is looked at first: a count without words takes no memory.
	if len(t.values["split_feature"]) < 2*count-1 {
		return nil, t.refuse("split_feature", "must have %d entries", count)
	}
	sets, err := t.sets()
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, count)
	read := func(key string, take func(n *Node, word []byte) error) {
		if err == nil {
			err = t.each(key, count, func(i int, word []byte) error { return take(&nodes[i], word) })
		}
	}
	read("split_feature", func(n *Node, word []byte) (err error) { n.Feature, err = integer(word); return err })
	read("threshold", threshold)
	read("left_child", func(n *Node, word []byte) (err error) { n.Left, err = integer(word); return err })
	read("right_child", func(n *Node, word []byte) (err error) { n.Right, err = integer(word); return err })
	read("decision_type", func(n *Node, word []byte) error { return decide(n, word, sets) })
	return nodes, err
}

// threshold of a node. LightGBM writes inf where it only parts missing values from
// all others: that is a set without categories, of which no value is one.
func threshold(n *Node, word []byte) (err error) {
	if string(word) == "inf" {
		n.Op = NotIn
		return nil
	}
	n.Op = LessEqual
	n.Threshold, err = float(word)
	return err
}

// decide what a node's decision_type says of it.
func decide(n *Node, word []byte, sets [][]uint16) error {
	kind, err := integer(word)
	if err != nil {
		return err
	}
	if kind < 0 || kind > 15 || kind>>lgbMissing == 3 {
		return errors.New("is not known")
	}
	if kind&lgbCategorical == 0 {
		n.DefaultLeft = kind&lgbDefaultLeft != 0
		n.Missing = []Missing{MissingNone, MissingZero, MissingNaN}[kind>>lgbMissing]
		return nil
	}
	// The threshold is the number of the set; NaN always goes right.
	at := int(n.Threshold)
	if n.Op == NotIn || float64(at) != n.Threshold || at < 0 || at >= len(sets) {
		return fmt.Errorf("its threshold must be one of %d sets of categories", len(sets))
	}
	n.Op, n.Missing, n.Set, n.Threshold = In, MissingNaN, sets[at], 0
	return nil
}

// sets of categories, as bits in 32-bit words between cat_boundaries.
func (t *lgbTree) sets() ([][]uint16, error) {
	if text := string(t.values["num_cat"]); text == "" || text == "0" {
		return nil, nil
	}
	count, err := t.one("num_cat", 0, MaxNodes)
	if err != nil {
		return nil, err
	}
	ends, err := t.boundaries(count + 1)
	if err != nil {
		return nil, err
	}
	if t.words += ends[count]; t.words > 2*MaxSetWords {
		return nil, t.refuse("cat_boundaries", "the sets of categories are too large together")
	}
	sets, at := make([][]uint16, count), 0
	err = t.each("cat_threshold", ends[count], func(i int, word []byte) (err error) {
		for ends[at+1] <= i {
			at++
		}
		sets[at], err = t.unpack(sets[at], (i-ends[at])*32, word)
		return err
	})
	return sets, err
}

// boundaries of the sets, in words: from 0, rising by no more than a set may hold.
func (t *lgbTree) boundaries(count int) ([]int, error) {
	const most = (MaxCategory + 1) / 32
	ends := make([]int, 0, min(count, len(t.values["cat_boundaries"])))
	err := t.each("cat_boundaries", count, func(i int, word []byte) error {
		end, err := integer(word)
		if err != nil {
			return err
		}
		before := 0
		if i > 0 {
			before = ends[i-1]
		}
		if end < before || end-before > most || i == 0 && end != 0 {
			return fmt.Errorf("must begin with 0 and rise, by at most %d", most)
		}
		ends = append(ends, end)
		return nil
	})
	return ends, err
}

// unpack a word's bits as categories from first on.
func (t *lgbTree) unpack(set []uint16, first int, word []byte) ([]uint16, error) {
	mask, err := strconv.ParseUint(string(word[:min(len(word), maxDigits)]), 10, 32)
	if err != nil {
		return nil, errors.New("must be a whole number of 32 bits")
	}
	if t.categories += bits.OnesCount64(mask); t.categories > MaxCategories {
		return nil, fmt.Errorf("more than %d categories up to here", MaxCategories)
	}
	for ; mask != 0; mask &= mask - 1 {
		set = append(set, uint16(first+bits.TrailingZeros64(mask)))
	}
	return set, nil
}

// one whole number.
func (t *lgbTree) one(key string, least, most int) (int, error) {
	n, err := integer(t.values[key])
	if err != nil || n < least || n > most {
		return 0, t.refuse(key, "is %s and must be %d to %d", quote(string(t.values[key][:min(64, len(t.values[key]))])), least, most)
	}
	return n, nil
}

// each word of a list that must have count of them.
func (t *lgbTree) each(key string, count int, take func(i int, word []byte) error) error {
	rest, i := t.values[key], 0
	for ; len(rest) > 0; i++ {
		if i >= count {
			return t.refuse(key, "must have %d entries, and has more", count)
		}
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte(" "))
		if err := take(i, word); err != nil {
			return t.refuse(key, "entry %d, %s: %s", i, quote(string(word[:min(64, len(word))])), err)
		}
	}
	if i != count {
		return t.refuse(key, "must have %d entries, and has %d", count, i)
	}
	return nil
}

func integer(word []byte) (int, error) {
	if len(word) > maxDigits {
		return 0, errors.New("must be a whole number")
	}
	n, err := strconv.ParseInt(string(word), 10, 32)
	if err != nil {
		return 0, errors.New("must be a whole number")
	}
	return int(n), nil
}

// float is finite.
func float(word []byte) (float64, error) {
	if len(word) > maxDigits {
		return 0, errors.New("must be a finite number")
	}
	v, err := strconv.ParseFloat(string(word), 64)
	if err != nil || !finite(v) {
		return 0, errors.New("must be a finite number")
	}
	return v, nil
}
