package forest_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// small is a good Spec of two trees.
func small() forest.Spec {
	return forest.Spec{
		Features: []string{"age", "price"}, Objective: forest.Binary, BaseMargin: -1,
		Trees: []forest.Tree{
			{
				Nodes: []forest.Node{
					{Feature: 0, Op: forest.Less, Threshold: 2, DefaultLeft: true, Left: -1, Right: 1},
					{Feature: 1, Op: forest.In, Set: []uint16{1, 70}, Left: -2, Right: -3},
				},
				Leaves: []forest.Leaf{{Value: 1, Cover: 30}, {Value: 2, Cover: 5}, {Value: 4, Cover: 5}},
			},
			{Weight: 0.5, Leaves: []forest.Leaf{{Value: 3}}},
		},
	}
}

func TestASmallForestByHand(t *testing.T) {
	f, err := forest.New(small())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		x    []float64
		want float64
	}{
		{[]float64{1, 0}, -1 + 1 + 1.5},
		{[]float64{2, 70}, -1 + 2 + 1.5},
		{[]float64{2, 71}, -1 + 4 + 1.5},
		{[]float64{math.NaN(), 0}, -1 + 1 + 1.5},
		{nil, -1 + 1 + 1.5},
	} {
		if got := f.Margin(c.x); got != c.want {
			t.Errorf("%v: %v, want %v", c.x, got, c.want)
		}
	}
	into := make([]float64, 2)
	// Means by cover: node 1 (2+4)/2 = 3, root (30·1+10·3)/40 = 1.5.
	if bias := f.Contributions([]float64{5, 70}, into); bias != -1+1.5+1.5 || into[0] != 3-1.5 || into[1] != 2-3 {
		t.Errorf("bias %v, contributions %v", bias, into)
	}
}

func TestCalibrationIsALineBetweenPoints(t *testing.T) {
	spec := small()
	spec.Trees = spec.Trees[1:] // margin 0.5 always
	spec.BaseMargin = -1.5      // now 0: one half
	for name, c := range map[string]struct {
		points []forest.Point
		want   float64
	}{
		"between two":     {[]forest.Point{{From: 0.4, To: 0.1}, {From: 0.6, To: 0.2}}, 0.15},
		"on a point":      {[]forest.Point{{From: 0.1, To: 0}, {From: 0.5, To: 0.3}, {From: 0.6, To: 1}}, 0.3},
		"before them all": {[]forest.Point{{From: 0.6, To: 0.2}}, 0.2},
		"after them all":  {[]forest.Point{{From: 0.2, To: 0.1}}, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Calibration = c.points
			f, err := forest.New(spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Probability(nil); math.Abs(got-c.want) > 1e-12 {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestAWrongSpecIsRefusedWithItsField(t *testing.T) {
	deep := forest.Tree{Leaves: []forest.Leaf{{}}}
	for i := range forest.MaxDepth + 1 {
		deep.Nodes = append(deep.Nodes, forest.Node{Left: -1 - i, Right: i + 1})
		deep.Leaves = append(deep.Leaves, forest.Leaf{})
	}
	deep.Nodes[forest.MaxDepth].Right = -2 - forest.MaxDepth
	steps := forest.Tree{Nodes: deep.Nodes[:forest.MaxDepth:forest.MaxDepth], Leaves: deep.Leaves[:forest.MaxDepth+1]}
	steps.Nodes = append([]forest.Node(nil), steps.Nodes...)
	steps.Nodes[forest.MaxDepth-1].Right = -1 - forest.MaxDepth
	for name, c := range map[string]struct {
		change func(s *forest.Spec)
		field  string
	}{
		"no features":                   {func(s *forest.Spec) { s.Features = nil }, "features"},
		"a feature twice":               {func(s *forest.Spec) { s.Features[1] = "age" }, "features[1]"},
		"a feature without a name":      {func(s *forest.Spec) { s.Features[1] = "" }, "features[1]"},
		"a feature with a long name":    {func(s *forest.Spec) { s.Features[1] = strings.Repeat("x", 200) }, "features[1]"},
		"a feature with a line end":     {func(s *forest.Spec) { s.Features[1] = "a\nb" }, "features[1]"},
		"too many features":             {func(s *forest.Spec) { s.Features = make([]string, forest.MaxFeatures+1) }, "features"},
		"an objective unknown":          {func(s *forest.Spec) { s.Objective = "rank" }, "objective"},
		"a sigmoid below zero":          {func(s *forest.Spec) { s.Sigmoid = -1 }, "sigmoid"},
		"a base that is no number":      {func(s *forest.Spec) { s.BaseMargin = math.NaN() }, "base_margin"},
		"no trees":                      {func(s *forest.Spec) { s.Trees = nil }, "trees"},
		"too many trees":                {func(s *forest.Spec) { s.Trees = make([]forest.Tree, forest.MaxTrees+1) }, "trees"},
		"a leaf too few":                {func(s *forest.Spec) { s.Trees[0].Leaves = s.Trees[0].Leaves[:2] }, "trees[0]"},
		"a cycle":                       {func(s *forest.Spec) { s.Trees[0].Nodes[1].Left = 0 }, "trees[0].nodes[1]"},
		"a node that leads to itself":   {func(s *forest.Spec) { s.Trees[0].Nodes[1].Right = 1 }, "trees[0].nodes[1]"},
		"a shared leaf":                 {func(s *forest.Spec) { s.Trees[0].Nodes[1].Left = -1 }, "trees[0].nodes[1]"},
		"a node that is not reached":    {func(s *forest.Spec) { s.Trees[0].Nodes[0].Right = -2 }, "trees[0]"},
		"a child beyond the nodes":      {func(s *forest.Spec) { s.Trees[0].Nodes[1].Left = 2 }, "trees[0].nodes[1].left or right"},
		"a child beyond the leaves":     {func(s *forest.Spec) { s.Trees[0].Nodes[1].Left = -4 }, "trees[0].nodes[1].left or right"},
		"a child at the end of numbers": {func(s *forest.Spec) { s.Trees[0].Nodes[1].Left = math.MinInt }, "trees[0].nodes[1].left or right"},
		"a feature beyond":              {func(s *forest.Spec) { s.Trees[0].Nodes[1].Feature = 2 }, "trees[0].nodes[1].feature"},
		"a feature below zero":          {func(s *forest.Spec) { s.Trees[0].Nodes[1].Feature = -1 }, "trees[0].nodes[1].feature"},
		"a threshold that is NaN":       {func(s *forest.Spec) { s.Trees[0].Nodes[0].Threshold = math.NaN() }, "trees[0].nodes[0].threshold"},
		"a threshold without end":       {func(s *forest.Spec) { s.Trees[0].Nodes[0].Threshold = math.Inf(-1) }, "trees[0].nodes[0].threshold"},
		"a leaf that is NaN":            {func(s *forest.Spec) { s.Trees[0].Leaves[1].Value = math.NaN() }, "trees[0].leaves[1].value"},
		"a leaf far too large":          {func(s *forest.Spec) { s.Trees[0].Leaves[1].Value = 1e31 }, "trees[0].leaves[1].value"},
		"a leaf too large by weight":    {func(s *forest.Spec) { s.Trees[1].Weight = 1e200 }, "trees[1].leaves[0].value"},
		"a cover below zero":            {func(s *forest.Spec) { s.Trees[0].Leaves[1].Cover = -1 }, "trees[0].leaves[1].cover"},
		"a weight that is NaN":          {func(s *forest.Spec) { s.Trees[1].Weight = math.NaN() }, "trees[1].weight"},
		"an op unknown":                 {func(s *forest.Spec) { s.Trees[0].Nodes[0].Op = 9 }, "trees[0].nodes[0].op"},
		"a way of missing unknown":      {func(s *forest.Spec) { s.Trees[0].Nodes[0].Missing = 9 }, "trees[0].nodes[0].missing"},
		"a tree too deep":               {func(s *forest.Spec) { s.Trees[0] = deep }, "trees[0]"},
		"a falling calibration": {func(s *forest.Spec) {
			s.Calibration = []forest.Point{{From: 0.1, To: 0.5}, {From: 0.2, To: 0.4}}
		}, "calibration[1]"},
		"a calibration that is NaN": {func(s *forest.Spec) { s.Calibration = []forest.Point{{From: math.NaN()}} }, "calibration[0]"},
		"a calibrated regression": {func(s *forest.Spec) {
			s.Objective, s.Calibration = forest.Regression, []forest.Point{{From: 0.1, To: 0.5}}
		}, "calibration"},
		"a metric that is NaN": {func(s *forest.Spec) { s.Metrics = map[string]float64{"auc": math.NaN()} }, "metrics"},
		"long notes":           {func(s *forest.Spec) { s.Notes = map[string]string{"a": strings.Repeat("x", 20000)} }, "notes"},
		"too many steps": {func(s *forest.Spec) {
			for s.Trees = nil; len(s.Trees) <= forest.MaxSteps/forest.MaxDepth; {
				s.Trees = append(s.Trees, steps)
			}
		}, "trees"},
		"sets that are large together": {func(s *forest.Spec) {
			node := forest.Node{Op: forest.NotIn, Set: []uint16{forest.MaxCategory}, Left: -1, Right: -2}
			for s.Trees = nil; len(s.Trees) <= forest.MaxSetWords/1024; {
				s.Trees = append(s.Trees, forest.Tree{Nodes: []forest.Node{node}, Leaves: make([]forest.Leaf, 2)})
			}
		}, "trees[128].nodes[0].set"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := small()
			c.change(&spec)
			_, err := forest.New(spec)
			var refusal *forest.Refusal
			if !errors.As(err, &refusal) || refusal.Field != c.field {
				t.Errorf("%v, want a refusal of %s", err, c.field)
			}
		})
	}
}
