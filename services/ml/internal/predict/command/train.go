package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

const trainUsage = `ml train learns a model of spot interruptions and writes it to a file that
can be uploaded to ml (format cloudoptim).

Lives of instances, one a row, as CSV with this header or as JSON Lines with these names:

  instance_type,region,availability_zone,started_at,ended_at,ended_by,price_over_on_demand

  ended_by is "interruption" where AWS took the instance back. Anything else or nothing means that
  it was ended otherwise, or still ran at ended_at: it counts for as long as it was seen.
  price_over_on_demand may be left out.

Or observations of pools from which a fixed number of instances is always wanted, one for each pool and time:

  time,instance_type,region,availability_zone,units_up,price_over_on_demand

Times are RFC 3339. Everything in the file is learned from; ml evaluate says beforehand what such a
model is worth.

`

// Train is ml train.
func Train(ctx context.Context, args []string, out io.Writer) error {
	var in inputs
	fs := flags("train", trainUsage, out)
	in.flags(fs)
	path := fs.String("out", "", "the model file to write")
	if err := fs.Parse(args); err != nil {
		return asked(err)
	}
	if *path == "" || fs.NArg() > 0 {
		return errors.New("-out is missing, or there are arguments beside the flags")
	}
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	l, err := in.load(say)
	if err != nil {
		return err
	}
	say("%s", described(l.data))
	l.cfg.Context = ctx
	trained, err := hazard.Train(l.data, l.extractor, l.cfg)
	if err != nil {
		return err
	}
	return save(trained, *path, say)
}

func save(t *hazard.Trained, path string, say func(string, ...any)) error {
	var file bytes.Buffer
	if err := forest.Write(&file, t.Spec); err != nil {
		return err
	}
	if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
		return err
	}
	sum := sha256.Sum256(file.Bytes())
	say("what it goes by: %s", leading(t.Importance, 8))
	say("wrote %s, %d bytes, sha256 %s", path, file.Len(), hex.EncodeToString(sum[:]))
	return nil
}

// leading features by importance.
func leading(importance []float64, n int) string {
	var parts []string
	used := make([]bool, len(importance))
	for range n {
		best := -1
		for i, v := range importance {
			if !used[i] && v > 0 && (best < 0 || v > importance[best]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		used[best] = true
		parts = append(parts, fmt.Sprintf("%s %.0f %%", feature.Schema[best].Name, 100*importance[best]))
	}
	return strings.Join(parts, ", ")
}

func described(d *history.Data) string {
	first, last, lost := d.Series[0].Start, d.Series[0].End(), 0
	for _, s := range d.Series {
		if s.Start.Before(first) {
			first = s.Start
		}
		if s.End().After(last) {
			last = s.End()
		}
		for _, n := range s.Lost {
			lost += int(n)
		}
	}
	return fmt.Sprintf("%d pools from %s to %s, %d interruptions", len(d.Series), first.Format("2006-01-02 15:04"), last.Format("2006-01-02 15:04"), lost)
}

func flags(name, usage string, out io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("ml "+name, flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprint(out, usage)
		fs.PrintDefaults()
	}
	return fs
}

// asked for help is no error.
func asked(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}
