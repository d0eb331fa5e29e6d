package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// masked is what services/ml/internal/gaps/mask prints for a way to hide rows: mean
// absolute errors, each series' divided by its mean.
type masked struct {
	Rules, SeasonalNaive, Linear float64
	Series, Rows                 int
}

// gaps hides rows of real series and compares what ml's rules put in their place with
// what was there, beside the same time a week before and a straight line.
func (b *bench) gaps(ctx context.Context) error {
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = filepath.Join(b.root, "..", "shared", "data")
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./services/ml/internal/gaps/mask", "-data", data)
	cmd.Dir, cmd.Stderr = b.root, os.Stderr
	out := &bytes.Buffer{}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("hiding rows of the series in %s: %w", data, err)
	}
	var scores map[string]masked
	if err := json.Unmarshal(out.Bytes(), &scores); err != nil {
		return fmt.Errorf("reading what mask found: %w", err)
	}
	var sum masked
	for _, name := range []string{"random", "block", "day"} {
		s, ok := scores[name]
		if !ok || s.Series == 0 {
			return fmt.Errorf("mask compared no series by %s", name)
		}
		about := fmt.Sprintf("%d rows of %d series hidden", s.Rows, s.Series)
		b.note("gaps.mae_over_seasonal_naive."+name, s.Rules/s.SeasonalNaive, "times", atMost(1), "the same time a week before; "+about)
		b.note("gaps.mae_over_linear."+name, s.Rules/s.Linear, "times", nil, "a straight line; "+about)
		sum.Rules, sum.SeasonalNaive = sum.Rules+s.Rules, sum.SeasonalNaive+s.SeasonalNaive
	}
	b.note("gaps.mae_over_seasonal_naive", sum.Rules/sum.SeasonalNaive, "times", atMost(1), "the same time a week before; all ways alike")
	return nil
}
