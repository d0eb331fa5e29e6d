package hazard

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/calibrate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
)

// Anchors are the horizons that are calibrated, minutes. Between them, cumulative
// hazards are interpolated; beyond the last they grow as the trees say.
var Anchors = [...]float64{15, 60, 1440}

// Notes of a model file that this package writes and reads. A file without them, of
// LightGBM or XGBoost, is read as hazards of steps of fifteen minutes, not calibrated.
const (
	NoteKind        = "kind"
	NoteSchema      = "schema"
	NoteStep        = "step_minutes"
	NoteFrom        = "trained_from"
	NoteTo          = "trained_to"
	NoteRows        = "trained_rows"
	NoteData        = "data_sha256"
	NoteKnown       = "trained_features"
	NoteImportance  = "importance"
	noteCalibration = "calibration."
	// kind is the only one there is.
	kind = "hazard"
)

// Model gives the probability of an interruption.
type Model struct {
	forest *forest.Forest
	// inputs are the schema's positions of the forest's features.
	inputs []int
	maps   [len(Anchors)]calibrate.Map
	// calibrated says that the file had maps.
	calibrated bool
	importance [feature.Count]float64
	weighed    bool
}

// New reads what a forest's features and notes mean.
func New(f *forest.Forest) (*Model, error) {
	m := &Model{forest: f}
	for _, name := range f.Features() {
		i, ok := feature.Index(name)
		if !ok {
			return nil, fmt.Errorf("feature %q is not in the schema %s", name, feature.SchemaVersion)
		}
		m.inputs = append(m.inputs, i)
	}
	notes := f.Notes()
	if err := checkNotes(notes); err != nil {
		return nil, err
	}
	for i, horizon := range Anchors {
		text := notes[noteCalibration+minutesName(horizon)]
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &m.maps[i]); err != nil {
			return nil, fmt.Errorf("parsing the calibration of %v minutes: %w", horizon, err)
		}
		if err := m.maps[i].Check(); err != nil {
			return nil, fmt.Errorf("checking the calibration of %v minutes: %w", horizon, err)
		}
		m.calibrated = true
	}
	return m, m.readImportance(notes[NoteImportance])
}

func checkNotes(notes map[string]string) error {
	if k := notes[NoteKind]; k != "" && k != kind {
		return fmt.Errorf("the file is of kind %q, want %q", k, kind)
	}
	if s := notes[NoteSchema]; s != "" && s != feature.SchemaVersion {
		return fmt.Errorf("the file has schema %q, want %q", s, feature.SchemaVersion)
	}
	if s := notes[NoteStep]; s != "" && s != strconv.Itoa(StepMinutes) {
		return fmt.Errorf("the file has steps of %s minutes, want %d", s, StepMinutes)
	}
	return nil
}

func (m *Model) readImportance(text string) error {
	if text == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != len(m.inputs) {
		return fmt.Errorf("%d importances for %d features", len(parts), len(m.inputs))
	}
	for k, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v >= 0 && v <= 1) {
			return fmt.Errorf("importance %q is not a share", part)
		}
		m.importance[m.inputs[k]] = v
	}
	m.weighed = true
	return nil
}

func minutesName(minutes float64) string { return strconv.FormatFloat(minutes, 'f', -1, 64) }

// Calibrated says whether probabilities were fitted to what happened.
func (m *Model) Calibrated() bool { return m.calibrated }

// Known is the share of what the model goes by that the row has: features weigh by
// their share of the gain in training, or the same where the file does not say.
func (m *Model) Known(row *feature.Row) float64 {
	have, all := 0.0, 0.0
	for _, i := range m.inputs {
		w := 1.0
		if m.weighed {
			w = m.importance[i]
		}
		all += w
		if !math.IsNaN(row[i]) {
			have += w
		}
	}
	if all == 0 {
		return 1
	}
	return have / all
}

// Probability that the instance is lost within so many minutes, calibrated.
func (m *Model) Probability(row *feature.Row, minutes float64) float64 {
	return 1 - math.Exp(-m.cumulative(m.hazards(row), minutes))
}

// Raw is the probability before calibration.
func (m *Model) Raw(row *feature.Row, minutes float64) float64 {
	return 1 - math.Exp(-total(m.hazards(row), minutes))
}

// hazards are −ln(1−h) of a step in each bucket.
func (m *Model) hazards(row *feature.Row) [Buckets]float64 {
	var h [Buckets]float64
	x := make([]float64, len(m.inputs))
	for b := range Buckets {
		for k, i := range m.inputs {
			x[k] = row[i]
			if i == feature.LeadMinutes {
				x[k] = Edges[b]
			}
		}
		h[b] = -math.Log1p(-min(m.forest.Probability(x), 1-1e-9))
	}
	return h
}

// total is the cumulative hazard of the first minutes.
func total(h [Buckets]float64, minutes float64) float64 {
	sum := 0.0
	for b := range Buckets {
		end := Edges[b+1]
		if b == Buckets-1 {
			end = math.Inf(1)
		}
		sum += h[b] * max(0, min(minutes, end)-Edges[b]) / StepMinutes
	}
	return sum
}

// cumulative hazard, calibrated: exact at the anchors, in proportion to the raw one
// between them, so that it never falls with time.
func (m *Model) cumulative(h [Buckets]float64, minutes float64) float64 {
	rawBefore, before := 0.0, 0.0
	for i, anchor := range Anchors {
		raw := total(h, anchor)
		at := max(before, -math.Log1p(-min(m.maps[i].Apply(1-math.Exp(-raw)), 1-1e-9)))
		if minutes <= anchor || i == len(Anchors)-1 && raw <= rawBefore {
			return before + (at-before)*share(total(h, minutes)-rawBefore, raw-rawBefore)
		}
		rawBefore, before = raw, at
	}
	return before * share(total(h, minutes), rawBefore)
}

func share(part, whole float64) float64 {
	if !(whole > 0) {
		return 1
	}
	return part / whole
}

// Contribution of one feature to a prediction.
type Contribution struct {
	// Feature's position in the schema.
	Feature int
	// Value it had; NaN: missing.
	Value float64
	// LogOdds by which it moved the hazard of the first step.
	LogOdds float64
}

// Explain the hazard of the first step: the contributions of all features that
// moved it, largest first, and the log-odds without any (Saabas 2014).
func (m *Model) Explain(row *feature.Row) (bias float64, all []Contribution) {
	x, into := make([]float64, len(m.inputs)), make([]float64, len(m.inputs))
	for k, i := range m.inputs {
		x[k] = row[i]
	}
	bias = m.forest.Contributions(x, into)
	for k, i := range m.inputs {
		if into[k] != 0 && i != feature.LeadMinutes {
			all = append(all, Contribution{Feature: i, Value: row[i], LogOdds: into[k]})
		}
	}
	slices.SortStableFunc(all, func(a, b Contribution) int {
		switch x, y := math.Abs(a.LogOdds), math.Abs(b.LogOdds); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return a.Feature - b.Feature
	})
	return bias, all
}

var errNotTrained = errors.New("no event to learn from in the training window")
