// Package command has what people run at a terminal: ml train and ml evaluate.
package command

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/hazard"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// inputs are the flags that both commands take.
type inputs struct {
	data, match, from, to string
	every                 time.Duration
	seed                  uint64
	robust                bool
	trees                 int
}

func (in *inputs) flags(fs *flag.FlagSet) {
	fs.StringVar(&in.data, "data", "", "what was seen of pools: lives of instances or observations (.csv, .jsonl, also .gz),\nor traces in the format of skypilot-org/spot-traces (.tar.gz)")
	fs.StringVar(&in.match, "match", "", "traces: only files whose path matches this regular expression")
	fs.StringVar(&in.from, "from", "", "leave out what was before, RFC 3339; empty: all")
	fs.StringVar(&in.to, "to", "", "leave out what was later, RFC 3339; empty: all")
	fs.DurationVar(&in.every, "every", 10*time.Minute, "time between training examples of a probed pool")
	fs.Uint64Var(&in.seed, "seed", 1, "seed of all draws; the same input and seed give the same model")
	fs.IntVar(&in.trees, "trees", 300, "trees of each of the model's three sums at most")
	fs.BoolVar(&in.robust, "robust", true, "also learn from examples with the features taken out that a fleet without probes lacks")
}

// loaded is the data with what is needed to make examples of it.
type loaded struct {
	data      *history.Data
	extractor *feature.Extractor
	cfg       hazard.Config
}

func (in *inputs) load(say func(string, ...any)) (*loaded, error) {
	if in.data == "" {
		return nil, errors.New("-data is missing: it names the file to learn from")
	}
	if in.every < time.Minute || in.every > 24*time.Hour {
		return nil, errors.New("-every must be 1m to 24h")
	}
	if in.trees < 1 || in.trees > 2000 {
		return nil, errors.New("-trees must be 1 to 2000")
	}
	match, err := regexp.Compile(in.match)
	if err != nil {
		return nil, fmt.Errorf("reading -match: %w", err)
	}
	data, err := read(in.data, match)
	if err != nil {
		return nil, err
	}
	cfg := hazard.Config{Every: in.every, Seed: in.seed, Robust: in.robust, Trees: in.trees, Say: say, DataSHA256: data.SHA256}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"-from", in.from, &cfg.From}, {"-to", in.to, &cfg.To}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = time.Parse(time.RFC3339, t.text); err != nil {
			return nil, fmt.Errorf("reading %s: %w", t.name, err)
		}
	}
	prices, err := market.New()
	if err != nil {
		return nil, err
	}
	return &loaded{data: data, cfg: cfg, extractor: feature.NewExtractor(data.Series, prices.Snapshot().Type, buckets(prices.Snapshot()))}, nil
}

// buckets of the snapshot, for times from its publication on: the bucket of a
// later month knows what happened in it.
func buckets(s *market.Snapshot) feature.Buckets {
	var asOf time.Time
	for _, source := range s.Sources() {
		if source.Name == market.SpotAdvisor {
			asOf = source.AsOf
		}
	}
	return func(region, name string, at time.Time) (int, bool) {
		b := s.Bucket(region, name)
		return b, b != catalogue.Unknown && !at.Before(asOf)
	}
}

// read a file by what its name says it is.
func read(path string, match *regexp.Regexp) (*history.Data, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	in := io.TeeReader(file, sum)
	data, err := parse(path, in, match)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what a reader left, for the sum
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	data.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return data, nil
}

func parse(path string, in io.Reader, match *regexp.Regexp) (*history.Data, error) {
	name := strings.ToLower(path)
	if strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz") {
		return history.ReadTraces(in, match)
	}
	if strings.HasSuffix(name, ".gz") {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("decompressing: %w", err)
		}
		in, name = unzip, strings.TrimSuffix(name, ".gz")
	}
	switch {
	case strings.HasSuffix(name, ".csv"):
		return history.ReadCSV(in)
	case strings.HasSuffix(name, ".jsonl"):
		return history.ReadJSONL(in)
	}
	return nil, errors.New("the name must end with .csv, .jsonl (each also with .gz) or .tar.gz")
}
