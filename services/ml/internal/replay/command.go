package replay

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Command is ml replay with its arguments.
func Command(_ context.Context, args []string, out io.Writer) error {
	var traces, prices string
	var c settings
	fs := flag.NewFlagSet("ml replay", flag.ContinueOnError)
	fs.StringVar(&traces, "traces", "", "folder of preemption traces, .json or .tar.gz in SkyPilot's format, in files named zone_label.json")
	fs.StringVar(&prices, "prices", "", "price events, .csv.gz of instance_type,az,timestamp,price, for traces without prices")
	fs.DurationVar(&c.boot, "boot", 3*time.Minute, "from a launch until the node serves")
	fs.Float64Var(&c.restartCost, "restart-cost", 1, "USD that the engine counts an interruption of a node with")
	fs.Float64Var(&c.maxPoolShare, "max-pool-share", 0.5, "the constraint of this name for cloudoptim_with_pool_share")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if traces == "" {
		return errors.New("-traces must name a folder")
	}
	if c.boot <= 0 || c.restartCost < 0 || !(c.maxPoolShare > 0 && c.maxPoolShare <= 1) {
		return errors.New("-boot must be above 0, -restart-cost not below 0 and -max-pool-share above 0 and at most 1")
	}
	r, err := replay(traces, prices, c)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func replay(traces, prices string, c settings) (*Report, error) {
	recorded, err := readTraces(traces)
	if err != nil {
		return nil, err
	}
	var h history
	if prices != "" {
		if h, err = readHistory(prices); err != nil {
			return nil, err
		}
	}
	known, err := market.New()
	if err != nil {
		return nil, err
	}
	sets, left := scenarios(recorded, h, known.Snapshot())
	if len(sets) == 0 {
		return nil, fmt.Errorf("none of the sets of traces can be replayed: %v", left)
	}
	r, err := play(sets, c)
	if err != nil {
		return nil, err
	}
	r.LeftOut = left
	return r, nil
}
