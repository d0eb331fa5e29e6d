package backtest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Report is all that a run found.
type Report struct {
	Rightsize []Track  `json:"rightsize"`
	Schedule  []Office `json:"schedule"`
	// Missing recordings, which were left out.
	Missing []string `json:"missing"`
}

// Options of a run.
type Options struct {
	// Data is the folder of the recordings.
	Data string
	// Seed of the generated series.
	Seed uint64
	// Every so manieth recorded series is taken.
	Every int
	// Generated series.
	Generated int
	// Only one half: rightsize or schedule; empty: both.
	Only string
}

// Command runs from arguments and writes the report as JSON.
func Command(_ context.Context, args []string, out io.Writer) error {
	var o Options
	flags := flag.NewFlagSet("ml backtest", flag.ContinueOnError)
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = filepath.Join("..", "shared", "data")
	}
	flags.StringVar(&o.Data, "data", filepath.Join(data, "usage-timeseries"), "folder of the recordings; also $CLOUDOPTIM_DATA")
	flags.Uint64Var(&o.Seed, "seed", 1, "of the generated series")
	flags.IntVar(&o.Every, "every", 1, "take every so manieth recorded series")
	flags.IntVar(&o.Generated, "generated", 60, "number of generated series")
	flags.StringVar(&o.Only, "only", "", "rightsize or schedule; empty: both")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.Every < 1 || o.Generated < 0 {
		return errors.New("-every must be 1 or more, -generated 0 or more")
	}
	report, err := Run(o)
	if err != nil {
		return err
	}
	return write(out, report)
}

func write(out io.Writer, report *Report) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// generatedDays of the made-up series: twelve weeks, over the end of summer time.
const generatedDays = 84

// Run both engines over all recordings there are.
func Run(o Options) (*Report, error) {
	prices, err := market.New()
	if err != nil {
		return nil, fmt.Errorf("loading prices: %w", err)
	}
	report := &Report{}
	if o.Only != "schedule" {
		if err := report.rightsize(o, prices.Snapshot()); err != nil {
			return nil, err
		}
	}
	if o.Only != "rightsize" {
		if err := report.schedule(o, prices.Snapshot()); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// missing notes a recording that is not there and lets the rest go on.
func (r *Report) missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		r.Missing = append(r.Missing, name)
		return nil
	}
	return err
}

func tracks(o Options) []track {
	months := func(s *series) []fold { return daily(s, 14, 14, 56) }
	week := func(s *series) []fold { return daily(s, 7, 0, 56) }
	days := func(s *series) []fold { return daily(s, 6, 0, 56) } // recorded on some days only
	return []track{
		{name: "bitbrains_cpu", engine: true, folds: months, each: func(y func(*series) error) error { return bitbrains(o.Data, false, o.Every, y) }},
		{name: "bitbrains_memory", engine: true, folds: months, each: func(y func(*series) error) error { return bitbrains(o.Data, true, o.Every, y) }},
		{name: "planetlab_cpu", folds: days, each: func(y func(*series) error) error { return planetlab(o.Data, o.Every, y) }},
		{name: "alibaba_memory", folds: halfDay, each: func(y func(*series) error) error { return alibaba(o.Data, o.Every, y) }},
		{name: "nab_cpu", folds: week, each: func(y func(*series) error) error { return nab(o.Data, y) }},
		{name: "synthetic_cpu", synthetic: true, engine: true, folds: months, each: func(y func(*series) error) error {
			return synthetic(o.Seed, o.Generated, generatedDays, false, y)
		}},
		{name: "synthetic_memory", synthetic: true, engine: true, folds: months, each: func(y func(*series) error) error {
			return synthetic(o.Seed, o.Generated, generatedDays, true, y)
		}},
	}
}

// halfDay folds of a recording of one day: learn from the first half, judge the second in pieces
// of three hours.
func halfDay(s *series) []fold {
	var all []fold
	for from := 12; from < len(s.hours); from += 3 {
		all = append(all, fold{from: from, to: min(len(s.hours), from+3), scored: true})
	}
	return all
}

func (r *Report) rightsize(o Options, prices *market.Snapshot) error {
	for _, t := range tracks(o) {
		result, err := t.run(&ours{prices: prices})
		if err = r.missing(t.name, err); err != nil {
			return fmt.Errorf("walking through %s: %w", t.name, err)
		}
		if result.Series > 0 {
			r.Rightsize = append(r.Rightsize, result)
		}
	}
	return nil
}

func (r *Report) schedule(o Options, prices *market.Snapshot) error {
	for _, t := range []struct {
		name, zone string
		made       bool
		each       func(func(*series) error) error
	}{
		// Rnd is a hoster's cluster near Amsterdam and its time stamps are UTC.
		{"bitbrains_cpu", "Europe/Amsterdam", false, func(y func(*series) error) error { return bitbrains(o.Data, false, o.Every, y) }},
		{"synthetic_cpu", "Europe/Berlin", true, func(y func(*series) error) error {
			return synthetic(o.Seed, o.Generated, generatedDays, false, y)
		}},
	} {
		result, err := offices(t.name, t.made, prices, t.zone, t.each)
		if err = r.missing(t.name, err); err != nil {
			return fmt.Errorf("sleeping through %s: %w", t.name, err)
		}
		if result.Weeks > 0 {
			r.Schedule = append(r.Schedule, result)
		}
	}
	return nil
}
