// Command packer runs the packing core on files: to see what it would buy for a set
// of pods, and to measure it beside others.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/pack"
)

const usage = `packer -workload FILE                            plan nodes for pods, as JSON
packer -workload FILE -check PLAN                check a plan by a second reading of the scheduler's filters
packer -pods FILE -types FILE -capacity LIST     plan for plain pods, as the peers' harness asks
packer -catalogue FILE [-region R] [-arch A] [-max-vcpu N]   write the instance types built in
`

type options struct {
	workload, check         string
	pods, types, capacity   string
	catalogue, region, arch string
	maxVCPU                 int
	effort                  float64
}

func main() {
	var o options
	fs := flag.NewFlagSet("packer", flag.ExitOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.workload, "workload", "", "pods, DaemonSets, node pools and types in one file")
	fs.StringVar(&o.check, "check", "", "a plan for the workload, to be checked and priced")
	fs.StringVar(&o.pods, "pods", "", "pods without rules")
	fs.StringVar(&o.types, "types", "", "instance types")
	fs.StringVar(&o.capacity, "capacity", "on-demand", "what may be bought: on-demand, spot or both")
	fs.StringVar(&o.catalogue, "catalogue", "", "where to write the types")
	fs.StringVar(&o.region, "region", "us-east-1", "region of the catalogue's prices")
	fs.StringVar(&o.arch, "arch", "amd64", "architectures in the catalogue")
	fs.IntVar(&o.maxVCPU, "max-vcpu", 0, "vCPU of the catalogue's types at most; 0: no limit")
	fs.Float64Var(&o.effort, "effort", 1, "how much to search; below 0: take the first plan")
	_ = fs.Parse(os.Args[1:]) // ends the program on errors
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "packer:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.catalogue != "" {
		return writeCatalogue(o)
	}
	w, err := read(o)
	if err != nil {
		return err
	}
	if o.check != "" {
		var a answer
		if err := readJSON(o.check, &a); err != nil {
			return err
		}
		return print(w.check(&a))
	}
	return print(w.solve(o.effort))
}

func print(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// answer is a plan as the peers' harness reads it, and a bound.
type answer struct {
	Seconds  float64  `json:"seconds"`
	Cost     float64  `json:"cost"`
	Bound    float64  `json:"bound"`
	Nodes    []bought `json:"nodes"`
	Unplaced []string `json:"unplaced,omitempty"` // "pod: reason"
}

type bought struct {
	Type     string   `json:"type"`
	Zone     string   `json:"zone"`
	Capacity string   `json:"capacity_type"`
	Pool     string   `json:"pool,omitempty"`
	Pods     []string `json:"pods"`
}

// solve and take the time, from pods and offers as a server has them to the plan.
func (w *workload) solve(effort float64) *answer {
	start := time.Now()
	book := fit.NewBook(w.all)
	p := pack.Problem{
		Book: book, Effort: effort, Pods: make([]int, 0, len(w.pods)), Offers: make([]pack.Offer, 0, len(w.columns)),
	}
	for i := range w.pods {
		p.Pods = append(p.Pods, i)
	}
	for i := range w.columns {
		p.Offers = append(p.Offers, pack.Offer{Node: w.node(book, &w.columns[i]), Price: w.columns[i].price})
	}
	plan := pack.Solve(p)
	a := &answer{Seconds: time.Since(start).Seconds(), Cost: plan.Cost, Bound: plan.Bound}
	for _, b := range plan.Buy {
		c := &w.columns[b.Offer]
		node := bought{Type: c.kind.Name, Zone: c.zone, Capacity: c.capacity, Pool: c.pool.Name}
		for _, pod := range b.Pods {
			node.Pods = append(node.Pods, w.pods[pod].GetName())
		}
		a.Nodes = append(a.Nodes, node)
	}
	for _, u := range plan.Unplaced {
		a.Unplaced = append(a.Unplaced, w.pods[u.Pod].GetName()+": "+string(u.Reason))
	}
	return a
}

func readJSON(file string, into any) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	return nil
}

func list(text string) []string { return strings.Split(text, ",") }
