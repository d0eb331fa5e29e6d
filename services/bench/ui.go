package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

const (
	uiWithin = 10 * time.Minute
	uiVisits = 5
)

// ui has a browser that has nothing yet open the Overview of the demo's cluster as
// somebody who is signed in: how long until it can be used, and how much JavaScript that takes.
func (b *bench) ui(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, uiWithin)
	defer cancel()
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	s, err := stage.Up(ctx, stage.Options{
		Bin: filepath.Join(b.root, "bin"), Source: b.root, Dir: dir,
		LabArgs: []string{"--nodes", fmt.Sprint(b.nodes), "--pods", fmt.Sprint(b.pods), "--seed", "1"},
		Say:     func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer s.Down()
	seen, err := b.visit(ctx, s)
	if err != nil {
		return err
	}
	var bytes int64
	for _, script := range seen.Scripts {
		size, err := gzipped(filepath.Join(b.root, "services", "central", "web", "dist", filepath.FromSlash(script)))
		if err != nil {
			return err
		}
		bytes += size
	}
	slices.Sort(seen.Seconds)
	b.note("ui.js_gzip_kb", float64(bytes)/1024, "KB", atMost(300), fmt.Sprintf("%d scripts that are loaded when the Overview is usable; charts come after", len(seen.Scripts)))
	b.note("ui.overview_s", seen.Seconds[len(seen.Seconds)/2], "s", atMost(1),
		fmt.Sprintf("median of %d cold browsers, %d nodes and %d pods", len(seen.Seconds), b.nodes, b.pods))
	return nil
}

// visits are what a browser saw of the Overview.
type visits struct {
	Seconds []float64 `json:"seconds"`
	Scripts []string  `json:"scripts"`
}

// visit has the browser of the admin UI's stories do it.
func (b *bench) visit(ctx context.Context, s *stage.Stage) (visits, error) {
	var seen visits
	dir := filepath.Join(b.root, "services", "e2e", "web")
	for _, command := range [][]string{{"npm", "ci", "--prefer-offline", "--loglevel=error"}, {"node", "overview.mjs", strconv.Itoa(uiVisits)}} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		cmd.Env = append(os.Environ(), "CLOUDOPTIM_URL="+s.Admin.Base, "CLOUDOPTIM_ADMIN_KEY="+s.Admin.Key)
		out, err := cmd.Output()
		if err != nil {
			return seen, fmt.Errorf("running %s: %w", command[0], err)
		}
		if command[0] == "node" {
			err = json.Unmarshal(out, &seen)
		}
		if err != nil {
			return seen, fmt.Errorf("reading what the browser saw: %w", err)
		}
	}
	if len(seen.Seconds) != uiVisits || len(seen.Scripts) == 0 {
		return seen, fmt.Errorf("the browser saw %d visits and %d scripts", len(seen.Seconds), len(seen.Scripts))
	}
	return seen, nil
}

// gzipped is the size of a file as gzip packs it at its default.
func gzipped(file string) (int64, error) {
	raw, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return 0, err
	}
	var size counter
	w := gzip.NewWriter(&size)
	if _, err := w.Write(raw); err != nil {
		return 0, err
	}
	err = w.Close()
	return int64(size), err
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
