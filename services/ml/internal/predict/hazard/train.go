package hazard

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/calibrate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// Config of a training.
type Config struct {
	// From and To bound the training window; nothing after To is looked at.
	From, To time.Time
	// Every is the time between examples of a probed pool.
	Every time.Duration
	// Seed of all draws.
	Seed uint64
	// Robust repeats examples with features taken out that a live fleet may lack.
	Robust bool
	// Candidates to choose from on the held part; nil: Grid.
	Candidates []Candidate
	// Say reports progress; nil: not.
	Say func(format string, args ...any)
	// DataSHA256 is noted in the model.
	DataSHA256 string
	// Context ends a training early; nil: never.
	Context context.Context
}

// Candidate is one setting of the trees.
type Candidate struct {
	Leaves     int
	Rate       float64
	MinHessian float64
}

// heldShare of the training window, its end, decides how many trees there are, which
// candidate wins, and the calibration. Nothing outside of the window has a say.
const heldShare = 0.3

// Grid of candidates.
var Grid = []Candidate{
	{Leaves: 8, Rate: 0.05, MinHessian: 20},
	{Leaves: 16, Rate: 0.05, MinHessian: 20},
	{Leaves: 8, Rate: 0.05, MinHessian: 80},
	{Leaves: 16, Rate: 0.05, MinHessian: 80},
}

func (c Candidate) options(seed uint64) gbdt.Options {
	monotone := make([]int, feature.Count)
	for i, f := range feature.Schema {
		monotone[i] = f.Monotone
	}
	return gbdt.Options{
		Trees: 600, Rate: c.Rate, Leaves: c.Leaves, MinHessian: c.MinHessian, L2: 5,
		RowShare: 0.6, FeatureShare: 0.5, Monotone: monotone, Patience: 40, Seed: seed,
	}
}

// Trained is the outcome of a training.
type Trained struct {
	// Spec is the model as a file has it.
	Spec forest.Spec
	// Model is it, ready to be asked.
	Model *Model
	// Picked is the candidate that won, Trees how many there are.
	Picked Candidate
	Trees  int
	// HeldLoss is the log-loss of hazards on the held part.
	HeldLoss float64
	// Importance of each feature, as a share of all gains.
	Importance []float64
}

// Train on data until cfg.To: first on the window's early part, to choose a candidate
// and the number of trees on its late part and to calibrate there; then on all
// of it with what was chosen.
func Train(data *history.Data, x *feature.Extractor, cfg Config) (*Trained, error) {
	cfg = cfg.filled(data)
	middle := cfg.From.Add(time.Duration(float64(cfg.To.Sub(cfg.From)) * (1 - heldShare)))
	early := Examples(data, x, Window{From: cfg.From, To: middle, Until: middle, Every: cfg.Every})
	late := Examples(data, x, Window{From: middle, To: cfg.To, Until: cfg.To, Every: cfg.Every})
	if !anyLost(early) || !anyLost(late) {
		return nil, errNotTrained
	}
	out, ensemble, err := choose(early, late, cfg)
	if err != nil {
		return nil, err
	}
	first, err := modelOf(ensemble, out.notes(cfg, len(early)))
	if err != nil {
		return nil, err
	}
	notes := out.notes(cfg, len(early)+len(late))
	for i, anchor := range Anchors {
		calibration := fit(first, late, anchor, cfg.To)
		text, err := json.Marshal(rounded(calibration))
		if err != nil {
			return nil, fmt.Errorf("writing the calibration of %v minutes: %w", anchor, err)
		}
		notes[noteCalibration+minutesName(Anchors[i])] = string(text)
	}
	all := Examples(data, x, Window{From: cfg.From, To: cfg.To, Until: cfg.To, Every: cfg.Every})
	opts := out.Picked.options(cfg.Seed)
	// More rows carry as many more trees.
	opts.Trees = out.Trees
	if ensemble, _, err = gbdt.Train(expand(all, cfg.Robust), nil, opts); err != nil {
		return nil, fmt.Errorf("training on the whole window: %w", err)
	}
	out.Importance = ensemble.Importance()
	notes[NoteImportance] = shares(out.Importance)
	out.Spec = toSpec(ensemble, notes)
	if out.Model, err = modelOf(ensemble, notes); err != nil {
		return nil, err
	}
	return out, nil
}

func (c Config) filled(data *history.Data) Config {
	for _, s := range data.Series {
		if c.From.IsZero() || s.Start.Before(c.From) {
			c.From = s.Start
		}
		if c.To.IsZero() || s.End().After(c.To) && c.To.IsZero() {
			c.To = s.End()
		}
	}
	if c.Candidates == nil {
		c.Candidates = Grid
	}
	if c.Context == nil {
		c.Context = context.Background()
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	return c
}

func anyLost(all []Example) bool {
	return slices.ContainsFunc(all, func(e Example) bool {
		for _, l := range e.Outcome.Lost {
			if l > 0 {
				return true
			}
		}
		return false
	})
}

// choose the candidate with the least loss on the held part.
func choose(early, late []Example, cfg Config) (*Trained, *gbdt.Ensemble, error) {
	train, held := expand(early, cfg.Robust), expand(late, false)
	out := &Trained{HeldLoss: math.Inf(1)}
	var best *gbdt.Ensemble
	for _, c := range cfg.Candidates {
		if err := cfg.Context.Err(); err != nil {
			return nil, nil, err
		}
		ensemble, progress, err := gbdt.Train(train, held, c.options(cfg.Seed))
		if err != nil {
			return nil, nil, fmt.Errorf("training with %+v: %w", c, err)
		}
		if progress.Best == 0 {
			continue
		}
		loss := progress.Held[progress.Best-1]
		cfg.Say("%d leaves, rate %v, least hessian %v: %d trees, held-out loss %.5f", c.Leaves, c.Rate, c.MinHessian, progress.Best, loss)
		if loss < out.HeldLoss {
			out.Picked, out.Trees, out.HeldLoss, best = c, progress.Best, loss, ensemble
		}
	}
	if best == nil {
		return nil, nil, fmt.Errorf("choosing trees: no tree predicts the end of the window better than a constant does: %w", errNotTrained)
	}
	return out, best, nil
}

// fit the calibration of a horizon on the examples whose outcome is known.
func fit(m *Model, all []Example, minutes float64, until time.Time) calibrate.Map {
	var cases []calibrate.Case
	for _, k := range Known(all, minutes, until) {
		e := &all[k.Index]
		cases = append(cases, calibrate.Case{P: m.Raw(&e.Row, minutes), Y: k.Lost, W: k.Weight, Block: int(e.At.Unix() / 86400)})
	}
	return calibrate.Fit(cases)
}

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

// Fit trees of a known setting to examples; the model is not calibrated.
func Fit(all []Example, c Candidate, trees int, seed uint64, robust bool) (*Model, error) {
	opts := c.options(seed)
	opts.Trees = trees
	e, _, err := gbdt.Train(expand(all, robust), nil, opts)
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	return modelOf(e, nil)
}

// Shuffled are the examples with their outcomes dealt anew: no feature can tell of them.
func Shuffled(all []Example, seed uint64) []Example {
	out := slices.Clone(all)
	rng := rand.New(rand.NewPCG(seed, 1))
	rng.Shuffle(len(out), func(i, j int) { out[i].Outcome, out[j].Outcome = out[j].Outcome, out[i].Outcome })
	return out
}
