package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// demoFlags are `lab demo`'s.
type demoFlags struct {
	bin, src, cluster, report string
	nodes, pods               int
	seed                      int64
	exit                      bool
}

// demo runs the main job on the lab and shows what came of it.
func demo(ctx context.Context, args []string) error {
	f := demoFlags{}
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.StringVar(&f.bin, "bin", "bin", "folder of the binaries central, ml, agent and lab")
	fs.StringVar(&f.src, "src", ".", "the source tree, or a folder in it")
	fs.StringVar(&f.cluster, "cluster", "", "a dump of your own cluster to try it on:\nkubectl get nodes,pods,pdb -A -o json > dump.json")
	fs.StringVar(&f.report, "report", "", "write the figures to this file as JSON")
	fs.IntVar(&f.nodes, "nodes", 40, "nodes of the generated cluster")
	fs.IntVar(&f.pods, "pods", 300, "pods of the generated cluster")
	fs.Int64Var(&f.seed, "seed", 1, "seed of the generated cluster")
	fs.BoolVar(&f.exit, "exit", false, "end when the optimization has ended; fail unless it saved money")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := demoDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	up, cancel := context.WithTimeout(ctx, 30*time.Minute) // the first start builds a control plane
	defer cancel()
	s, err := stage.Up(up, stage.Options{Bin: f.bin, Source: f.src, Dir: dir, LabArgs: f.labArgs(), Say: say})
	if err != nil {
		return err
	}
	defer s.Down()
	return f.play(ctx, s, say)
}

// demoDir is made where another user, whom PostgreSQL runs as, can get to.
func demoDir() (string, error) {
	dir, err := os.MkdirTemp("", "cloudoptim-demo-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) //nolint:gosec // as said above
}

func (f demoFlags) labArgs() []string {
	if f.cluster != "" {
		abs, err := filepath.Abs(f.cluster)
		if err != nil {
			abs = f.cluster
		}
		return []string{"--cluster", abs}
	}
	return []string{"--nodes", fmt.Sprint(f.nodes), "--pods", fmt.Sprint(f.pods), "--seed", fmt.Sprint(f.seed)}
}

func (f demoFlags) play(ctx context.Context, s *stage.Stage, say func(string, ...any)) error {
	before, err := s.State(ctx)
	if err != nil {
		return err
	}
	budgets, err := s.WatchBudgets(ctx)
	if err != nil {
		return err
	}
	say("the cluster has %d nodes and %d pods and costs $%.2f an hour", before.TotalNodes, before.TotalPods, before.CurrentCostPerHour)
	showUI(s)
	if !f.exit && !pause(ctx, lookFirst) {
		return ctx.Err()
	}
	say("triggering spot_optimize")
	started, err := s.Trigger(ctx, "spot_optimize", nil)
	if err != nil {
		return err
	}
	told := map[string]string{}
	done, err := s.Follow(ctx, started.ID, 500*time.Millisecond, func(o stage.Optimization) { tellSteps(o, told, say) })
	if err != nil {
		return err
	}
	after, err := s.State(ctx)
	if err != nil {
		return err
	}
	verdict, err := show(before, after, done, budgets)
	if err != nil {
		return err
	}
	if f.report != "" {
		if err := writeReport(f.report, s, done); err != nil {
			return err
		}
	}
	if f.exit {
		return verdict
	}
	if verdict != nil {
		fmt.Println("\n" + verdict.Error())
	}
	tryThis(s, done)
	<-ctx.Done()
	fmt.Println()
	return nil
}

// lookFirst is how long a newcomer has to open the UI before there is something to see.
const lookFirst = 15 * time.Second

// pause waits, and tells whether it waited to the end.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// tellSteps says what has changed since the last reading.
func tellSteps(o stage.Optimization, told map[string]string, say func(string, ...any)) {
	for _, step := range o.Steps {
		now := step.Status
		if step.Status == "running" && step.Error != "" {
			now += ": " + step.Error
		}
		if step.Status == "pending" || step.Status == "skipped" || told[step.Name] == now {
			continue
		}
		told[step.Name] = now
		line := fmt.Sprintf("%-9s %s", step.Name, now)
		if step.Status == "completed" {
			line += fmt.Sprintf(" in %.1f s", step.Seconds())
		}
		if step.Status == "failed" {
			line += ": " + step.Error
		}
		say("%s", line)
	}
}

// verdictOf says whether the demo did what it is for.
func verdictOf(o stage.Optimization, broken int) error {
	var problems []error
	if o.Status != "completed" {
		problems = append(problems, fmt.Errorf("the optimization %s: %s", o.Status, o.ErrorMessage))
	}
	if o.ActualSavings <= 0 {
		problems = append(problems, fmt.Errorf("nothing was saved"))
	}
	if broken > 0 {
		problems = append(problems, fmt.Errorf("%d disruption budgets were broken", broken))
	}
	return errors.Join(problems...)
}
