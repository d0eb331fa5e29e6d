package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of the targets, in seconds: a newcomer on two cores.
const (
	testColdTarget = 35 * 60
	testWarmTarget = 8 * 60
)

// bounds end what hangs.
const (
	coldWithin = 75 * time.Minute
	warmWithin = 45 * time.Minute
)

// demo measures make demo, from the command to its end.
func (b *bench) demo(ctx context.Context) error {
	return b.journey(ctx, func(ctx context.Context, at place, when string) error {
		report := filepath.Join(at.scratch, "demo.json")
		took, err := at.make(ctx, "demo", "DEMO_EXIT=1", "REPORT="+report)
		if err != nil {
			return err
		}
		b.note("demo."+when+"_s", took.Seconds(), "s", nil, "")
		if when == "cold" {
			return nil // the story's steps are those of the warm run
		}
		return b.story(report)
	})
}

// story notes what the demo says of itself.
func (b *bench) story(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var told struct {
		Steps  map[string]float64 `json:"steps_s"`
		RSS    map[string]int64   `json:"rss_bytes"`
		Saved  float64            `json:"actual_savings_usd_month"`
		Before float64            `json:"cost_before_usd_hour"`
		After  float64            `json:"cost_after_usd_hour"`
	}
	if err := json.Unmarshal(raw, &told); err != nil {
		return fmt.Errorf("reading the demo's report: %w", err)
	}
	if len(told.Steps) == 0 {
		return errors.New("the demo's report has no steps")
	}
	for _, name := range slices.Sorted(maps.Keys(told.Steps)) {
		b.note("demo.step."+name+"_s", told.Steps[name], "s", nil, "")
	}
	for _, name := range slices.Sorted(maps.Keys(told.RSS)) {
		b.note("memory."+name+"_after_demo_mib", mib(told.RSS[name]), "MiB", nil, "")
	}
	b.note("demo.saved_usd_month", told.Saved, "USD/month", nil, "")
	b.note("demo.cost_before_usd_hour", told.Before, "USD/hour", nil, "")
	b.note("demo.cost_after_usd_hour", told.After, "USD/hour", nil, "demo.cost_before_usd_hour")
	return nil
}

// test measures make test.
func (b *bench) test(ctx context.Context) error {
	targets := map[string]float64{"cold": testColdTarget, "warm": testWarmTarget}
	return b.journey(ctx, func(ctx context.Context, at place, when string) error {
		took, err := at.make(ctx, "test")
		if err != nil {
			return err
		}
		b.note("test."+when+"_s", took.Seconds(), "s", atMost(targets[when]), "")
		return nil
	})
}

// journey goes once through this tree with the caches as they are, or, cold, through
// a clean clone with empty caches, and then the same again.
func (b *bench) journey(ctx context.Context, through func(ctx context.Context, at place, when string) error) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	at, whens := place{dir: b.root, scratch: dir}, []string{"warm"}
	if b.cold {
		at, whens = place{dir: filepath.Join(dir, "clone"), scratch: dir, env: emptyCaches(dir)}, []string{"cold", "warm"}
		b.about.commit = strings.TrimSuffix(b.about.commit, dirty) // the clone has what is committed
		if _, err := git(ctx, b.root, "clone", "--quiet", "--no-hardlinks", b.root, at.dir); err != nil {
			return err
		}
	}
	for _, when := range whens {
		within := map[string]time.Duration{"cold": coldWithin, "warm": warmWithin}[when]
		bounded, cancel := context.WithTimeout(ctx, within)
		err := through(bounded, at, when)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
	}
	return nil
}

// emptyCaches are all that the commands keep between runs, but for Debian's packages.
func emptyCaches(scratch string) []string {
	var env []string
	for name, folder := range map[string]string{
		"GOCACHE": "go-build", "GOMODCACHE": "go-mod", "CLOUDOPTIM_CACHE": "cloudoptim", "PIP_CACHE_DIR": "pip", "npm_config_cache": "npm",
	} {
		env = append(env, name+"="+filepath.Join(scratch, folder))
	}
	// Else the module cache could not be removed.
	return append(env, "GOFLAGS=-buildvcs=false -modcacherw")
}

// place is where commands run.
type place struct {
	dir, scratch string
	env          []string
}

// make runs make and shows what it says.
func (p place) make(ctx context.Context, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "make", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), p.env...)
	// make's children are asked as well, and get time to end theirs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("make %s: %w", args[0], errors.Join(err, ctx.Err()))
	}
	return time.Since(began), nil
}
