package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// spotPrices are the price events of the types in the traces, by zone, below the folder
// of real data; the traces are beside them.
const spotPrices = "spot-price-history/ec2-gpu-p2p3-2020-per-az-events.csv.gz"

// outcome of a policy, of what ml replay prints.
type outcome struct {
	Policy              string  `json:"policy"`
	CostOverClairvoyant float64 `json:"cost_over_clairvoyant"`
	CostOverOnDemand    float64 `json:"cost_over_on_demand"`
	Availability        float64 `json:"availability"`
	ShortMinutes        float64 `json:"short_minutes_per_node_day"`
	Interruptions       float64 `json:"interruptions_per_node_day"`
}

// spot replays mixes of spot pools on recorded preemptions: the engine's choice beside
// what others would have chosen, and beside somebody who knows the future.
func (b *bench) spot(ctx context.Context) error {
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = filepath.Join(b.root, "..", "shared", "data")
	}
	replay := exec.CommandContext(ctx, "go", "run", "./services/ml", "replay",
		"-traces", filepath.Join(data, "spot-traces"), "-prices", filepath.Join(data, filepath.FromSlash(spotPrices)))
	replay.Dir, replay.Stderr = b.root, os.Stderr
	out, err := replay.Output()
	if err != nil {
		return fmt.Errorf("replaying the traces in %s (CLOUDOPTIM_DATA names another folder): %w", data, err)
	}
	return b.mixes(out)
}

// mixes takes the figures of a replay down.
func (b *bench) mixes(report []byte) error {
	var r struct {
		Mean []outcome `json:"mean"`
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return fmt.Errorf("reading the replay's report: %w", err)
	}
	const ours, against = "cloudoptim", "who knows the future, same traces"
	found := false
	for _, o := range r.Mean {
		if o.Policy == ours {
			found = true
			b.note("spot.cost_over_clairvoyant", o.CostOverClairvoyant, "times", nil, against)
			b.note("spot.cost_over_on_demand", o.CostOverOnDemand, "times", nil, "on-demand nodes alone, same traces")
		} else {
			b.note("spot.cost_over_clairvoyant."+o.Policy, o.CostOverClairvoyant, "times", nil, against)
		}
		b.note("spot.availability_pct."+o.Policy, 100*o.Availability, "%", nil, "")
		b.note("spot.short_minutes_per_node_day."+o.Policy, o.ShortMinutes, "min", nil, "")
		b.note("spot.interruptions_per_node_day."+o.Policy, o.Interruptions, "", nil, "")
	}
	if !found {
		return errors.New("the replay's report has no line for " + ours)
	}
	return nil
}
