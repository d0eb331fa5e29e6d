package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// row is what the peers' harness says of one engine.
type row struct {
	Engine      string  `json:"engine"`
	Pods        int     `json:"pods"`
	Seconds     float64 `json:"seconds"`
	Nodes       int     `json:"nodes"`
	Cost        float64 `json:"cost_per_hour"`
	Ratio       float64 `json:"ratio"`
	Unscheduled int     `json:"unscheduled"`
}

// beside runs engines in the peers' harness, which checks every plan itself.
func (p *packing) beside(ctx context.Context, engines, pods, types, capacity string) (map[string]row, error) {
	ctx, cancel := context.WithTimeout(ctx, packOne)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.harness, "bin", "bench"), "-json", "-engines", engines, "-exec", p.packer,
		"-pods", pods, "-types", types, "-capacity", capacity)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running the harness: %w", err)
	}
	rows := map[string]row{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("reading what the harness said: %w", err)
		}
		rows[r.Engine] = r
		fmt.Printf("%-24s %-10s %6d pods %8.3f s %5d nodes %10.4f $/h  %.4f × bound  %d unscheduled\n",
			filepath.Base(pods)+" "+strings.TrimSuffix(strings.TrimPrefix(filepath.Base(types), "types-"), ".json"), r.Engine, r.Pods, r.Seconds, r.Nodes, r.Cost, r.Ratio, r.Unscheduled)
	}
	if ours, ok := rows["exec"]; !ok || ours.Unscheduled > 0 {
		return nil, errors.New("our plan leaves pods out")
	}
	return rows, nil
}

// generate pods with the harness's generator.
func (p *packing) generate(ctx context.Context, n, seed int, args ...string) (string, error) {
	file := filepath.Join(p.dir, fmt.Sprintf("pods-%d-%d%s.json", n, seed, map[bool]string{true: "-mixed", false: ""}[len(args) > 0]))
	args = append([]string{"-n", strconv.Itoa(n), "-seed", strconv.Itoa(seed), "-out", file}, args...)
	return file, p.command(ctx, p.harness, filepath.Join(p.harness, "bin", "genpods"), args...)
}

// plain pods, without rules.
func (p *packing) plain(ctx context.Context) error {
	if p.harness == "" {
		return nil
	}
	for _, c := range []struct {
		n, seed int
		types   string
		peer    bool
	}{
		{1000, 7, catalogue, true},
		{5000, 7, catalogue, true},
		{10000, 7, catalogue, true},
		{1000, 7, small, true},
		{5000, 7, small, true},
		{10000, 7, small, false},
		{2000, 21, catalogue, false},
		{2000, 22, small, false},
		{10000, 23, small, false},
	} {
		pods, err := p.generate(ctx, c.n, c.seed)
		if err != nil {
			return err
		}
		engines := "costfit,exec"
		if c.peer {
			engines = "karpenter,costfit,exec"
		}
		rows, err := p.beside(ctx, engines, pods, p.types[c.types], "on-demand")
		if err != nil {
			return err
		}
		ours := rows["exec"]
		p.worst("pack.cost_over_bound", ours.Ratio)
		if c.n == 10000 {
			p.worst("pack.seconds.10000", ours.Seconds)
		}
		if peer, ok := rows["karpenter"]; ok && peer.Unscheduled == 0 {
			p.worst("pack.cost_over_karpenter.plain", ours.Cost/peer.Cost)
			p.plainOurs.add(c.n, ours.Seconds)
			p.plainTheirs.add(c.n, peer.Seconds)
		}
	}
	return nil
}

// mixed is spot-tolerant and on-demand-only pods, some of both in one zone.
func (p *packing) mixed(ctx context.Context) error {
	if p.harness == "" {
		return nil
	}
	for _, types := range []string{catalogue, small} {
		for _, n := range []int{1000, 5000} {
			pods, err := p.generate(ctx, n, 7, "-zonal", "0.15", "-od", "0.2")
			if err != nil {
				return err
			}
			rows, err := p.beside(ctx, "karpenter,costfit,exec", pods, p.types[types], "spot,on-demand")
			if err != nil {
				return err
			}
			name := "pack.cost_over_bound.mixed"
			if n == 1000 { // so few that the bound's fractions of large nodes are out of reach
				name += "_1000"
			}
			p.worst(name, rows["exec"].Ratio)
			if peer := rows["karpenter"]; peer.Unscheduled == 0 {
				p.worst("pack.cost_over_karpenter.mixed", rows["exec"].Cost/peer.Cost)
			}
		}
	}
	return nil
}

// snapshot is the pods of a real cluster: what they ask of CPU and memory, without GPUs.
func (p *packing) snapshot(ctx context.Context) error {
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = filepath.Join(p.b.root, "..", "shared", "data")
	}
	source := filepath.Join(data, "cluster-snapshots", "openb_pod_list_default.csv.gz")
	if _, err := os.Stat(source); p.harness == "" || errors.Is(err, os.ErrNotExist) {
		fmt.Println("pack: no snapshot ($CLOUDOPTIM_DATA): no figures on it")
		return nil
	}
	pods := filepath.Join(p.dir, "openb.json")
	if err := convertSnapshot(source, pods); err != nil {
		return err
	}
	rows, err := p.beside(ctx, "karpenter,costfit,exec", pods, p.types[catalogue], "on-demand")
	if err != nil {
		return err
	}
	p.worst("pack.cost_over_bound.snapshot", rows["exec"].Ratio)
	if peer := rows["karpenter"]; peer.Unscheduled == 0 {
		p.worst("pack.cost_over_karpenter.snapshot", rows["exec"].Cost/peer.Cost)
	}
	return nil
}

func convertSnapshot(source, into string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("reading %s: %w", source, err)
	}
	lines, err := csv.NewReader(plain).ReadAll()
	if err != nil {
		return fmt.Errorf("reading %s: %w", source, err)
	}
	type pod struct {
		Name     string `json:"name"`
		App      string `json:"app"`
		CPUMilli int64  `json:"cpu_milli"`
		MemBytes int64  `json:"mem_bytes"`
	}
	var pods []pod
	for _, line := range lines[1:] {
		cpu, cpuErr := strconv.ParseInt(line[1], 10, 64)
		memory, memoryErr := strconv.ParseInt(line[2], 10, 64)
		if err := errors.Join(cpuErr, memoryErr); err != nil {
			return fmt.Errorf("reading pod %s: %w", line[0], err)
		}
		pods = append(pods, pod{Name: line[0], App: line[0], CPUMilli: cpu, MemBytes: memory << 20})
	}
	return writeJSON(into, pods)
}

// packPlan is what either engine prints, packVerdict what the check says of it.
type packPlan struct {
	Seconds  float64  `json:"seconds"`
	Bound    float64  `json:"bound"`
	Unplaced []string `json:"unplaced"`
}

type packVerdict struct {
	Cost     float64  `json:"cost"`
	Nodes    int      `json:"nodes"`
	Unplaced int      `json:"unplaced"`
	Broken   []string `json:"broken"`
}

// ruled workloads: both engines get the same pods, and both plans go through the same
// check, which lands each pod by a second reading of the scheduler's filters.
func (p *packing) ruled(ctx context.Context) error {
	for i, c := range []struct {
		n        int
		seed     uint64
		types    string
		onDemand float64
		figure   string
	}{
		{2000, 1, "both", 0, "constrained"},
		{2000, 2, "both-small", 0, "constrained"},
		{5000, 3, "both", 0, "constrained"},
		{2000, 4, "both", 0.25, "constrained_spot"},
	} {
		w := ruled(c.n, c.seed, c.onDemand)
		var err error
		if w.types, err = os.ReadFile(p.types[c.types]); err != nil {
			return err
		}
		name := filepath.Join(p.dir, fmt.Sprintf("ruled-%d", i))
		if err := w.write(name+".ours.json", name+".theirs.json"); err != nil {
			return err
		}
		ours, plan, err := p.judge(ctx, name, "ours", p.packer)
		if err != nil {
			return err
		}
		theirs, peer, err := p.judge(ctx, name, "theirs", p.peer)
		if err != nil {
			return err
		}
		if len(ours.Broken) > 0 {
			return fmt.Errorf("our plan does not hold: %s", ours.Broken[0])
		}
		p.worst("pack.cost_over_bound."+c.figure, ours.Cost/plan.Bound)
		if ours.Unplaced <= theirs.Unplaced { // a plan that leaves pods out is cheap
			p.worst("pack.cost_over_karpenter."+c.figure, ours.Cost/theirs.Cost)
		}
		p.ours.add(c.n, plan.Seconds)
		p.theirs.add(c.n, peer.Seconds)
	}
	return nil
}

// judge has an engine plan and the plan checked.
func (p *packing) judge(ctx context.Context, name, who, program string) (*packVerdict, *packPlan, error) {
	plan, verdict := &packPlan{}, &packVerdict{}
	var raw json.RawMessage
	if err := p.output(ctx, &raw, program, "-workload", name+"."+who+".json"); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(raw, plan); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(name+"."+who+".plan", raw, 0o644); err != nil {
		return nil, nil, err
	}
	if err := p.output(ctx, verdict, p.packer, "-workload", name+".ours.json", "-check", name+"."+who+".plan"); err != nil {
		return nil, nil, err
	}
	fmt.Printf("%-24s %-10s %8.3f s %5d nodes %10.4f $/h  %d unplaced  %d broken\n",
		filepath.Base(name), who, plan.Seconds, verdict.Nodes, verdict.Cost, verdict.Unplaced, len(verdict.Broken))
	for _, what := range append(plan.Unplaced, verdict.Broken...)[:min(3, len(plan.Unplaced)+len(verdict.Broken))] {
		fmt.Println("   ", what)
	}
	return verdict, plan, nil
}

// large is 100,000 pods, ours alone: Karpenter would take an hour.
func (p *packing) large(ctx context.Context) error {
	if p.harness == "" {
		return nil
	}
	pods, err := p.generate(ctx, 100000, 7)
	if err != nil {
		return err
	}
	rows, err := p.beside(ctx, "costfit,exec", pods, p.types[catalogue], "on-demand")
	if err != nil {
		return err
	}
	p.worst("pack.seconds.100000", rows["exec"].Seconds)
	p.worst("pack.cost_over_bound", rows["exec"].Ratio)
	return nil
}
