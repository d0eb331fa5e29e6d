package parts

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTwoAtOnceMakeAPartOnce(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			got, err := once(t.Context(), dir, "key", func(work string) error {
				made.Add(1)
				time.Sleep(50 * time.Millisecond)
				return os.WriteFile(filepath.Join(work, "part"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(got, "part")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestAPartThatFailedIsNotThere(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("broken")
	_, err := once(t.Context(), dir, "key", func(string) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	for _, name := range []string{"key", "key.new"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there (%v)", name, err)
		}
	}
}

func TestWaitingForAnotherCanBeGivenUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, file); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}

func TestTheSourceTreeIsFoundFromInside(t *testing.T) {
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Error(err)
	}
	if _, err := Root(t.TempDir()); err == nil {
		t.Error("an empty folder is a source tree")
	}
}
