package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// packing is one run beside Karpenter: programs and files.
type packing struct {
	b       *bench
	dir     string
	packer  string // ours
	peer    string // Karpenter on workloads with rules
	harness string // the peers' harness, empty if it is not there
	types   map[string]string
	ratio   map[string]*extreme // by figure

	ours, theirs           timing // on the workloads with rules
	plainOurs, plainTheirs timing // on those without that both were run on
}

// extreme keeps the worst of a figure.
type extreme struct{ value float64 }

// timing is pods over time.
type timing struct{ pods, seconds float64 }

func (t *timing) add(pods int, seconds float64) {
	t.pods += float64(pods)
	t.seconds += seconds
}

func (t timing) rate() float64 { return t.pods / t.seconds }

const (
	packWithin = 40 * time.Minute // the first time builds Karpenter
	packOne    = 10 * time.Minute
	catalogue  = "all"   // every current c, m and r type
	small      = "small" // of those, what has at most 32 vCPU, as many users cap it
)

// pack measures the packing core beside Karpenter's scheduler and beside the bound.
func (b *bench) pack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, packWithin)
	defer cancel()
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	p := &packing{b: b, dir: dir, types: map[string]string{}, ratio: map[string]*extreme{}}
	for _, step := range []func(context.Context) error{p.build, p.plain, p.mixed, p.snapshot, p.ruled, p.large} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	p.figures()
	return nil
}

func (p *packing) build(ctx context.Context) error {
	p.packer, p.peer = filepath.Join(p.dir, "packer"), filepath.Join(p.dir, "karpenter")
	if err := p.command(ctx, p.b.root, "go", "build", "-o", p.packer, "./services/ml/packer"); err != nil {
		return err
	}
	if err := p.command(ctx, filepath.Join(p.b.root, "services", "bench", "karpenter"), "go", "build", "-o", p.peer, "."); err != nil {
		return err
	}
	for name, args := range map[string][]string{
		catalogue: nil, small: {"-max-vcpu", "32"}, "both": {"-arch", "amd64,arm64"}, "both-small": {"-arch", "amd64,arm64", "-max-vcpu", "32"},
	} {
		file := filepath.Join(p.dir, "types-"+name+".json")
		if err := p.command(ctx, p.dir, p.packer, append([]string{"-catalogue", file}, args...)...); err != nil {
			return err
		}
		p.types[name] = file
	}
	return p.buildHarness(ctx)
}

// buildHarness copies the peers' harness, which cannot be built where it is, into the
// cache and builds what is used of it.
func (p *packing) buildHarness(ctx context.Context) error {
	from := os.Getenv("CLOUDOPTIM_KARPENTER_BENCH")
	if from == "" {
		from = filepath.Join(p.b.root, "..", "shared", "bench", "karpenter")
	}
	if _, err := os.Stat(filepath.Join(from, "go.mod")); errors.Is(err, os.ErrNotExist) {
		fmt.Println("pack: the peers' harness is not there ($CLOUDOPTIM_KARPENTER_BENCH): no figures on its workloads")
		return nil
	}
	p.harness = filepath.Join(p.dir, "harness")
	if err := os.CopyFS(p.harness, os.DirFS(from)); err != nil {
		return fmt.Errorf("copying the harness: %w", err)
	}
	if err := p.command(ctx, p.harness, "chmod", "-R", "u+w", "."); err != nil {
		return err
	}
	if err := p.command(ctx, p.harness, "mkdir", "-p", "bin"); err != nil {
		return err
	}
	return p.command(ctx, p.harness, "go", "build", "-o", "bin/", "./cmd/bench", "./cmd/genpods")
}

// command run to its end; its output is kept for the error.
func (*packing) command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", filepath.Base(name), err, out)
	}
	return nil
}

// output of a program as JSON, on one core.
func (*packing) output(ctx context.Context, into any, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, packOne)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running %s: %w", filepath.Base(name), err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("reading what %s said: %w", filepath.Base(name), err)
	}
	return nil
}

// worst keeps the largest value of a figure.
func (p *packing) worst(name string, value float64) {
	e := p.ratio[name]
	if e == nil {
		e = &extreme{value: math.Inf(-1)}
		p.ratio[name] = e
	}
	e.value = max(e.value, value)
}

// figures taken.
func (p *packing) figures() {
	const bound, karpenter = "linear program's lower bound", "Karpenter v1.14.1's scheduler, same pods and types"
	for _, f := range []struct {
		name    string
		target  *float64
		against string
	}{
		{"pack.cost_over_bound", atMost(1.01), bound + ", worst workload without rules"},
		{"pack.cost_over_bound.mixed", atMost(1.05), bound + ", worst workload of spot-tolerant and on-demand-only pods, some in one zone"},
		{"pack.cost_over_bound.mixed_1000", nil, bound + ", the same with only 1,000 pods"},
		{"pack.cost_over_bound.snapshot", nil, bound + ", Alibaba's openb pods"},
		{"pack.cost_over_bound.constrained", nil, bound + ", which knows no rules between pods; worst workload with rules"},
		{"pack.cost_over_karpenter.plain", nil, karpenter + ", worst workload without rules"},
		{"pack.cost_over_karpenter.mixed", nil, karpenter + ", worst mixed workload"},
		{"pack.cost_over_karpenter.snapshot", nil, karpenter + ", Alibaba's openb pods"},
		{"pack.cost_over_karpenter.constrained", atMost(0.95), karpenter + ", worst workload with rules, on demand"},
		{"pack.cost_over_karpenter.constrained_spot", nil, karpenter + ", worst workload with rules, spot and on demand"},
		{"pack.seconds.10000", atMost(0.5), "slowest workload of 10,000 pods, one core"},
		{"pack.seconds.100000", atMost(10), "one core"},
	} {
		if e := p.ratio[f.name]; e != nil {
			unit := "times"
			if strings.HasPrefix(f.name, "pack.seconds") {
				unit = "s"
			}
			p.b.note(f.name, e.value, unit, f.target, f.against)
		}
	}
	if p.theirs.seconds > 0 {
		p.b.noteAtLeast("pack.speed_over_karpenter", p.ours.rate()/p.theirs.rate(), "times", 100, karpenter+", pods/s over the workloads with rules")
	}
	if p.plainTheirs.seconds > 0 {
		p.b.noteAtLeast("pack.speed_over_karpenter.plain", p.plainOurs.rate()/p.plainTheirs.rate(), "times", 100, karpenter+", pods/s over the workloads without rules")
	}
}
