package forest

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// XGBoost's JSON format, of versions 1 to 3: {"learner": {…}, "version": […]}.
// Keys that are not known are refused: they might change what the trees mean. The
// order of keys is free, so what depends on several is settled at the end.

// xgbReader fills a Spec.
type xgbReader struct {
	*walker
	spec     Spec
	findings []string

	version       []int
	booster       string
	features      int     // by the header; −1: not said
	base          float64 // as written: a probability for logistic objectives
	baseRead      bool
	best          int // best_iteration; −1: not said
	parallel      int // trees of one iteration
	dropped       []float64
	raw, listed   int // nodes with leaves, and categories, so far of all trees
	objectiveName string
}

func parseXGBoost(raw []byte) (Spec, []string, error) {
	if bytes.HasPrefix(raw, []byte("{L")) || bytes.HasPrefix(raw, []byte("{i")) || bytes.HasPrefix(raw, []byte("binf")) {
		return Spec{}, nil, refuse("file", "is XGBoost's binary format; save it under a name that ends in .json")
	}
	r := &xgbReader{walker: walk(nanAsText(raw)), features: -1, best: -1, parallel: 1}
	r.spec.Float32 = true
	err := r.object(func(key string) (err error) {
		switch key {
		case "learner":
			return r.object(r.learner)
		case "version":
			r.version, err = list(r.walker, 3, func() (int, error) { return r.whole(0, 1<<20) })
			return err
		}
		return r.unknown()
	})
	if err == nil {
		err = r.end()
	}
	if err == nil {
		err = r.settle()
	}
	return r.spec, r.findings, err
}

// nanAsText makes JSON of what XGBoost before 3 wrote as the condition of nodes
// that ask for categories: a bare NaN becomes a text as long, so that places stay.
func nanAsText(raw []byte) []byte {
	if !bytes.Contains(raw, []byte("NaN")) {
		return raw
	}
	raw = bytes.Clone(raw)
	within := false
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			within = !within
		case '\\':
			i++
		case 'N':
			if !within && bytes.HasPrefix(raw[i:], []byte("NaN")) {
				copy(raw[i:], notNumber)
				i += 2
			}
		}
	}
	return raw
}

// notNumber stands for NaN, quotes included.
const notNumber = `"N"`

func (r *xgbReader) unknown() error {
	return r.refuse("is not known: it might change what the trees mean")
}

func (r *xgbReader) learner(key string) (err error) {
	switch key {
	case "attributes":
		return r.object(r.attribute)
	case "feature_names":
		r.spec.Features, err = list(r.walker, MaxFeatures, r.text)
	case "feature_types":
		_, err = list(r.walker, MaxFeatures, r.text)
	case "gradient_booster":
		return r.object(r.gradientBooster)
	case "learner_model_param":
		return r.object(r.modelParam)
	case "objective":
		return r.object(func(key string) (err error) {
			if key != "name" { // parameters of training
				return r.skip()
			}
			r.objectiveName, err = r.text()
			return err
		})
	default:
		return r.unknown()
	}
	return err
}

// attribute is a note of the trainer; best_iteration is where early stopping
// found the best trees to end.
func (r *xgbReader) attribute(key string) error {
	if key != "best_iteration" {
		return r.skip()
	}
	var err error
	r.best, err = r.wholeText(0, MaxTrees)
	return err
}

// wholeText is a whole number, written as text.
func (r *xgbReader) wholeText(least, most int) (int, error) {
	text, err := r.text()
	if err != nil {
		return 0, err
	}
	v, err := r.parse(text, 64)
	if err != nil {
		return 0, err
	}
	return r.within(v, least, most)
}

func (r *xgbReader) modelParam(key string) (err error) {
	switch key {
	case "base_score":
		return r.baseScore()
	case "num_feature":
		r.features, err = r.wholeText(1, MaxFeatures)
	case "num_class", "num_target":
		_, err = r.wholeText(0, 1)
	case "boost_from_average":
		_, err = r.text() // base_score is the outcome
	default:
		return r.unknown()
	}
	return err
}

// baseScore is a number as text; since 3.1 a list in a text, with an entry for
// each target.
func (r *xgbReader) baseScore() error {
	text, err := r.text()
	if err != nil {
		return err
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if strings.Contains(text, ",") {
		return r.refuse("has several entries: a model of several answers is not supported")
	}
	r.base, err = r.parse(strings.TrimSpace(text), 64)
	r.baseRead = true
	return err
}

// gradientBooster is gbtree, or dart, which has a gbtree inside.
func (r *xgbReader) gradientBooster(key string) (err error) {
	switch key {
	case "name":
		var name string
		if name, err = r.text(); err == nil && name != "gbtree" && name != "dart" {
			err = r.refuse("%s is not supported; gbtree and dart are", quote(name))
		}
		if name == "dart" || r.booster == "" {
			r.booster = name
		}
	case "model":
		err = r.object(r.model)
	case "gbtree":
		err = r.object(r.gradientBooster)
	case "weight_drop":
		r.dropped, err = list(r.walker, MaxTrees, r.number)
	default:
		err = r.unknown()
	}
	return err
}

func (r *xgbReader) model(key string) (err error) {
	switch key {
	case "trees":
		if r.spec.Trees != nil {
			return r.refuse("there are two lists of trees")
		}
		r.spec.Trees, err = list(r.walker, MaxTrees, r.tree)
	case "tree_info":
		_, err = list(r.walker, MaxTrees, func() (int, error) { return r.whole(0, 0) })
	case "iteration_indptr":
		_, err = list(r.walker, MaxTrees+1, func() (int, error) { return r.whole(0, MaxTrees) })
	case "gbtree_model_param":
		err = r.object(func(key string) (err error) {
			switch key {
			case "num_parallel_tree":
				r.parallel, err = r.wholeText(0, MaxTrees)
			case "num_trees":
				_, err = r.wholeText(0, MaxTrees)
			case "size_leaf_vector":
				_, err = r.wholeText(0, 1)
			default:
				err = r.unknown()
			}
			return err
		})
	case "cats":
		err = r.object(func(key string) error {
			if key != "enc" {
				return r.skip()
			}
			return r.array(0, func(int) error { return nil })
		})
	default:
		err = r.unknown()
	}
	return err
}

// settle what needs the whole file.
func (r *xgbReader) settle() error {
	if len(r.version) != 3 || r.version[0] < 1 || r.version[0] > 3 {
		return refuse("version", "must be 1, 2 or 3, and is %v", r.version)
	}
	if r.booster == "" || r.spec.Trees == nil {
		return refuse("learner.gradient_booster", "name or trees are missing")
	}
	if err := r.names(); err != nil {
		return err
	}
	if err := r.objective(); err != nil {
		return err
	}
	if r.booster != "dart" && r.dropped != nil {
		return refuse("learner.gradient_booster.weight_drop", "belongs to dart, and the booster is %s", r.booster)
	}
	if r.booster == "dart" && len(r.dropped) != len(r.spec.Trees) {
		return refuse("learner.gradient_booster.weight_drop", "there are %d, and %d trees", len(r.dropped), len(r.spec.Trees))
	}
	r.stopEarly()
	r.drop()
	return nil
}

// names are those of the file, or f0, f1, … as XGBoost itself calls them.
func (r *xgbReader) names() error {
	if r.features < 0 {
		return refuse("learner.learner_model_param.num_feature", "is missing")
	}
	if len(r.spec.Features) == 0 {
		for i := range r.features {
			r.spec.Features = append(r.spec.Features, "f"+strconv.Itoa(i))
		}
		r.findings = append(r.findings, "the features have no names: they are called f0, f1, …; name them when training")
	}
	if len(r.spec.Features) != r.features {
		return refuse("learner.feature_names", "there are %d, and num_feature is %d", len(r.spec.Features), r.features)
	}
	return nil
}

// objective, and with it the base: logistic objectives have base_score as a
// probability.
func (r *xgbReader) objective() error {
	if !r.baseRead {
		return refuse("learner.learner_model_param.base_score", "is missing")
	}
	switch r.objectiveName {
	case "binary:logistic", "reg:logistic":
		r.spec.Objective = Binary
		if !(r.base > 0 && r.base < 1) {
			return refuse("learner.learner_model_param.base_score", "must be between 0 and 1 for %s", r.objectiveName)
		}
		r.spec.BaseMargin = float64(float32(-math.Log(float64(1/float32(r.base) - 1))))
	case "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror":
		r.spec.Objective = Regression
		r.spec.BaseMargin = float64(float32(r.base))
	default:
		return refuse("learner.objective.name", "%s is not supported; binary:logistic, reg:logistic and plain regressions are", quote(r.objectiveName))
	}
	return nil
}

// drop is dart's: each tree has a weight.
func (r *xgbReader) drop() {
	if r.booster != "dart" {
		return
	}
	kept := r.spec.Trees[:0]
	for i, tree := range r.spec.Trees {
		if tree.Weight = float64(float32(r.dropped[i])); tree.Weight != 0 {
			kept = append(kept, tree)
		}
	}
	r.spec.Trees = kept
}

// stopEarly leaves out the trees after the best iteration, as XGBoost's
// scikit-learn interface does (its Booster.predict does not).
func (r *xgbReader) stopEarly() {
	best := (r.best + 1) * max(r.parallel, 1)
	if r.best < 0 || best >= len(r.spec.Trees) {
		return
	}
	r.findings = append(r.findings, fmt.Sprintf("training stopped early: of %d trees those up to best_iteration %d are used, as XGBClassifier.predict does",
		len(r.spec.Trees), r.best))
	r.spec.Trees = r.spec.Trees[:best]
}
