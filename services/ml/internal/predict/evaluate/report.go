package evaluate

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// Task to measure: the loss of an instance, or of all of a probed pool's capacity,
// within the horizon.
type Task struct {
	// Split is where the training window ends and the test begins.
	Split time.Time `json:"split"`
	// End of the test; zero: the data's end.
	End time.Time `json:"-"`
	// Match picks the recordings to test on by name; nil: all.
	Match *regexp.Regexp `json:"-"`
	// HorizonMinutes, one of hazard.Edges.
	HorizonMinutes float64 `json:"horizon_minutes"`
	// Every is the time between test rows of one pool.
	Every time.Duration `json:"-"`
	// EveryMinutes is the same, for the report.
	EveryMinutes float64 `json:"every_minutes"`
}

// Scores of one predictor on the test rows.
type Scores struct {
	// Name of the predictor.
	Name string `json:"name"`
	// AUC, AveragePrecision, Brier, LogLoss and ECE as defined in this package.
	AUC              float64 `json:"auc"`
	AveragePrecision float64 `json:"average_precision"`
	Brier            float64 `json:"brier"`
	LogLoss          float64 `json:"log_loss"`
	ECE              float64 `json:"ece"`
}

// Report of an evaluation.
type Report struct {
	Task Task `json:"task"`
	// TrainRows and TestRows are examples; Positive is the share of test rows lost.
	TrainRows int     `json:"train_rows"`
	TestRows  int     `json:"test_rows"`
	Positive  float64 `json:"positive_share"`
	// Model was tuned and calibrated within the training window.
	Model string `json:"model"`
	// TrainSeconds it took to train, on one core.
	TrainSeconds float64 `json:"train_seconds"`
	// TimeSplit has the model and the baselines, trained before the split, tested after.
	TimeSplit []Scores `json:"time_split"`
	// WithoutProbes is the model where a pool's availability is not probed, and
	// WithoutFleet where neither are interruptions recorded, as on a new cluster.
	WithoutProbes Scores `json:"without_probes"`
	WithoutFleet  Scores `json:"without_fleet"`
	// Reliability of the model.
	Reliability []Bin `json:"reliability"`
	// AtBudget are policies that drain an instance at most 1 and 3 times a day.
	AtBudget []Policy `json:"at_budget"`
	// BreakEven is the policy that drains where it pays on average: at 0.25.
	BreakEven Policy `json:"break_even"`
	// BreakEvenOf the baselines, by name.
	BreakEvenOf map[string]float64 `json:"break_even_net_utility_of"`
	// LeavePoolOut is the model tested after the split on pools it was not trained on.
	LeavePoolOut *Scores `json:"leave_pool_out,omitempty"`
	// Shuffled is the AUC where outcomes are dealt anew among all rows: 0.5 unless
	// features know what they must not.
	Shuffled *float64 `json:"shuffled_auc,omitempty"`
	// Importance of the features: shares of all gains.
	Importance map[string]float64 `json:"importance"`
}

// Options of an evaluation.
type Options struct {
	Task Task
	// Train has From, Every, Seed, Robust, Candidates and Say; To is the task's split.
	Train hazard.Config
	// LeavePoolOut and Shuffle are done too; each trains anew.
	LeavePoolOut, Shuffle bool
}

var errNoRows = errors.New("no test rows with a known outcome after the split, or only one kind of it")

// Run an evaluation.
func Run(data *history.Data, x *feature.Extractor, o Options) (*Report, error) {
	o.Task.EveryMinutes = o.Task.Every.Minutes()
	o.Train.To = o.Task.Split
	if o.Train.From.IsZero() {
		o.Train.From, _ = hazard.Span(data)
	}
	began := time.Now()
	trained, err := hazard.Train(data, x, o.Train)
	took := time.Since(began)
	if err != nil {
		return nil, fmt.Errorf("training before the split: %w", err)
	}
	p := newParts(data, x, o)
	if len(p.known) == 0 {
		return nil, errNoRows
	}
	r := &Report{Task: o.Task, TrainRows: len(p.train), TestRows: len(p.known), TrainSeconds: took.Seconds(), Importance: map[string]float64{}}
	for i, share := range trained.Importance {
		r.Importance[feature.Schema[i].Name] = share
	}
	r.Model = fmt.Sprintf("mean of %d sums of %v trees", len(trained.Trees), trained.Trees)
	p.measure(r, trained.Model)
	if math.IsNaN(r.TimeSplit[0].AUC) {
		return nil, errNoRows
	}
	if o.LeavePoolOut {
		if err := p.leavePoolOut(r, trained); err != nil {
			return nil, err
		}
	}
	if o.Shuffle {
		if err := p.shuffled(r, trained); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// parts of an evaluation: examples before and after the split.
type parts struct {
	o           Options
	data        *history.Data
	train, test []hazard.Example
	// trainKnown and known are those whose outcome at the horizon is known.
	trainKnown, known []hazard.Certain
	hours             float64
}

func newParts(data *history.Data, x *feature.Extractor, o Options) *parts {
	p := &parts{o: o, data: data}
	split := o.Task.Split
	p.train = hazard.Examples(data, x, hazard.Window{From: o.Train.From, To: split, Until: split, Every: o.Train.Every})
	end := o.Task.End
	if end.IsZero() {
		_, end = hazard.Span(data)
	}
	p.test = hazard.Examples(data, x, hazard.Window{From: split, To: end, Until: end, Every: o.Task.Every, Set: o.Task.Match})
	p.trainKnown = hazard.Known(p.train, o.Task.HorizonMinutes, split)
	p.known = hazard.Known(p.test, o.Task.HorizonMinutes, end)
	p.hours = float64(len(p.test)) * o.Task.Every.Hours()
	return p
}

func (p *parts) measure(r *Report, m *hazard.Model) {
	minutes := p.o.Task.HorizonMinutes
	model := func(e *hazard.Example) float64 { return m.Probability(&e.Row, minutes) }
	all := p.score(model)
	for _, s := range all {
		r.Positive += s.Y / float64(len(all))
	}
	r.TimeSplit = append(r.TimeSplit, ScoresOf("model", all))
	r.Reliability = Reliability(all)
	horizon := time.Duration(minutes * float64(time.Minute))
	bells := alarms(p.test, model)
	for _, perDay := range []float64{1, 3} {
		r.AtBudget = append(r.AtBudget, atBudget(bells, perDay, horizon, p.hours))
	}
	r.BreakEven = play(bells, moveCost/restartCost, horizon, p.hours)
	r.BreakEvenOf = map[string]float64{}
	for _, b := range baselines {
		predict := b.fit(p.train, p.trainKnown, minutes)
		r.TimeSplit = append(r.TimeSplit, ScoresOf(b.name, p.score(predict)))
		r.BreakEvenOf[b.name] = play(alarms(p.test, predict), moveCost/restartCost, horizon, p.hours).NetUtility
	}
	masked := func(keep feature.Group) predictor {
		return func(e *hazard.Example) float64 {
			row := hazard.Masked(e.Row, keep)
			return m.Probability(&row, minutes)
		}
	}
	r.WithoutProbes = ScoresOf("without_probes", p.score(masked(feature.Fleet)))
	r.WithoutFleet = ScoresOf("without_fleet", p.score(masked(feature.Market)))
}

func (p *parts) score(predict predictor) []Scored {
	out := make([]Scored, 0, len(p.known))
	for _, k := range p.known {
		out = append(out, Scored{P: predict(&p.test[k.Index]), Y: k.Lost, W: k.Weight})
	}
	return out
}

// ScoresOf predictions.
func ScoresOf(name string, all []Scored) Scores {
	return Scores{Name: name, AUC: AUC(all), AveragePrecision: AveragePrecision(all), Brier: Brier(all), LogLoss: LogLoss(all), ECE: ECE(all)}
}

// mostFolds of the pools: more pools share folds, for the time it takes.
const mostFolds = 3

// leavePoolOut trains, for each fold of the pools, on the others, with the trees
// that were chosen on all; their raw probabilities are put together.
func (p *parts) leavePoolOut(r *Report, t *hazard.Trained) error {
	folds := map[history.Pool]int{}
	for i := range p.test {
		if _, ok := folds[p.test[i].Pool]; !ok {
			folds[p.test[i].Pool] = len(folds) % mostFolds
		}
	}
	if len(folds) < 2 {
		return errors.New("leaving a pool out needs two or more")
	}
	models := make([]*hazard.Model, min(mostFolds, len(folds)))
	for n := range models {
		var rest []hazard.Example
		for i := range p.train {
			if fold, tested := folds[p.train[i].Pool]; !tested || fold != n {
				rest = append(rest, p.train[i])
			}
		}
		var err error
		if models[n], err = t.Fit(rest, p.data, p.o.Train); err != nil {
			return fmt.Errorf("training without fold %d of the pools: %w", n, err)
		}
	}
	scores := ScoresOf("leave_pool_out", p.score(func(e *hazard.Example) float64 {
		return models[folds[e.Pool]].Probability(&e.Row, p.o.Task.HorizonMinutes)
	}))
	r.LeavePoolOut = &scores
	return nil
}

// shuffled deals the outcomes anew among the training rows and among the test
// rows, trains as before and scores.
func (p *parts) shuffled(r *Report, t *hazard.Trained) error {
	dealt := hazard.Shuffled(p.train, p.o.Train.Seed)
	m, err := t.Fit(dealt, p.data, p.o.Train)
	if err != nil {
		return fmt.Errorf("training on shuffled outcomes: %w", err)
	}
	test := *p
	test.test = hazard.Shuffled(p.test, p.o.Train.Seed+1)
	test.known = hazard.Known(test.test, p.o.Task.HorizonMinutes, time.Time{})
	auc := AUC(test.score(func(e *hazard.Example) float64 { return m.Probability(&e.Row, p.o.Task.HorizonMinutes) }))
	r.Shuffled = &auc
	return nil
}
