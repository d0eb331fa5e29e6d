package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	// sizingEvery so manieth recorded series is walked through, sizingMade are generated.
	sizingEvery, sizingMade = "5", "30"
	sizingAgainst           = "the same samples, walked forward in one run"
)

// sizingReport is what ml backtest prints, as far as figures are made of it.
type sizingReport struct {
	Rightsize []sizingTrack  `json:"rightsize"`
	Schedule  []sizingOffice `json:"schedule"`
	Missing   []string       `json:"missing"`
}

type sizingTrack struct {
	Name      string              `json:"name"`
	Synthetic bool                `json:"synthetic"`
	Curves    []sizingCurve       `json:"curves"`
	Slack     map[string]*float64 `json:"slack_at_1pct_exceedance"`
}

type sizingCurve struct {
	Name   string        `json:"name"`
	Points []sizingPoint `json:"points"`
}

type sizingPoint struct {
	Setting        string  `json:"setting"`
	Exceedance     float64 `json:"exceedance"`
	Slack          float64 `json:"slack"`
	ChangesPerWeek float64 `json:"changes_per_week"`
}

type sizingOffice struct {
	Name      string `json:"name"`
	Synthetic bool   `json:"synthetic"`
	Methods   []struct {
		Name       string  `json:"name"`
		FalseSleep float64 `json:"false_sleep_minutes_per_week"`
		Saved      float64 `json:"saved_over_oracle"`
	} `json:"methods"`
}

// sizing walks rightsize and schedule forward through recorded usage, in the program that
// decides, and notes them beside their peers.
func (b *bench) sizing(ctx context.Context) error {
	report, err := b.backtest(ctx)
	if err != nil {
		return err
	}
	if len(report.Missing) > 0 {
		return fmt.Errorf("recordings are missing, name their folder in CLOUDOPTIM_DATA: %v", report.Missing)
	}
	for _, t := range report.Rightsize {
		b.noteTrack(t)
	}
	b.noteSlack(report.Rightsize)
	for _, o := range report.Schedule {
		b.noteOffice(o)
	}
	return nil
}

func (b *bench) backtest(ctx context.Context) (*sizingReport, error) {
	dir, remove, err := scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	program := filepath.Join(dir, "ml")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./services/ml")
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building ml: %w", err)
	}
	walk := exec.CommandContext(ctx, program, "backtest", "-every", sizingEvery, "-generated", sizingMade)
	walk.Dir, walk.Stderr = b.root, os.Stderr
	out, err := walk.Output()
	if err != nil {
		return nil, fmt.Errorf("walking through recordings: %w", err)
	}
	report := &sizingReport{}
	if err := json.Unmarshal(out, report); err != nil {
		return nil, fmt.Errorf("reading the backtest's report: %w", err)
	}
	return report, nil
}

// sizingMethods in the order they are noted.
var sizingMethods = []string{"ours", "vpa", "krr", "max15", "keep", "oracle"}

// noteTrack notes each method's slack at one in a hundred samples above, and where the defaults are.
func (b *bench) noteTrack(t sizingTrack) {
	name := "rightsize." + t.Name
	fmt.Printf("\n%s: share of samples above the request, slack, changes a week\n", t.Name)
	for _, method := range sizingMethods {
		if slack := t.Slack[method]; slack != nil {
			b.note(name+".slack_at_1pct."+method, *slack, "of the request", nil, sizingAgainst)
		}
	}
	for _, c := range t.Curves {
		for i, p := range c.Points {
			fmt.Printf("  %-14s %-14s %.4f %.3f %.2f\n", c.Name, p.Setting, p.Exceedance, p.Slack, p.ChangesPerWeek)
			if i == 0 && (c.Name == "ours.policy" || c.Name == "vpa.factor" || c.Name == "krr.factor") {
				method := map[string]string{"ours.policy": "ours", "vpa.factor": "vpa", "krr.factor": "krr"}[c.Name]
				b.note(name+".default.exceedance_pct."+method, 100*p.Exceedance, "%", nil, sizingAgainst)
				b.note(name+".default.slack."+method, p.Slack, "of the request", nil, sizingAgainst)
				b.note(name+".default.changes_per_week."+method, p.ChangesPerWeek, "", nil, sizingAgainst)
			}
		}
	}
}

// noteSlack notes the mean of CPU and memory on the machines that were recorded for three months,
// where the whole engine is walked: its target is the better of its two peers.
func (b *bench) noteSlack(all []sizingTrack) {
	mean := map[string]float64{}
	for _, method := range sizingMethods {
		sum, n := 0.0, 0.0
		for _, t := range all {
			if slack := t.Slack[method]; slack != nil && (t.Name == "bitbrains_cpu" || t.Name == "bitbrains_memory") {
				sum, n = sum+*slack, n+1
			}
		}
		if n == 2 {
			mean[method] = sum / n
		}
	}
	const name = "rightsize.slack_at_1pct_exceedance"
	for _, method := range sizingMethods[1:] {
		if slack, ok := mean[method]; ok {
			b.note(name+"."+method, slack, "of the request", nil, sizingAgainst)
		}
	}
	b.note(name, mean["ours"], "of the request", atMost(min(mean["vpa"], mean["krr"])), "the better of VPA and KRR, "+sizingAgainst)
}

// noteOffice notes activity met asleep and quiet hours slept through.
func (b *bench) noteOffice(o sizingOffice) {
	name := "schedule." + o.Name
	for _, m := range o.Methods {
		if m.Name == "always_on" { // neither saves nor disturbs
			continue
		}
		suffix, target := "."+m.Name, (*float64)(nil)
		if m.Name == "ours" {
			suffix = ""
			for _, peer := range o.Methods {
				if peer.Name == "mon_fri_8_20" {
					target = atMost(peer.FalseSleep)
				}
			}
		}
		b.note(name+".false_sleep_minutes_per_week"+suffix, m.FalseSleep, "min", target, sizingAgainst)
		b.note(name+".saved_over_oracle"+suffix, m.Saved, "of the hours", nil, "whoever knows the week")
	}
}
