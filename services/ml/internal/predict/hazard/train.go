package hazard

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/calibrate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/gbdt"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/linear"
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
	// Trees at most; 0: 300.
	Trees int
	// Candidates whose mean is the model; nil: Grid.
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
	// Leaves of a tree at most.
	Leaves int
	// Rate by which trees are shrunk.
	Rate float64
	// MinShare of the training data's information (the sum of the hessian at the mean)
	// that each leaf must hold.
	MinShare float64
	// Linear: trees go on from a logistic regression, else from the mean.
	Linear bool
}

// folds of the training window: trained on what is before the first share of its
// examples by time, judged on what is until the second. They decide how many trees each candidate has
// and the calibration; nothing outside of the window has a say.
var folds = [...][2]float64{{0.5, 2.0 / 3}, {2.0 / 3, 5.0 / 6}, {5.0 / 6, 1}}

// Grid of candidates. They err in different ways, so their mean is better than
// whichever seemed best.
var Grid = []Candidate{
	{Leaves: 8, Rate: 0.03, MinShare: 0.05, Linear: true},
	{Leaves: 8, Rate: 0.03, MinShare: 0.05},
	{Leaves: 16, Rate: 0.03, MinShare: 0.015, Linear: true},
}

// mostTrees of a model.
const mostTrees = 300

// weekly is how long a window must be before the day of the week is learned from:
// with a few weeks each day would be taken for what happened on it.
const weekly = 8 * 7 * 24 * time.Hour

// ridge of the logistic regression; between 0.001 and 1 it hardly matters.
const ridge = 0.1

// fit the candidate to rows, with so many trees.
func (c Candidate) fit(d, held *gbdt.Data, trees int, seed uint64) (*gbdt.Ensemble, *gbdt.Progress, error) {
	monotone := make([]int, feature.Count)
	for i, f := range feature.Schema {
		monotone[i] = f.Monotone
	}
	yes, all := 0.0, 0.0
	for i, w := range d.W {
		yes, all = yes+w*d.Y[i], all+w
	}
	opts := gbdt.Options{
		Trees: trees, Rate: c.Rate, Leaves: c.Leaves, MinHessian: c.MinShare * yes * (1 - yes/all), L2: 5,
		RowShare: 0.6, FeatureShare: 0.25, Monotone: monotone, Seed: seed,
	}
	if c.Linear {
		opts.Start = line(near(d), monotone)
	}
	e, progress, err := gbdt.Train(d, held, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("training with %+v: %w", c, err)
	}
	return e, progress, nil
}

// line through all features but the clock's, which are round. Times count by their
// logarithm: the second minute tells more than the second day.
func line(d *gbdt.Data, monotone []int) *gbdt.Start {
	o := linear.Options{Use: make([]bool, feature.Count), Log: make([]bool, feature.Count), Monotone: monotone, Ridge: ridge}
	for i, f := range feature.Schema {
		o.Use[i] = i != feature.HourOfDay && i != feature.DayOfWeek
		o.Log[i] = f.Unit == "min"
	}
	var start gbdt.Start
	start.Bias, start.Trees = linear.Fit(d, o)
	return &start
}

// Trained is the outcome of a training.
type Trained struct {
	// Spec is the model as a file has it.
	Spec forest.Spec
	// Model is it, ready to be asked.
	Model *Model
	// Trees of each candidate, not counting those of its start.
	Trees []int
	// Importance of each feature, as a share of all gains.
	Importance []float64
}

// fold is one part of the window to train on and the next to judge by.
type fold struct {
	data, held *gbdt.Data
	late       []Example
	until      time.Time
	ensembles  []*gbdt.Ensemble
	losses     [][]float64
}

// Train on data until cfg.To: first on the folds, to find how many trees are enough and
// to calibrate; then on the whole window with as many.
func Train(data *history.Data, x *feature.Extractor, cfg Config) (*Trained, error) {
	cfg = cfg.filled(data)
	parts := cfg.split(data, x)
	if len(parts) == 0 {
		return nil, errNotTrained
	}
	for _, f := range parts {
		if err := f.train(cfg); err != nil {
			return nil, err
		}
	}
	out := choose(parts, cfg)
	all := Examples(data, x, Window{From: cfg.From, To: cfg.To, Until: cfg.To, Every: cfg.Every})
	notes := out.notes(cfg, len(all))
	if err := out.calibrate(parts, cfg, notes); err != nil {
		return nil, err
	}
	rows := cfg.rows(all, cfg.Robust)
	ensemble, err := out.fit(rows, cfg)
	if err != nil {
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

// split the window into those folds that have something to learn on both sides.
func (c Config) split(data *history.Data, x *feature.Extractor) []*fold {
	all := Examples(data, x, Window{From: c.From, To: c.To, Until: c.To, Every: c.Every})
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b Example) int { return a.At.Compare(b.At) })
	at := func(share float64) time.Time { // gaps in time hold nothing to judge by
		if share >= 1 {
			return c.To
		}
		return all[int(share*float64(len(all)))].At
	}
	var out []*fold
	for _, f := range folds {
		middle, end := at(f[0]), at(f[1])
		early := Examples(data, x, Window{From: c.From, To: middle, Until: middle, Every: c.Every})
		late := Examples(data, x, Window{From: middle, To: end, Until: end, Every: c.Every})
		if anyLost(early) && anyLost(late) {
			out = append(out, &fold{data: c.rows(early, c.Robust), held: near(c.rows(late, false)), late: late, until: end})
		}
	}
	return out
}

// rows of examples, as the trees get them.
func (c Config) rows(all []Example, robust bool) *gbdt.Data {
	d := expand(all, robust)
	if c.To.Sub(c.From) < weekly {
		for i := range d.Columns[feature.DayOfWeek] {
			d.Columns[feature.DayOfWeek][i] = math.NaN()
		}
	}
	return d
}

// near are the rows of the first hour, by which trees are judged: later ones are
// many, and say little of what is asked most.
func near(d *gbdt.Data) *gbdt.Data {
	out := &gbdt.Data{Columns: make([][]float64, len(d.Columns))}
	for i, lead := range d.Columns[feature.LeadMinutes] {
		if lead >= farFrom {
			continue
		}
		for f := range d.Columns {
			out.Columns[f] = append(out.Columns[f], d.Columns[f][i])
		}
		out.Y, out.W = append(out.Y, d.Y[i]), append(out.W, d.W[i])
	}
	return out
}

func (f *fold) train(cfg Config) error {
	for _, c := range cfg.Candidates {
		if err := cfg.Context.Err(); err != nil {
			return err
		}
		ensemble, progress, err := c.fit(f.data, f.held, cfg.Trees, cfg.Seed)
		if err != nil {
			return err
		}
		f.ensembles, f.losses = append(f.ensembles, ensemble), append(f.losses, progress.Held)
	}
	f.data, f.held = nil, nil
	return nil
}

// choose the number of trees of each candidate with the least mean loss over the folds.
func choose(parts []*fold, cfg Config) *Trained {
	out := &Trained{}
	for k, c := range cfg.Candidates {
		best, trees := math.Inf(1), 0
		for n := range cfg.Trees {
			sum := 0.0
			for _, f := range parts {
				sum += f.losses[k][n] / float64(len(parts))
			}
			if sum < best {
				best, trees = sum, n+1
			}
		}
		cfg.Say("linear start %v, %d leaves of at least %v, rate %v: %d trees, held-out loss %.5f", c.Linear, c.Leaves, c.MinShare, c.Rate, trees, best)
		out.Trees = append(out.Trees, trees)
	}
	return out
}

// fit all candidates to rows and take their mean.
func (t *Trained) fit(rows *gbdt.Data, cfg Config) (*gbdt.Ensemble, error) {
	var all []*gbdt.Ensemble
	for k, c := range cfg.Candidates {
		if err := cfg.Context.Err(); err != nil {
			return nil, err
		}
		e, _, err := c.fit(rows, nil, t.Trees[k], cfg.Seed)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return gbdt.Average(all), nil
}

// calibrate on what the folds' models said of what came after them.
func (t *Trained) calibrate(parts []*fold, cfg Config, notes map[string]string) error {
	for _, anchor := range Anchors {
		var cases []calibrate.Case
		for _, f := range parts {
			m, err := modelOf(f.mean(t.Trees), nil)
			if err != nil {
				return err
			}
			cases = append(cases, f.cases(m, anchor)...)
		}
		text, err := json.Marshal(rounded(calibrate.Fit(cases)))
		if err != nil {
			return fmt.Errorf("writing the calibration of %v minutes: %w", anchor, err)
		}
		cfg.Say("calibration of %v min: %s", anchor, text)
		notes[noteCalibration+minutesName(anchor)] = string(text)
	}
	return nil
}

// mean of the fold's candidates with so many trees each.
func (f *fold) mean(trees []int) *gbdt.Ensemble {
	var all []*gbdt.Ensemble
	for k, e := range f.ensembles {
		all = append(all, e.Cut(trees[k]))
	}
	return gbdt.Average(all)
}

// cases are the fold's late examples whose outcome at the horizon is known.
func (f *fold) cases(m *Model, minutes float64) []calibrate.Case {
	var cases []calibrate.Case
	for _, k := range Known(f.late, minutes, f.until) {
		e := &f.late[k.Index]
		cases = append(cases, calibrate.Case{P: m.Raw(&e.Row, minutes), Y: k.Lost, W: k.Weight, Block: int(e.At.Unix() / 86400)})
	}
	return cases
}

func (c Config) filled(data *history.Data) Config {
	first, last := Span(data)
	if c.From.IsZero() {
		c.From = first
	}
	if c.To.IsZero() {
		c.To = last
	}
	if c.Trees == 0 {
		c.Trees = mostTrees
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

// Fit as many trees to other examples of the same window; the model is not calibrated.
func (t *Trained) Fit(all []Example, data *history.Data, cfg Config) (*Model, error) {
	cfg = cfg.filled(data)
	e, err := t.fit(cfg.rows(all, cfg.Robust), cfg)
	if err != nil {
		return nil, err
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

// Span of all series.
func Span(data *history.Data) (first, last time.Time) {
	for i, s := range data.Series {
		if i == 0 || s.Start.Before(first) {
			first = s.Start
		}
		if s.End().After(last) {
			last = s.End()
		}
	}
	return first, last
}
