package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fragmented"
)

// point of the curve: cost over the bound against evictions for each pod.
type point struct {
	limit                     float64
	planned, scheduler, floor float64 // over the bound
	moved, movedScheduler     float64
}

// limits of evictions for each pod that the curve has points for.
var curveLimits = []float64{0, 0.05, 0.1, 0.2, 0.28, 0.4, 0.5, 0.6, 0.75, 0.9, 1}

const (
	curveBegin = "<!-- curve: made by go run ./services/bench -only consolidate -->"
	curveEnd   = "<!-- end of curve -->"
)

// curve of one cluster, the one Karpenter is asked about too.
func (c *consolidation) curve(ctx context.Context) error {
	state := besideKarpenter()
	var points []point
	for _, limit := range curveLimits {
		p := point{limit: limit}
		for _, placement := range []string{"planned", "scheduler"} {
			a, _, err := c.ask(ctx, state, map[string]any{
				"placement": placement, "max_evictions_per_pod": limit, "min_score": 0.0, "min_savings_ratio": 0.0, "min_savings_usd": 0.0,
			})
			if err != nil {
				return err
			}
			s := a.GetConsolidation()
			over := s.GetCostAfter() / s.GetLowerBound()
			p.floor = s.GetLowerBoundWithinEvictions() / s.GetLowerBound()
			if placement == "planned" {
				p.planned, p.moved = over, s.GetEvictionsPerPod()
			} else {
				p.scheduler, p.movedScheduler = over, s.GetEvictionsPerPod()
			}
		}
		points = append(points, p)
	}
	file := filepath.Join(c.b.root, "services", "bench", "README.md")
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, began := strings.Cut(string(raw), curveBegin)
	_, after, ended := strings.Cut(rest, curveEnd)
	if !began || !ended {
		return fmt.Errorf("putting the curve into %s: its markers are missing", file)
	}
	return os.WriteFile(file, []byte(before+curveBegin+"\n\n"+curveTable(state, points)+"\n"+curveEnd+after), 0o644)
}

func curveTable(state *fleetv1.ClusterState, points []point) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, "%d m5.2xlarge, %d pods, cost ÷ bound (evictions for each pod that were used):\n\n", len(state.GetNodes()), len(state.GetPods()))
	out.WriteString("| most evictions for each pod | no plan costs less than | pods go where planned | the scheduler decides |\n| ---: | ---: | ---: | ---: |\n")
	for _, p := range points {
		fmt.Fprintf(out, "| %g | %.3f | %.3f (%.2f) | %.3f (%.2f) |\n", p.limit, p.floor, p.planned, p.moved, p.scheduler, p.movedScheduler)
	}
	return out.String()
}

func besideKarpenter() *fleetv1.ClusterState {
	return fragmented.Cluster(fragmented.Options{Seed: 3, Pods: 2000, Removed: 0.45, Shapes: []fragmented.Shape{fragmented.M5}})
}

// peerPod, peerNode and peerCluster are what the peers' harness reads.
type peerPod struct {
	Name     string `json:"name"`
	CPUMilli int64  `json:"cpu_milli"`
	MemBytes int64  `json:"mem_bytes"`
}

type peerNode struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Zone         string   `json:"zone"`
	CapacityType string   `json:"capacity_type"`
	Pods         []string `json:"pods"`
}

type peerCluster struct {
	Nodes []peerNode `json:"nodes"`
	Pods  []peerPod  `json:"pods"`
}

func peerClusterOf(state *fleetv1.ClusterState) peerCluster {
	c, index := peerCluster{}, map[string]int{}
	for i, n := range state.GetNodes() {
		index[n.GetNodeName()] = i
		c.Nodes = append(c.Nodes, peerNode{Name: n.GetNodeName(), Type: n.GetInstanceType(), Zone: n.GetAvailabilityZone(), CapacityType: n.GetNodeType(), Pods: []string{}})
	}
	for _, p := range state.GetPods() {
		r := p.GetRequests()
		c.Pods = append(c.Pods, peerPod{Name: p.GetName(), CPUMilli: r.GetCpuMillicores(), MemBytes: r.GetMemoryBytes()})
		at := &c.Nodes[index[p.GetNodeName()]]
		at.Pods = append(at.Pods, p.GetName())
	}
	return c
}

// karpenter consolidates the same cluster with the same types, by both policies.
func (c *consolidation) karpenter(ctx context.Context) error {
	p := &packing{b: c.b, dir: c.dir}
	if err := p.buildHarness(ctx); err != nil || p.harness == "" {
		return err
	}
	for _, build := range [][]string{{p.harness, "bin/consolidate", "./cmd/consolidate"}, {c.b.root, filepath.Join(c.dir, "packer"), "./services/ml/packer"}} {
		if err := p.command(ctx, build[0], "go", "build", "-o", build[1], build[2]); err != nil {
			return err
		}
	}
	types, cluster := filepath.Join(c.dir, "types.json"), filepath.Join(c.dir, "cluster.json")
	if err := p.command(ctx, c.dir, filepath.Join(c.dir, "packer"), "-catalogue", types); err != nil {
		return err
	}
	raw, err := json.Marshal(peerClusterOf(besideKarpenter()))
	if err != nil {
		return err
	}
	if err := os.WriteFile(cluster, raw, 0o644); err != nil {
		return err
	}
	for figure, policy := range map[string]string{"karpenter.balanced": "Balanced", "karpenter.default": "WhenEmptyOrUnderutilized"} {
		cmd := exec.CommandContext(ctx, filepath.Join(p.harness, "bin", "consolidate"), "-cluster", cluster, "-types", types, "-policy", policy)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("running Karpenter's consolidation: %w: %s", err, out)
		}
		fmt.Printf("consolidate: %s", out)
		if err := c.read(figure, string(out)); err != nil {
			return err
		}
	}
	return nil
}

// said is how the harness reports a run.
var said = regexp.MustCompile(`(?s)ratio to bound [0-9.]+ -> ([0-9.]+).*\(([0-9.]+) per pod\).*compute ([0-9.]+)s`)

func (c *consolidation) read(figure, out string) error {
	m := said.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("reading what Karpenter's consolidation said: %s", out)
	}
	for i, name := range []string{"cost_over_bound", "evictions_per_pod", "seconds"} {
		v, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return err
		}
		c.figures[figure+"."+name] = v
	}
	return nil
}

// note takes the figures down.
func (c *consolidation) note() error {
	const bound = "linear program's lower bound, worst of six fragmented clusters"
	const floor = "the same with nodes that go only with their pods' evictions: no plan costs less"
	const peer = "linear program's lower bound; Karpenter v1.14.1 on the cluster of the curve, its scheduler's own placement"
	c.figures["broken"], c.figures["checked"] = float64(c.broken), c.checked.Seconds()
	for _, f := range []struct {
		name, figure, unit string
		target             *float64
		against            string
	}{
		{"consolidate.cost_over_bound.at_1_0", "cost_over_bound.at_1_0.planned", "times", atMost(1.02), bound + ", pods go where planned"},
		{"consolidate.cost_over_bound.at_0_28", "cost_over_bound.at_0_28.planned", "times", atMost(1.10), bound + ", pods go where planned"},
		{"consolidate.cost_over_floor.at_0_28", "cost_over_floor.at_0_28.planned", "times", nil, floor},
		{"consolidate.floor_over_bound.at_0_28", "floor_over_bound.at_0_28", "times", nil, floor + ", worst of the clusters"},
		{"consolidate.cost_over_bound.at_1_0.scheduler", "cost_over_bound.at_1_0.scheduler", "times", nil, bound + ", the scheduler decides where pods go"},
		{"consolidate.cost_over_bound.at_0_28.scheduler", "cost_over_bound.at_0_28.scheduler", "times", nil, bound + ", the scheduler decides where pods go"},
		{"consolidate.seconds.2000_nodes", "seconds.planned", "s", atMost(2), "slowest of three calls over gRPC, 20,000 pods; pods go where planned"},
		{"consolidate.seconds.2000_nodes.scheduler", "seconds.scheduler", "s", nil, "the same, rehearsals of what the scheduler will do included"},
		{"consolidate.check_seconds.2000_nodes", "checked", "s", nil, "the independent checker on its slowest plan"},
		{"consolidate.infeasible", "broken", "rules", atMost(0), fmt.Sprintf("broken by %d plans, as the independent checker counts", c.asked)},
		{"consolidate.again_moves", "again", "pods", atMost(0), "asked about its own results: pods moved"},
		{"consolidate.wavering_moves", "wavering", "pods", atMost(0), "the same with requests that waver by 5 %"},
		{"consolidate.karpenter.balanced.cost_over_bound", "karpenter.balanced.cost_over_bound", "times", nil, peer},
		{"consolidate.karpenter.balanced.evictions_per_pod", "karpenter.balanced.evictions_per_pod", "", nil, peer},
		{"consolidate.karpenter.balanced.seconds", "karpenter.balanced.seconds", "s", nil, "computing alone, no waits"},
		{"consolidate.karpenter.default.cost_over_bound", "karpenter.default.cost_over_bound", "times", nil, peer},
		{"consolidate.karpenter.default.evictions_per_pod", "karpenter.default.evictions_per_pod", "", nil, peer},
		{"consolidate.karpenter.default.seconds", "karpenter.default.seconds", "s", nil, "computing alone, no waits"},
	} {
		if v, ok := c.figures[f.figure]; ok {
			c.b.note(f.name, v, f.unit, f.target, f.against)
		}
	}
	if missing := slices.DeleteFunc([]string{"again", "wavering", "seconds.scheduler"}, func(n string) bool { _, ok := c.figures[n]; return ok }); len(missing) > 0 {
		return fmt.Errorf("no figures for %v", missing)
	}
	return nil
}
