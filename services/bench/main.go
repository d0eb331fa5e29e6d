// Command bench measures the whole product and keeps the figures in results.json.
//
// Nobody writes that file by hand: a run replaces the figures that it took, keeps
// the others, and makes the table of README.md anew.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// subject is something to measure.
type subject struct {
	name    string
	measure func(b *bench, ctx context.Context) error
}

// subjects in the order they are measured: what needs quiet comes first.
var subjects = []subject{
	{"pack", (*bench).pack},
	{"consolidate", (*bench).consolidate},
	{"predict", (*bench).predict},
	{"rest", (*bench).rest},
	{"interruption", (*bench).interruption},
	{"burst", (*bench).regional},
	{"imds", (*bench).imds},
	{"link", (*bench).link},
	{"stream", (*bench).stream},
	{"ui", (*bench).ui},
	{"gaps", (*bench).gaps},
	{"spot", (*bench).spot},
	{"sizing", (*bench).sizing},
	{"decision", (*bench).decision},
	{"demo", (*bench).demo},
	{"test", (*bench).test},
}

// bench is one run.
type bench struct {
	root    string
	only    string
	cold    bool
	table   bool
	nodes   int
	pods    int
	calls   int
	streams int
	screens int
	about   origin
	results []Result
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if asked, err := linkPart(args); asked {
		return err
	}
	b := &bench{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&b.root, "root", ".", "the source tree")
	fs.StringVar(&b.only, "only", "", "measure one subject, such as rest, pack or interruption; empty: all")
	fs.BoolVar(&b.table, "table", false, "measure nothing, write the README's table anew")
	fs.BoolVar(&b.cold, "cold", false, "demo and test: in a clean clone of HEAD with empty caches, and once more with full ones;\ntakes about an hour and 15 GB")
	fs.IntVar(&b.nodes, "nodes", 40, "rest: nodes of the generated cluster")
	fs.IntVar(&b.pods, "pods", 300, "rest: pods of the generated cluster")
	fs.IntVar(&b.calls, "calls", 2000, "rest: calls over REST, and as many over gRPC")
	fs.IntVar(&b.streams, "streams", 10000, "link: streams of agents; the target for their return is for 10,000")
	fs.IntVar(&b.screens, "dashboards", 500, "stream: open dashboards; the targets are for 500")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := b.prepare(ctx, args); err != nil {
		return err
	}
	if b.table {
		return b.keep()
	}
	for _, s := range subjects {
		if b.only != "" && b.only != s.name {
			continue
		}
		if err := s.measure(b, ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", s.name, err)
		}
		if err := b.keep(); err != nil { // what was measured is kept even if the next subject fails
			return err
		}
	}
	return nil
}

func (b *bench) prepare(ctx context.Context, args []string) error {
	if b.only != "" && !slices.ContainsFunc(subjects, func(s subject) bool { return s.name == b.only }) {
		return fmt.Errorf("there is no subject %q", b.only)
	}
	if b.calls < 100 || b.calls > 20000 {
		return fmt.Errorf("-calls must be 100 to 20000: fewer say nothing of the slowest hundredth")
	}
	var err error
	if b.root, err = filepath.Abs(b.root); err != nil {
		return err
	}
	b.about, err = describe(ctx, b.root, strings.Join(append([]string{"go run ./services/bench"}, args...), " "))
	return err
}

// scratch is a folder for a run's state and logs. PostgreSQL runs as another user,
// who must get there.
func scratch() (dir string, remove func(), err error) {
	if dir, err = os.MkdirTemp("", "cloudoptim-bench-"); err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if err = os.Chmod(dir, 0o711); err != nil { //nolint:gosec // as said above
		remove()
	}
	return dir, remove, err
}

// note takes a figure down.
func (b *bench) note(name string, value float64, unit string, target *float64, against string) {
	b.keepFigure(Result{Name: name, Value: value, Unit: unit, Target: target, Against: against})
}

// noteAtLeast takes down a figure that should not be less than its target.
func (b *bench) noteAtLeast(name string, value float64, unit string, target float64, against string) {
	b.keepFigure(Result{Name: name, Value: value, Unit: unit, Target: &target, AtLeast: true, Against: against})
}

func (b *bench) keepFigure(r Result) {
	r.Machine, r.Commit, r.Command = b.about.machine, b.about.commit, b.about.command
	b.results = append(b.results, r)
	fmt.Printf("%-28s %10.3f %s\n", r.Name, r.Value, r.Unit)
}

// atMost is a target.
func atMost(v float64) *float64 { return &v }

func (b *bench) keep() error {
	dir := filepath.Join(b.root, "services", "bench")
	old, err := load(filepath.Join(dir, "results.json"))
	if err != nil {
		return err
	}
	all := merge(old, b.results)
	if err := save(filepath.Join(dir, "results.json"), all); err != nil {
		return err
	}
	return intoReadme(filepath.Join(dir, "README.md"), table(all))
}
