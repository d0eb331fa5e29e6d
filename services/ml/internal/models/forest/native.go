package forest

import (
	"encoding/json"
	"fmt"
	"io"
)

// Our own format is JSON:
//
//	{"format": "cloudoptim", "version": 1,
//	 "objective": "binary", "sigmoid": 1, "precision": "float64", "base_margin": -1.5,
//	 "features": ["age_hours", …],
//	 "calibration": [[0.01, 0.02], …], "metrics": {"auc": 0.86}, "notes": {"trained_at": "…"},
//	 "trees": [{"weight": 1,
//	   "nodes":  [{"feature": 0, "op": "<", "threshold": 3.5, "missing": "nan", "default_left": true, "left": 1, "right": -1}, …],
//	   "leaves": [{"value": 0.1, "cover": 250}, …]}, …]}
//
// The fields are those of Spec. op is <=, <, in or not_in (the last two with set,
// a list of categories), missing is nan, zero or none. Keys that are not known are
// refused; what is left out has its zero value.
const (
	nativeFormat  = "cloudoptim"
	nativeVersion = 1
)

var (
	opNames      = []string{LessEqual: "<=", Less: "<", In: "in", NotIn: "not_in"}
	missingNames = []string{MissingNaN: "nan", MissingZero: "zero", MissingNone: "none"}
)

type nativeFile struct {
	Format      string             `json:"format"`
	Version     int                `json:"version"`
	Objective   Objective          `json:"objective"`
	Sigmoid     float64            `json:"sigmoid,omitempty"`
	Precision   string             `json:"precision"`
	BaseMargin  float64            `json:"base_margin"`
	Features    []string           `json:"features"`
	Calibration [][2]float64       `json:"calibration,omitempty"`
	Metrics     map[string]float64 `json:"metrics,omitempty"`
	Notes       map[string]string  `json:"notes,omitempty"`
	Trees       []nativeTree       `json:"trees"`
}

type nativeTree struct {
	Weight float64      `json:"weight,omitempty"`
	Nodes  []nativeNode `json:"nodes,omitempty"`
	Leaves []nativeLeaf `json:"leaves"`
}

type nativeNode struct {
	Feature     int      `json:"feature"`
	Op          string   `json:"op"`
	Threshold   float64  `json:"threshold,omitempty"`
	Set         []uint16 `json:"set,omitempty"`
	Missing     string   `json:"missing"`
	DefaultLeft bool     `json:"default_left,omitempty"`
	Left        int      `json:"left"`
	Right       int      `json:"right"`
}

type nativeLeaf struct {
	Value float64 `json:"value"`
	Cover float64 `json:"cover,omitempty"`
}

// Write a Spec in our own format, byte for byte the same for the same Spec. One
// that New refuses is not written.
func Write(to io.Writer, s Spec) error {
	if _, err := New(s); err != nil {
		return fmt.Errorf("checking the model: %w", err)
	}
	file := nativeFile{
		Format: nativeFormat, Version: nativeVersion, Objective: s.Objective, Sigmoid: s.Sigmoid, Precision: "float64",
		BaseMargin: s.BaseMargin, Features: s.Features, Metrics: s.Metrics, Notes: s.Notes,
	}
	if s.Float32 {
		file.Precision = "float32"
	}
	for _, p := range s.Calibration {
		file.Calibration = append(file.Calibration, [2]float64{p.From, p.To})
	}
	for i := range s.Trees {
		file.Trees = append(file.Trees, toNative(&s.Trees[i]))
	}
	if err := json.NewEncoder(to).Encode(file); err != nil {
		return fmt.Errorf("writing the model: %w", err)
	}
	return nil
}

func toNative(t *Tree) nativeTree {
	made := nativeTree{Weight: t.Weight}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		written := nativeNode{
			Feature: n.Feature, Op: opNames[n.Op], Missing: missingNames[n.Missing], DefaultLeft: n.DefaultLeft, Left: n.Left, Right: n.Right,
		}
		if n.Op < In {
			written.Threshold = n.Threshold
		} else {
			written.Set = n.Set
		}
		made.Nodes = append(made.Nodes, written)
	}
	for _, leaf := range t.Leaves {
		made.Leaves = append(made.Leaves, nativeLeaf(leaf))
	}
	return made
}
