//go:build e2e

package e2e

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

var (
	binaries = flag.String("bin", "../../bin", "folder of the binaries under test")
	source   = "../.."
)

// newStage puts a cluster on the stage and takes it down at the end. When the
// test fails, the end of every log is shown.
func newStage(t *testing.T, labArgs ...string) *stage.Stage {
	t.Helper()
	return stageOf(t, newDir(t), stage.Options{LabArgs: labArgs})
}

// newDir is for state and logs.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloudoptim-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL runs as another user
		t.Fatal(err)
	}
	return dir
}

// stageOf is newStage with options.
func stageOf(t *testing.T, dir string, opts stage.Options) *stage.Stage {
	t.Helper()
	bin, err := filepath.Abs(*binaries)
	if err != nil {
		t.Fatal(err)
	}
	opts.Bin, opts.Source, opts.Dir, opts.Say = bin, source, dir, t.Logf
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := stage.Up(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range []*stage.Process{s.Central, s.ML, s.Agent, s.LabProcess} {
				t.Logf("end of %s's log:\n%s", p.Name, p.Tail(25))
			}
		}
		s.Down()
	})
	return s
}

// cluster is `lab up`'s flags for a generated cluster.
func cluster(nodes, pods, seed string) []string {
	return []string{"--nodes", nodes, "--pods", pods, "--seed", seed}
}
