package hazard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/calibrate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
)

// rounded keeps a map short enough for a note: at most 24 corners of 5 digits.
func rounded(m calibrate.Map) calibrate.Map {
	const corners = 24
	short := func(v float64) float64 { return math.Round(v*1e4) / 1e4 }
	m.Slope, m.Intercept = short(m.Slope), short(m.Intercept)
	if m.Method != calibrate.Isotonic {
		return m
	}
	var x, y []float64
	n := len(m.X)
	for k := range min(n, corners) {
		i := k
		if n > corners {
			i = k * (n - 1) / (corners - 1)
		}
		if len(x) > 0 && short(m.X[i]) <= x[len(x)-1] {
			continue
		}
		x, y = append(x, short(m.X[i])), append(y, short(m.Y[i]))
	}
	m.X, m.Y = x, y
	return m
}

func (t *Trained) notes(cfg Config, rows int) map[string]string {
	return map[string]string{
		NoteKind: kind, NoteSchema: feature.SchemaVersion, NoteStep: strconv.Itoa(StepMinutes),
		NoteFrom: cfg.From.UTC().Format(time.RFC3339), NoteTo: cfg.To.UTC().Format(time.RFC3339),
		NoteRows: strconv.Itoa(rows), NoteData: cfg.DataSHA256,
	}
}

func shares(all []float64) string {
	text := make([]string, len(all))
	for i, v := range all {
		text[i] = strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strings.Join(text, ",")
}

func modelOf(e *gbdt.Ensemble, notes map[string]string) (*Model, error) {
	f, err := forest.New(toSpec(e, notes))
	if err != nil {
		return nil, fmt.Errorf("checking the trained trees: %w", err)
	}
	return New(f)
}

// toSpec writes trained trees in the words of a model file.
func toSpec(e *gbdt.Ensemble, notes map[string]string) forest.Spec {
	s := forest.Spec{Features: feature.Names(), Objective: forest.Binary, BaseMargin: e.Bias, Notes: notes}
	for _, t := range e.Trees {
		s.Trees = append(s.Trees, toTree(t))
	}
	return s
}

func toTree(t gbdt.Tree) forest.Tree {
	var out forest.Tree
	place := make([]int, len(t)) // of each node, as a child is named
	for i, n := range t {
		if n.Left == 0 {
			place[i] = -1 - len(out.Leaves)
			out.Leaves = append(out.Leaves, forest.Leaf{Value: n.Value, Cover: n.Cover})
			continue
		}
		place[i] = len(out.Nodes)
		out.Nodes = append(out.Nodes, forest.Node{
			Feature: n.Feature, Op: forest.LessEqual, Threshold: n.Threshold, Missing: forest.MissingNaN, DefaultLeft: n.MissingLeft,
			Left: n.Left, Right: n.Right,
		})
	}
	for i := range out.Nodes {
		out.Nodes[i].Left, out.Nodes[i].Right = place[out.Nodes[i].Left], place[out.Nodes[i].Right]
	}
	return out
}
