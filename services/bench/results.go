package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Result is one figure.
type Result struct {
	// Name is its identity: a later run replaces it.
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Target is the most that Value should be; null: none was set.
	Target *float64 `json:"target"`
	// AtLeast turns it around: Target is the least that Value should be.
	AtLeast bool `json:"at_least,omitempty"`
	// Against is what the value was compared with; empty: nothing.
	Against string `json:"against"`
	Machine string `json:"machine"`
	Commit  string `json:"commit"`
	Command string `json:"command"`
}

// load reads the figures taken so far; no file means none.
func load(file string) ([]Result, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Result
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return all, nil
}

func save(file string, all []Result) error {
	buffer := &bytes.Buffer{}
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return err
	}
	return os.WriteFile(file, buffer.Bytes(), 0o644)
}

// elsewhere is where the tree was on the machine of a run: nobody else's business.
var elsewhere = regexp.MustCompile(` -+root[ =]\S+`)

// merge replaces figures of the same name and keeps the others, by name.
func merge(old, taken []Result) []Result {
	byName := map[string]Result{}
	for _, r := range slices.Concat(old, taken) {
		r.Command = elsewhere.ReplaceAllString(r.Command, "")
		byName[r.Name] = r
	}
	all := make([]Result, 0, len(byName))
	for _, r := range byName {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return all
}

const (
	tableBegin = "<!-- table: made from results.json by go run ./services/bench -->"
	tableEnd   = "<!-- end of table -->"
)

// table is the figures as Markdown, then how they came about, each way once.
func table(all []Result) string {
	out := &strings.Builder{}
	out.WriteString("| figure | value | target | against | taken |\n| --- | ---: | ---: | --- | --- |\n")
	var ways []string
	for _, r := range all {
		way := fmt.Sprintf("commit %s, `%s`, on %s", r.Commit, r.Command, r.Machine)
		if !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
		fmt.Fprintf(out, "| `%s` | %s %s | %s | %s | %d |\n", r.Name, number(r.Value), r.Unit, targetOf(r), r.Against, slices.Index(ways, way)+1)
	}
	out.WriteString("\nTaken:\n\n")
	for i, way := range ways {
		fmt.Fprintf(out, "%d. %s\n", i+1, way)
	}
	return out.String()
}

// targetOf says whether the target was met.
func targetOf(r Result) string {
	switch {
	case r.Target == nil:
		return ""
	case r.AtLeast && r.Value >= *r.Target:
		return "≥ " + number(*r.Target) + ", met"
	case r.AtLeast:
		return "≥ " + number(*r.Target) + ", **missed**"
	case r.Value <= *r.Target:
		return "≤ " + number(*r.Target) + ", met"
	default:
		return "≤ " + number(*r.Target) + ", **missed**"
	}
}

// number has three digits that say something, and none that do not; ratios near 1
// have three behind the point.
func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v < 2:
		return strconv.FormatFloat(v, 'f', 3, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// intoReadme puts the table between its markers.
func intoReadme(file, table string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := between(string(raw), table)
	if err != nil {
		return fmt.Errorf("putting the table into %s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

func between(text, table string) (string, error) {
	before, rest, began := strings.Cut(text, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !began || !ended {
		return "", errors.New("the markers of the table are missing")
	}
	return before + tableBegin + "\n\n" + table + "\n" + tableEnd + after, nil
}
