package forest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// New checks a Spec and makes a Forest of it, which shares no memory with it. An
// error is a *Refusal.
func New(s Spec) (*Forest, error) {
	if err := checkHead(&s); err != nil {
		return nil, err
	}
	nodes, leaves, err := count(s.Trees)
	if err != nil {
		return nil, err
	}
	f := &Forest{
		features: slices.Clone(s.Features), objective: s.Objective, sigmoid: s.Sigmoid, single: s.Float32, base: s.BaseMargin,
		calibration: slices.Clone(s.Calibration), metrics: maps.Clone(s.Metrics), notes: maps.Clone(s.Notes),
		nodes: make([]node, 0, nodes), means: make([]float64, nodes), leaves: make([]float64, 0, leaves),
		roots: make([]int32, 0, len(s.Trees)), weights: make([]float64, 0, len(s.Trees)),
	}
	if f.sigmoid == 0 {
		f.sigmoid = 1
	}
	steps := 0
	for i := range s.Trees {
		depth, err := f.add(&s.Trees[i], fmt.Sprintf("trees[%d]", i))
		if err != nil {
			return nil, err
		}
		f.depth = max(f.depth, depth)
		if steps += depth; steps > MaxSteps {
			return nil, refuse("trees", "their depths add up to more than %d: a prediction would take too long", MaxSteps)
		}
	}
	return f, nil
}

func checkHead(s *Spec) error {
	if s.Objective != Binary && s.Objective != Regression {
		return refuse("objective", "%s is not known; binary and regression are", quote(string(s.Objective)))
	}
	if err := CheckFeatures(s.Features); err != nil {
		return err
	}
	if !finite(s.Sigmoid) || s.Sigmoid < 0 || s.Sigmoid > 1e6 {
		return refuse("sigmoid", "must be above 0 and at most 1e6")
	}
	if !(math.Abs(s.BaseMargin) <= maxValue) {
		return refuse("base_margin", "must be finite and within ±%g", maxValue)
	}
	if err := checkCalibration(s); err != nil {
		return err
	}
	return checkNotes(s)
}

// CheckFeatures checks names: there are some, not too many, each once.
func CheckFeatures(names []string) error {
	if len(names) == 0 || len(names) > MaxFeatures {
		return refuse("features", "there are %d; must be 1 to %d", len(names), MaxFeatures)
	}
	seen := make(map[string]bool, len(names))
	for i, name := range names {
		field := fmt.Sprintf("features[%d]", i)
		switch {
		case name == "" || len(name) > MaxNameLength:
			return refuse(field, "a name must have 1 to %d bytes", MaxNameLength)
		case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
			return refuse(field, "a name must be plain text")
		case seen[name]:
			return refuse(field, "%s is there twice", quote(name))
		}
		seen[name] = true
	}
	return nil
}

func checkCalibration(s *Spec) error {
	if len(s.Calibration) > 0 && s.Objective != Binary {
		return refuse("calibration", "only probabilities are calibrated: the objective must be binary")
	}
	if len(s.Calibration) > MaxCalibration {
		return refuse("calibration", "there are %d points; must be at most %d", len(s.Calibration), MaxCalibration)
	}
	from, to := math.Inf(-1), 0.0
	for i, p := range s.Calibration {
		field := fmt.Sprintf("calibration[%d]", i)
		if !(p.From >= 0 && p.From <= 1 && p.To >= 0 && p.To <= 1) {
			return refuse(field, "must be two numbers from 0 to 1")
		}
		if p.From <= from || p.To < to {
			return refuse(field, "points must rise")
		}
		from, to = p.From, p.To
	}
	return nil
}

func checkNotes(s *Spec) error {
	if len(s.Metrics) > MaxNotes {
		return refuse("metrics", "there are %d; must be at most %d", len(s.Metrics), MaxNotes)
	}
	for name, value := range s.Metrics {
		if len(name) > MaxNoteLength || !utf8.ValidString(name) || !finite(value) {
			return refuse("metrics", "must be finite numbers with names of at most %d bytes", MaxNoteLength)
		}
	}
	if len(s.Notes) > MaxNotes {
		return refuse("notes", "there are %d; must be at most %d", len(s.Notes), MaxNotes)
	}
	for name, text := range s.Notes {
		if len(name) > MaxNoteLength || len(text) > MaxNoteLength || !utf8.ValidString(name) || !utf8.ValidString(text) {
			return refuse("notes", "names and texts must have at most %d bytes", MaxNoteLength)
		}
	}
	return nil
}

// count nodes and leaves before memory is taken for them.
func count(trees []Tree) (nodes, leaves int, err error) {
	if len(trees) == 0 || len(trees) > MaxTrees {
		return 0, 0, refuse("trees", "there are %d; must be 1 to %d", len(trees), MaxTrees)
	}
	for i := range trees {
		if len(trees[i].Leaves) != len(trees[i].Nodes)+1 {
			return 0, 0, refuse(fmt.Sprintf("trees[%d]", i), "%d nodes must have %d leaves, and there are %d",
				len(trees[i].Nodes), len(trees[i].Nodes)+1, len(trees[i].Leaves))
		}
		nodes += len(trees[i].Nodes)
		leaves += len(trees[i].Leaves)
		if nodes > MaxNodes {
			return 0, 0, refuse(fmt.Sprintf("trees[%d]", i), "more than %d nodes up to here", MaxNodes)
		}
	}
	return nodes, leaves, nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// quote text of a file for a message: short, and plain.
func quote(text string) string {
	const most = 40
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q", strings.ToValidUTF8(text, "?"))
}
