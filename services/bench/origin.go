package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// origin is where a figure comes from.
type origin struct {
	machine, commit, command string
}

// dirty marks a commit that had changes which were not committed.
const dirty = "-dirty"

func describe(ctx context.Context, root, command string) (origin, error) {
	machine, err := machine()
	if err != nil {
		return origin{}, err
	}
	commit, err := git(ctx, root, "rev-parse", "--short", "HEAD")
	if err != nil {
		return origin{}, err
	}
	// What the benchmarks write themselves changes no figure.
	changed, err := git(ctx, root, "status", "--porcelain", "--", ".", ":!services/bench/results.json", ":!services/bench/README.md")
	if err != nil {
		return origin{}, err
	}
	if changed != "" {
		commit += dirty
	}
	return origin{machine: machine, commit: commit, command: command}, nil
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// machine is what matters of this machine, and nothing that names it.
func machine() (string, error) {
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", err
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d cores, %s memory, %s, %s", runtime.NumCPU(), total(string(memory)), system(string(release)), runtime.Version()), nil
}

// total memory of /proc/meminfo, in whole GiB.
func total(meminfo string) string {
	for line := range strings.Lines(meminfo) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kib); n == 1 {
			return fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
		}
	}
	return "unknown"
}

// system is the name in /etc/os-release.
func system(release string) string {
	for line := range strings.Lines(release) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return runtime.GOOS
}
