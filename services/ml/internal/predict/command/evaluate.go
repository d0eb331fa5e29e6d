package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/evaluate"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

const evaluateUsage = `ml evaluate trains on the early part of the data and measures on the late part, beside
simpler ways to predict. What is tuned is tuned within the early part.

`

// Evaluate is ml evaluate.
func Evaluate(ctx context.Context, args []string, out io.Writer) error {
	var in inputs
	fs := flags("evaluate", evaluateUsage, out)
	in.flags(fs)
	share := fs.Float64("train-share", 0.7, "share of the time that is trained on; the rest is the test")
	splitText := fs.String("split", "", "where training ends and the test begins, RFC 3339; empty: by -train-share")
	horizon := fs.Float64("horizon-minutes", 60, "the loss must come within so many minutes: 15, 30, 45, 60, 90, 120, 180, 240, 360, 540, 720, 1080 or 1440")
	testEvery := fs.Duration("test-every", 10*time.Minute, "time between test rows of a pool")
	testMatch := fs.String("test-match", "", "traces: test only on recordings whose folder matches this regular expression")
	leave := fs.Bool("leave-pool-out", false, "also test each pool with a model that was trained on the others")
	shuffle := fs.Bool("shuffle", false, "also deal the outcomes anew among all rows: an AUC far from 0.5 would show a leak")
	asJSON := fs.Bool("json", false, "print the report as JSON")
	if err := fs.Parse(args); err != nil {
		return asked(err)
	}
	if !(*share >= 0.2 && *share <= 0.95) || *testEvery < time.Minute {
		return errors.New("-train-share must be 0.2 to 0.95 and -test-every at least 1m")
	}
	if !isEdge(*horizon) {
		return errors.New("-horizon-minutes must be one of those that -help lists")
	}
	say := func(format string, args ...any) {
		if !*asJSON {
			fmt.Fprintf(out, format+"\n", args...)
		}
	}
	l, err := in.load(say)
	if err != nil {
		return err
	}
	l.cfg.Context = ctx
	say("%s", described(l.data))
	task := evaluate.Task{HorizonMinutes: *horizon, Every: *testEvery, End: l.cfg.To}
	if err := pick(&task, l, *share, *splitText, *testMatch); err != nil {
		return err
	}
	report, err := evaluate.Run(l.data, l.extractor, evaluate.Options{Task: task, Train: l.cfg, LeavePoolOut: *leave, Shuffle: *shuffle})
	if err != nil {
		return err
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return report.Print(out)
}

// pick where the test begins and what is tested on.
func pick(task *evaluate.Task, l *loaded, share float64, split, match string) (err error) {
	task.Split = splitAt(l.data, l.cfg.From, l.cfg.To, share)
	if split != "" {
		if task.Split, err = time.Parse(time.RFC3339, split); err != nil {
			return fmt.Errorf("reading -split: %w", err)
		}
	}
	if task.Match, err = regexp.Compile(match); err != nil {
		return fmt.Errorf("reading -test-match: %w", err)
	}
	return nil
}

func splitAt(d *history.Data, from, to time.Time, share float64) time.Time {
	first, last := hazard.Span(d)
	if from.IsZero() {
		from = first
	}
	if to.IsZero() {
		to = last
	}
	return from.Add(time.Duration(share * float64(to.Sub(from)))).Truncate(time.Second)
}

func isEdge(minutes float64) bool {
	for _, edge := range hazard.Edges[1:] {
		if minutes == edge && minutes <= 1440 {
			return true
		}
	}
	return false
}
