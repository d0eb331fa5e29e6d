package forest

import "slices"

// nativeReader fills a Spec from our own format.
type nativeReader struct {
	*walker
	spec          Spec
	format        string
	version       int
	nodes, leaves int // so far, of all trees
	listed        int // categories so far
}

func parseNative(raw []byte) (Spec, error) {
	r := &nativeReader{walker: walk(raw)}
	if err := r.object(r.head); err != nil {
		return Spec{}, err
	}
	if err := r.end(); err != nil {
		return Spec{}, err
	}
	if r.format != nativeFormat || r.version != nativeVersion {
		return Spec{}, refuse("format", "must be %q in version %d, and is %s in version %d", nativeFormat, nativeVersion, quote(r.format), r.version)
	}
	return r.spec, nil
}

func (r *nativeReader) head(key string) (err error) {
	switch key {
	case "format":
		r.format, err = r.text()
	case "version":
		r.version, err = r.whole(0, 1<<20)
	case "objective":
		var name string
		name, err = r.text()
		r.spec.Objective = Objective(name)
	case "sigmoid":
		r.spec.Sigmoid, err = r.number()
	case "precision":
		r.spec.Float32, err = r.precision()
	case "base_margin":
		r.spec.BaseMargin, err = r.number()
	case "features":
		r.spec.Features, err = list(r.walker, MaxFeatures, r.text)
	case "trees":
		r.spec.Trees, err = list(r.walker, MaxTrees, r.tree)
	default:
		err = r.rest(key)
	}
	return err
}

// rest is what does not change how trees are walked.
func (r *nativeReader) rest(key string) (err error) {
	switch key {
	case "calibration":
		r.spec.Calibration, err = list(r.walker, MaxCalibration, r.point)
	case "metrics":
		r.spec.Metrics = map[string]float64{}
		err = r.object(func(name string) (err error) {
			r.spec.Metrics[name], err = r.number()
			return err
		})
	case "notes":
		r.spec.Notes = map[string]string{}
		err = r.object(func(name string) (err error) {
			r.spec.Notes[name], err = r.text()
			return err
		})
	default:
		err = r.refuse("is not known in version %d", nativeVersion)
	}
	return err
}

func (r *nativeReader) precision() (bool, error) {
	name, err := r.text()
	if err == nil && name != "float32" && name != "float64" {
		err = r.refuse("must be float32 or float64")
	}
	return name == "float32", err
}

func (r *nativeReader) point() (Point, error) {
	pair, err := list(r.walker, 2, r.number)
	if err != nil {
		return Point{}, err
	}
	if len(pair) != 2 {
		return Point{}, r.refuse("must be two numbers")
	}
	return Point{From: pair[0], To: pair[1]}, nil
}

func (r *nativeReader) tree() (Tree, error) {
	var t Tree
	err := r.object(func(key string) (err error) {
		switch key {
		case "weight":
			t.Weight, err = r.number()
		case "nodes":
			t.Nodes, err = list(r.walker, MaxNodes-r.nodes, r.node)
		case "leaves":
			t.Leaves, err = list(r.walker, MaxNodes+MaxTrees-r.leaves, r.leaf)
		default:
			err = r.refuse("is not known")
		}
		return err
	})
	r.nodes += len(t.Nodes)
	r.leaves += len(t.Leaves)
	return t, err
}

func (r *nativeReader) node() (Node, error) {
	var n Node
	err := r.object(func(key string) (err error) {
		switch key {
		case "feature":
			n.Feature, err = r.whole(0, MaxFeatures)
		case "op":
			var i int
			i, err = r.oneOf(opNames)
			n.Op = Op(i)
		case "threshold":
			n.Threshold, err = r.number()
		case "set":
			n.Set, err = list(r.walker, min(MaxCategory+1, MaxCategories-r.listed), r.category)
			r.listed += len(n.Set)
		case "missing":
			var i int
			i, err = r.oneOf(missingNames)
			n.Missing = Missing(i)
		case "default_left":
			n.DefaultLeft, err = r.flag()
		case "left":
			n.Left, err = r.whole(-MaxNodes-1, MaxNodes)
		case "right":
			n.Right, err = r.whole(-MaxNodes-1, MaxNodes)
		default:
			err = r.refuse("is not known")
		}
		return err
	})
	return n, err
}

func (r *nativeReader) category() (uint16, error) {
	c, err := r.whole(0, MaxCategory)
	return uint16(c), err
}

func (r *nativeReader) leaf() (Leaf, error) {
	var l Leaf
	err := r.object(func(key string) (err error) {
		switch key {
		case "value":
			l.Value, err = r.number()
		case "cover":
			l.Cover, err = r.number()
		default:
			err = r.refuse("is not known")
		}
		return err
	})
	return l, err
}

func (r *nativeReader) oneOf(names []string) (int, error) {
	name, err := r.text()
	if err != nil {
		return 0, err
	}
	i := slices.Index(names, name)
	if i < 0 {
		return 0, r.refuse("%s is not one of %q", quote(name), names)
	}
	return i, nil
}
