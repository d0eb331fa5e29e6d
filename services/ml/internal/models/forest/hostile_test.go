package forest_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// hostile is a good file with one thing changed, and what the refusal must say.
type hostile struct{ old, new, want string }

func refused(t *testing.T, format string, raw []byte, want string) {
	t.Helper()
	_, _, err := forest.Load(format, raw)
	var refusal *forest.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("%v, want a refusal", err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%q, want it to say %q", err, want)
	}
	if len(err.Error()) > 600 {
		t.Errorf("the refusal has %d bytes", len(err.Error()))
	}
}

func eachHostile(t *testing.T, format, file string, cases map[string]hostile) {
	t.Helper()
	good := read(t, "testdata/golden/"+file)
	if _, _, err := forest.Load(format, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if !bytes.Contains(good, []byte(c.old)) {
				t.Fatalf("the file does not hold %q", c.old)
			}
			refused(t, format, bytes.Replace(good, []byte(c.old), []byte(c.new), 1), c.want)
		})
	}
	t.Run("cut off anywhere", func(t *testing.T) {
		last := len(good) - 1
		if format == forest.LightGBM { // what follows the trees is of no interest
			last = bytes.Index(good, []byte("end of trees"))
		}
		for end := 0; end < last; end += 1 + len(good)/500 {
			if _, _, err := forest.Load(format, good[:end]); err == nil {
				t.Fatalf("taken with %d of %d bytes", end, len(good))
			}
		}
	})
}

// sameSize pads new to the length of old's line, so that tree_sizes stay right.
func sameSize(old, changed string) string {
	if len(changed) > len(old) {
		return changed
	}
	return changed + strings.Repeat("\n", len(old)-len(changed))
}

func TestHostileLightGBM(t *testing.T) {
	const file = "lightgbm-4.7.0-categories.model"
	text := string(read(t, "testdata/golden/"+file))
	line := func(key string) string {
		at := strings.Index(text, "\n"+key+"=") + 1
		return text[at : at+strings.IndexByte(text[at:], '\n')]
	}
	cases := map[string]hostile{
		"another kind of file":        {"tree\n", "forest\n", `must begin with a line "tree"`},
		"a version unknown":           {"version=v4", "version=v9", "version: \"v9\" is not known"},
		"several classes":             {"num_class=1", "num_class=3", "num_class"},
		"several trees an iteration":  {"num_tree_per_iteration=1", "num_tree_per_iteration=3", "num_tree_per_iteration"},
		"an objective unknown":        {"objective=binary sigmoid:1", "objective=lambdarank", "objective: \"lambdarank\" is not supported"},
		"an objective of one's own":   {"objective=binary sigmoid:1\n", "", "objective: is missing"},
		"a poisson objective":         {"objective=binary sigmoid:1", "objective=poisson", "is not supported"},
		"a root of a regression":      {"objective=binary sigmoid:1", "objective=regression sqrt", "is not supported"},
		"a sigmoid that is NaN":       {"sigmoid:1", "sigmoid:NaN", "sigmoid"},
		"a header key unknown":        {"label_index=0", "leaf_scale=7", "leaf_scale (line 5): is not known"},
		"a header key without a name": {"label_index=0", "=0", "\"\" (line 5): is not known"},
		"a header key repeated":       {"label_index=0", "num_class=1", "num_class (line 5): the key is repeated"},
		"names that do not fit":       {"feature_names=a b c d", "feature_names=a b c", "max_feature_idx"},
		"a name twice":                {"feature_names=a b c d", "feature_names=a b c c", "features[3]"},
		"an empty name":               {"feature_names=a b c d", "feature_names=a b  d", "features[2]"},
		"endless names":               {"feature_names=a b c d", "feature_names=" + strings.Repeat("a ", 5000), "feature_names: there are more than 1024"},
		"sizes that do not fit":       {"tree_sizes=", "tree_sizes=1", "tree_sizes"},
		"trees out of order":          {"Tree=1\n", "Tree=2\n", "must be Tree=1"},
		"a tree key unknown":          {"is_linear=0", "leaf_bonus=1", "Tree=0 leaf_bonus"},
		"a tree key without a value":  {"is_linear=0", "shrinkage", "Tree=0 shrinkage"},
		"a tree key repeated":         {"is_linear=0", "num_cat=1", "num_cat (line"},
		"linear trees":                {"is_linear=0", "is_linear=1", "is_linear"},
		"leaves without number":       {"num_leaves=7", "num_leaves=x", "num_leaves"},
		"no leaves":                   {"num_leaves=7", "num_leaves=0", "num_leaves"},
		"negative leaves":             {"num_leaves=7", "num_leaves=-7", "num_leaves"},
		"a count far too large":       {"num_leaves=7", "num_leaves=2147483647", "num_leaves"},
		"a count too large":           {"num_leaves=7", "num_leaves=400000", "must have 400000 entries"},
		"a count just too large":      {"num_leaves=7", "num_leaves=8", "must have 8 entries, and has 7"},
		"a count too small":           {"num_leaves=7", "num_leaves=6", "must have 6 entries, and has more"},
		"categories without count":    {"num_cat=", "num_cat=9999", "cat_boundaries"},
		"pandas' categories":          {"pandas_categorical:null", `pandas_categorical:[["a","b"]]`, "pandas"},
		"a word of categories beyond": {"cat_threshold=", "cat_threshold=99999999999", "cat_threshold"},
	}
	for key, c := range map[string][2]string{
		"split_feature":   {"9 0 0 0 0 0", "feature: 9 is not one of the 4 features"},
		"threshold":       {"nan 0 0 0 0 0", "finite"},
		"first threshold": {"-inf 0 0 0 0 0", "finite"},
		"left_child":      {"0 0 0 0 0 0", "cycle or a shared child"},
		"right_child":     {"77 0 0 0 0 0", "77 is neither"},
		"leaf_value":      {"inf 0 0 0 0 0 0", "finite"},
		"leaf_count":      {"-1 0 0 0 0 0 0", "not negative"},
		"decision_type":   {"12 0 0 0 0 0", "is not known"},
		"cat_boundaries":  {"0 99999", "must"},
		"cat_threshold":   {"-1", "must"},
	} {
		field := strings.TrimPrefix(key, "first ")
		cases["a wrong "+key] = hostile{line(field), sameSize(line(field), field+"="+c[0]), c[1]}
	}
	eachHostile(t, forest.LightGBM, file, cases)
}

func TestHostileXGBoost(t *testing.T) {
	const file = "xgboost-3.2.0-categories.model"
	text := string(read(t, "testdata/golden/"+file))
	// first element of a list of the first tree.
	first := func(key string) string {
		at := strings.Index(text, `"`+key+`":[`)
		return text[at : at+strings.IndexAny(text[at:], ",]")]
	}
	change := func(key, to string) hostile { return hostile{first(key), `"` + key + `":[` + to, ""} }
	want := func(h hostile, want string) hostile { h.want = want; return h }
	eachHostile(t, forest.XGBoost, file, map[string]hostile{
		"the binary format":           {`{"learner"`, "{L\x00\x00", ".json"},
		"no JSON":                     {`{"learner"`, `{learner`, "no JSON"},
		"no object":                   {`{"learner"`, `[{"learner"`, "must be an object"},
		"a key unknown":               {`"version":`, `"magic":`, "magic (byte"},
		"a version unknown":           {`"version":[3,2,0]`, `"version":[9,0,0]`, "version: must be 1, 2 or 3"},
		"no version":                  {`,"version":[3,2,0]`, ``, "version"},
		"something behind":            {`"version":[3,2,0]}`, `"version":[3,2,0]}{}`, "something follows"},
		"a repeated key":              {`"version":[3,2,0]`, `"version":[3,2,0],"version":[3,2,0]`, `the key "version" is repeated`},
		"a repeated key of a tree":    {`"left_children":`, `"left_children":[],"left_children":`, `the key "left_children" is repeated`},
		"several classes":             {`"num_class":"0"`, `"num_class":"3"`, "num_class"},
		"several targets":             {`"num_target":"1"`, `"num_target":"2"`, "num_target"},
		"several base scores":         {`"base_score":"[`, `"base_score":"[0.5,`, "base_score"},
		"a base score of one":         {`"base_score":"[4.9714285E-1]"`, `"base_score":"1"`, "base_score: must be between 0 and 1"},
		"a base score that is NaN":    {`"base_score":"[4.9714285E-1]"`, `"base_score":"nan"`, "not a finite number"},
		"no base score":               {`"base_score":"[4.9714285E-1]",`, ``, "base_score: is missing"},
		"an objective unknown":        {`"name":"binary:logistic"`, `"name":"multi:softprob"`, "is not supported"},
		"another booster":             {`"name":"gbtree"`, `"name":"gblinear"`, "gblinear"},
		"weights without dart":        {`"name":"gbtree"`, `"name":"gbtree","weight_drop":[1]`, "weight_drop"},
		"dart without weights":        {`"name":"gbtree"`, `"name":"dart"`, "weight_drop"},
		"names that do not fit":       {`"feature_names":["a",`, `"feature_names":[`, "feature_names"},
		"no number of features":       {`"num_feature":"4","num_target"`, `"num_target"`, "num_feature"},
		"a feature number too large":  {`"num_feature":"4","num_target"`, `"num_feature":"4000000000","num_target"`, "num_feature"},
		"a class of a tree":           {`"tree_info":[0`, `"tree_info":[1`, "tree_info[0]"},
		"encoded categories":          {`"enc":[]`, `"enc":[{"a":1}]`, "enc"},
		"a leaf with several values":  {`"size_leaf_vector":"1"`, `"size_leaf_vector":"3"`, "size_leaf_vector"},
		"a count of nodes too large":  {`"num_nodes":"`, `"num_nodes":"9`, "num_nodes"},
		"a huge count of nodes":       {`"num_nodes":"`, `"num_nodes":"999999999`, "num_nodes"},
		"deleted nodes that are not":  {`"num_deleted":"0"`, `"num_deleted":"2"`, "num_deleted is 2"},
		"a node that leads to itself": want(change("left_children", "0"), "reached twice"),
		"a child beyond":              want(change("left_children", "99"), "99"),
		"a child below":               want(change("left_children", "-5"), "whole number from -1"),
		"half a leaf":                 want(change("left_children", "-1"), "leads to -1"),
		"a child with a fraction":     want(change("left_children", "1.5"), "whole number"),
		"a child as text":             want(change("left_children", `"1"`), "must be a number"),
		"a feature beyond":            want(change("split_indices", "4"), "feature: 4 is not one of the 4"),
		"a threshold that is NaN":     want(change("split_conditions", "NaN"), "must be finite"),
		"a threshold without end":     want(change("split_conditions", "1e39"), "finite"),
		"an infinite threshold":       want(change("split_conditions", "-Infinity"), "no JSON"),
		"a number of many digits":     want(change("split_conditions", strings.Repeat("1", 9999)), "more than 64 characters"),
		"a deep list":                 want(change("base_weights", strings.Repeat("[", 100000)), "max depth"),
		"a category too large":        want(change("categories", "70000"), "whole number from 0 to 65535"),
		"a category of no node":       want(change("categories_nodes", "999"), "999"),
		"categories beyond":           want(change("categories_sizes", "9999"), "beyond"),
	})
}

func TestHostileNative(t *testing.T) {
	spec := small()
	spec.Metrics, spec.Notes = map[string]float64{"auc": 0.9}, map[string]string{"a": "b"}
	var file bytes.Buffer
	if err := forest.Write(&file, spec); err != nil {
		t.Fatal(err)
	}
	good := file.String()
	for name, c := range map[string]hostile{
		"another format":        {`"cloudoptim"`, `"other"`, "format: must be"},
		"another version":       {`"version":1`, `"version":2`, "in version 2"},
		"a key unknown":         {`"version":1`, `"version":1,"x":1`, "x (byte"},
		"a node's key unknown":  {`"default_left"`, `"x"`, "trees[0].nodes[0].x"},
		"a key repeated":        {`"left":-1`, `"left":-1,"left":-1`, "repeated"},
		"an op unknown":         {`"op":"\u003c"`, `"op":"\u003e"`, "trees[0].nodes[0].op"},
		"missing unknown":       {`"missing":"nan"`, `"missing":"x"`, "trees[0].nodes[0].missing"},
		"a precision unknown":   {`"float64"`, `"float16"`, "precision"},
		"a threshold as text":   {`"threshold":2`, `"threshold":"2"`, "trees[0].nodes[0].threshold"},
		"a threshold too large": {`"threshold":2`, `"threshold":1e999`, "finite"},
		"a set below zero":      {`"set":[1`, `"set":[-1`, "trees[0].nodes[1].set[0]"},
		"a child far away":      {`"left":-1`, `"left":1e18`, "trees[0].nodes[0].left"},
		"a child beyond":        {`"left":-1`, `"left":9`, "trees[0].nodes[0].left"},
		"a note as number":      {`"a":"b"`, `"a":1`, "notes.a"},
		"no end":                {"}\n", "", "cut off"},
		"something behind":      {"]}\n", "]}x", "something follows"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the file does not hold %q: %s", c.old, good)
			}
			refused(t, forest.Native, []byte(strings.Replace(good, c.old, c.new, 1)), c.want)
		})
	}
}

func TestAFileThatIsEmptyTooLargeOrOfNoFormatIsRefused(t *testing.T) {
	refused(t, forest.Native, nil, "is empty")
	refused(t, "onnx", []byte("x"), "format")
	for _, format := range []string{forest.Native, forest.LightGBM, forest.XGBoost} {
		refused(t, format, make([]byte, forest.MaxBytes+1), "must be at most")
	}
}

// TestBombsTakeLittleMemory has files of megabytes that would be gigabytes in
// memory, or claim to be.
func TestBombsTakeLittleMemory(t *testing.T) {
	const size = 8 << 20
	header := "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=binary sigmoid:1\nfeature_names=a\n"
	for name, c := range map[string]struct{ format, raw string }{
		"brackets":             {forest.Native, strings.Repeat("[", size)},
		"objects":              {forest.XGBoost, strings.Repeat(`{"learner":`, size/11)},
		"keys":                 {forest.XGBoost, `{"learner":{"attributes":{` + keys(size/12) + `}}}`},
		"skipped lists":        {forest.XGBoost, `{"learner":{"attributes":{"a":[` + strings.Repeat("0,", size/2) + `0]}}}`},
		"one text":             {forest.XGBoost, `{"learner":{"attributes":{"a":"` + strings.Repeat("x", size) + `"}}}`},
		"one number":           {forest.Native, `{"base_margin":` + strings.Repeat("1", size) + `}`},
		"features":             {forest.Native, `{"features":[` + strings.Repeat(`"",`, size/3) + `""]}`},
		"trees":                {forest.Native, `{"trees":[` + strings.Repeat(`{},`, size/3) + `{}]}`},
		"nodes":                {forest.Native, `{"trees":[{"nodes":[` + strings.Repeat(`{},`, size/3) + `{}]}]}`},
		"leaves":               {forest.Native, `{"trees":[{"leaves":[` + strings.Repeat(`{},`, size/3) + `{}]}]}`},
		"categories":           {forest.Native, `{"trees":[{"nodes":[` + strings.Repeat(`{"set":[`+strings.Repeat("1,", 60000)+`1]},`, size/120000) + `{}]}]}`},
		"xgboost's nodes":      {forest.XGBoost, `{"learner":{"gradient_booster":{"model":{"trees":[{"left_children":[` + strings.Repeat("1,", size/2) + `1]}]}}}}`},
		"xgboost's categories": {forest.XGBoost, `{"learner":{"gradient_booster":{"model":{"trees":[{"categories":[` + strings.Repeat("1,", size/2) + `1]}]}}}}`},
		"lightgbm's names":     {forest.LightGBM, "tree\nversion=v4\nfeature_names=" + strings.Repeat("a ", size/2) + "\n"},
		"lightgbm's lines":     {forest.LightGBM, "tree\n" + strings.Repeat("\n", size)},
		"lightgbm's leaves":    {forest.LightGBM, header + "\nTree=0\nnum_leaves=500001\nleaf_value=" + strings.Repeat("0 ", size/2) + "\n\nend of trees\n"},
		"lightgbm's categories": {forest.LightGBM, header + "\nTree=0\nnum_leaves=2\nnum_cat=1\nsplit_feature=0\nleaf_value=0 0\ncat_boundaries=0 2048\ncat_threshold=" +
			strings.Repeat("4294967295 ", size/11) + "\n\nend of trees\n"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := []byte(c.raw)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			if _, _, err := forest.Load(c.format, raw); err == nil {
				t.Error("taken")
			}
			runtime.ReadMemStats(&after)
			// What was allocated in all, garbage too: a bound of what was held at any time.
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 30*size {
				t.Errorf("%d MiB were taken for a file of %d MiB", taken>>20, len(raw)>>20)
			} else {
				t.Logf("%d MiB in all for %d MiB", taken>>20, len(raw)>>20)
			}
		})
	}
}

func keys(count int) string {
	var all strings.Builder
	for i := range count {
		fmt.Fprintf(&all, `"%07x":0,`, i)
	}
	return all.String() + `"x":0`
}
