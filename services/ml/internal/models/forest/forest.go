// Package forest is the one evaluated form of gradient-boosted trees, whoever
// trained them: our own trainer, LightGBM or XGBoost.
//
// A Spec is the plain form that trainers build and files hold; New checks it and
// makes a Forest of it, which answers for any input without allocating. Files are
// hostile until proven otherwise: Parse reads them within the limits of limits.go
// and says what it refuses, and where.
package forest

import "slices"

// Objective is what the margin means.
type Objective string

// Objectives that are known; files with others are refused.
const (
	// Binary: the logistic function of the margin is a probability.
	Binary Objective = "binary"
	// Regression: the margin is the answer.
	Regression Objective = "regression"
)

// Op is how a node's question reads; yes goes left.
type Op uint8

// Questions.
const (
	// LessEqual: x ≤ threshold, as LightGBM asks.
	LessEqual Op = iota
	// Less: x < threshold, as XGBoost asks.
	Less
	// In: x, cut to a whole number, is in the set, as LightGBM asks.
	In
	// NotIn: x is negative or, cut to a whole number, not in the set, as XGBoost asks.
	NotIn
)

// Missing says which values take a node's default direction instead of being
// asked about.
type Missing uint8

// Ways to treat missing values.
const (
	// MissingNaN: NaN is missing.
	MissingNaN Missing = iota
	// MissingZero: NaN and zero (|x| ≤ 1e-35, as LightGBM has it) are missing.
	MissingZero
	// MissingNone: nothing is; NaN counts as zero.
	MissingNone
)

// Spec describes a model.
type Spec struct {
	// Features by name; Node.Feature is an index into them.
	Features  []string
	Objective Objective
	// Sigmoid scales the margin before the logistic function; 0: 1.
	Sigmoid float64
	// Float32: inputs are rounded to float32 and leaves summed in float32, as in
	// XGBoost. Else everything is float64.
	Float32 bool
	// BaseMargin is where the sum begins.
	BaseMargin float64
	Trees      []Tree
	// Calibration maps the logistic function's value to the probability that is
	// answered, by straight lines between points; empty: none. Binary only.
	Calibration []Point
	// Metrics as the trainer measured them, by name: auc, brier, …
	Metrics map[string]float64
	// Notes of the trainer: trained_at, data, …
	Notes map[string]string
}

// Point of a calibration: From what the trees say To what is answered.
type Point struct{ From, To float64 }

// Tree of a Spec. Without nodes it is its one leaf.
type Tree struct {
	// Weight the leaf's value is multiplied by; 0: 1.
	Weight float64
	// Nodes; the first is the root.
	Nodes []Node
	// Leaves; one more than nodes.
	Leaves []Leaf
}

// Node asks about one feature.
type Node struct {
	Feature int
	Op      Op
	// Threshold of LessEqual and Less.
	Threshold float64
	// Set of In and NotIn: categories, 0 to MaxCategory.
	Set         []uint16
	Missing     Missing
	DefaultLeft bool
	// Left and Right are indices of nodes, or −1−i for leaf i.
	Left, Right int
}

// Leaf ends a path.
type Leaf struct {
	// Value added to the margin.
	Value float64
	// Cover is how much training data ended here, by count or hessian. It weighs
	// explanations alone; where it is 0 throughout, siblings count alike.
	Cover float64
}

// Forest is a checked model, ready to be evaluated by many goroutines at once.
type Forest struct {
	features    []string
	objective   Objective
	sigmoid     float64
	single      bool
	base        float64
	calibration []Point
	metrics     map[string]float64
	notes       map[string]string

	nodes   []node
	means   []float64 // of each node: its leaves' values, weighted by cover
	leaves  []float64
	roots   []int32 // a node, or ^leaf
	weights []float64
	sets    []uint64
	depth   int
}

// node is 40 bytes; children are nodes, or ^leaf.
type node struct {
	threshold   float64
	left, right int32
	feature     int32
	set, words  int32 // where its set lies in sets
	op          Op
	missing     Missing
	defaultLeft bool
}

// Features by name, in the order of the input. Not to be changed.
func (f *Forest) Features() []string { return f.features }

// Objective of the model.
func (f *Forest) Objective() Objective { return f.objective }

// Metrics as the trainer measured them. Not to be changed.
func (f *Forest) Metrics() map[string]float64 { return f.metrics }

// Notes of the trainer. Not to be changed.
func (f *Forest) Notes() map[string]string { return f.notes }

// Size of the model: trees, nodes and leaves of all, and the longest path in nodes.
func (f *Forest) Size() (trees, nodes, leaves, depth int) {
	return len(f.roots), len(f.nodes), len(f.leaves), f.depth
}

// Unpublished are the features that are not among those published. One that no node
// asks about counts too: what a model was trained on tells what it believes it sees.
func (f *Forest) Unpublished(published []string) []string {
	var missing []string
	for _, name := range f.features {
		if !slices.Contains(published, name) {
			missing = append(missing, name)
		}
	}
	return missing
}
