package forest

import (
	"bytes"
	"fmt"
	"strings"
)

// LightGBM's text format, versions v3 and v4: a header of key=value lines, a block
// for each tree, "end of trees", and things of no interest. Keys that are not known
// are refused: they might change what the trees mean.

// lgbReader reads line by line.
type lgbReader struct {
	rest []byte // behind the line in hand
	line []byte
	at   int // number of the line in hand
	size int // bytes read, the line in hand not counted

	header     map[string]string
	average    bool
	spec       Spec
	nodes      int // so far, of all trees
	categories int // likewise
	words      int // of category bits, likewise
}

func parseLightGBM(raw []byte) (Spec, []string, error) {
	r := &lgbReader{rest: raw, header: map[string]string{}}
	if err := r.parse(); err != nil {
		return Spec{}, nil, err
	}
	return r.spec, nil, nil
}

func (r *lgbReader) parse() error {
	if !r.next() || string(r.line) != "tree" {
		return r.refuse("file", "must begin with a line \"tree\"")
	}
	if err := r.readHeader(); err != nil {
		return err
	}
	if err := r.applyHeader(); err != nil {
		return err
	}
	if err := r.readTrees(); err != nil {
		return err
	}
	if r.average { // random forest mode: the trees' mean
		for i := range r.spec.Trees {
			r.spec.Trees[i].Weight = 1 / float64(len(r.spec.Trees))
		}
	}
	return r.readTail()
}

// next line, without its end; false: there is none.
func (r *lgbReader) next() bool {
	if len(r.rest) == 0 {
		return false
	}
	if r.at > 0 {
		r.size += len(r.line) + 1
	}
	r.at++
	line, rest, _ := bytes.Cut(r.rest, []byte("\n"))
	r.line, r.rest = line, rest
	return true
}

func (r *lgbReader) refuse(field, reason string, args ...any) error {
	return &Refusal{Field: field, At: fmt.Sprintf("line %d", r.at), Reason: fmt.Sprintf(reason, args...)}
}

func (r *lgbReader) cutOff() error {
	return r.refuse("file", "ends before \"end of trees\": it is cut off")
}

// lgbHeader are the keys that a header may have.
var lgbHeader = map[string]bool{
	"version": true, "num_class": true, "num_tree_per_iteration": true, "label_index": true, "max_feature_idx": true, "objective": true,
	"feature_names": true, "feature_infos": true, "monotone_constraints": true, "tree_sizes": true,
}

// readHeader up to the first tree.
func (r *lgbReader) readHeader() error {
	for r.next() {
		line := string(r.line)
		switch {
		case strings.HasPrefix(line, "Tree="):
			return nil
		case line == "":
			continue
		case line == "average_output":
			r.average = true
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		if !lgbHeader[key] {
			return r.refuse(short(key), "is not known: it might change what the trees mean")
		}
		if _, twice := r.header[key]; twice {
			return r.refuse(key, "the key is repeated")
		}
		r.header[key] = value
	}
	return r.cutOff()
}

func (r *lgbReader) applyHeader() error {
	if v := r.header["version"]; v != "v3" && v != "v4" {
		return refuse("version", "%s is not known; v3 and v4 are", quote(v))
	}
	for _, key := range []string{"num_class", "num_tree_per_iteration"} {
		if r.header[key] != "1" {
			return refuse(key, "is %s and must be 1: a model of several classes has no single answer", quote(r.header[key]))
		}
	}
	if err := r.objective(); err != nil {
		return err
	}
	names := r.header["feature_names"]
	if strings.Count(names, " ") >= MaxFeatures {
		return refuse("feature_names", "there are more than %d", MaxFeatures)
	}
	r.spec.Features = strings.Split(names, " ")
	if last := r.header["max_feature_idx"]; last != fmt.Sprint(len(r.spec.Features)-1) {
		return refuse("max_feature_idx", "is %s, and there are %d feature_names", quote(last), len(r.spec.Features))
	}
	return nil
}

// objective is e.g. "binary sigmoid:1". Of regressions, those are taken whose
// margin is the answer.
func (r *lgbReader) objective() error {
	words := strings.Fields(r.header["objective"])
	if len(words) == 0 {
		return refuse("objective", "is missing: the model was trained with a function of one's own, and what its margin means is not known")
	}
	switch words[0] {
	case "binary":
		r.spec.Objective = Binary
		for _, word := range words[1:] {
			value, ok := strings.CutPrefix(word, "sigmoid:")
			if !ok {
				return refuse("objective", "%s is not known", quote(word))
			}
			scale, err := float([]byte(value))
			if err != nil {
				return refuse("objective", "sigmoid %s is no finite number", quote(value))
			}
			r.spec.Sigmoid = scale
		}
	case "cross_entropy", "xentropy":
		r.spec.Objective = Binary
	case "regression", "regression_l1", "huber", "fair", "quantile", "mape":
		r.spec.Objective = Regression
		for _, word := range words[1:] {
			if !strings.Contains(word, ":") { // sqrt: the margin is the root of the answer
				return refuse("objective", "%s is not supported", quote(r.header["objective"]))
			}
		}
	default:
		return refuse("objective", "%s is not supported; binary, cross_entropy and plain regressions are", quote(words[0]))
	}
	return nil
}

// readTail looks for the mapping of pandas' categories, which the one who asks for
// a prediction does not know.
func (r *lgbReader) readTail() error {
	for r.next() {
		value, ok := bytes.CutPrefix(r.line, []byte("pandas_categorical:"))
		if !ok {
			continue
		}
		if text := string(bytes.TrimSpace(value)); text != "null" && text != "[]" {
			return r.refuse("pandas_categorical", "columns of pandas type category have codes that only the trainer knows; "+
				"train on whole numbers with categorical_feature")
		}
	}
	return nil
}

// short is a key of the file, cut for messages.
func short(key string) string {
	if key == "" {
		return `""`
	}
	quoted := quote(key)
	return quoted[1 : len(quoted)-1]
}
