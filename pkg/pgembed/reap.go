package pgembed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reap ends what an earlier life left running on this data, then removes its stale lock files.
//
// We hold the directory's own lock, so whoever still runs here is an orphan: usually one that is
// just shutting down by the parent death signal. Removing postmaster.pid under running backends
// would let two servers write the same files, so all processes are looked for, by their working
// directory, and not only the one named in the file.
func reap(ctx context.Context, data string) error {
	steps := []struct {
		signal  syscall.Signal
		patient time.Duration
	}{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 10 * time.Second}, {syscall.SIGKILL, 10 * time.Second}}
	for _, step := range steps {
		gone, err := awaitGone(ctx, data, step.signal, step.patient)
		if err != nil {
			return err
		}
		if gone {
			return removeStale(data)
		}
	}
	return fmt.Errorf("processes %v still run on %s and can't be stopped", tenants(data), data)
}

// awaitGone signals every process on the data once and waits until none is left. Backends which
// have lost their postmaster end by themselves; the signal only hurries them.
func awaitGone(ctx context.Context, data string, signal syscall.Signal, patient time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patient, errPatience)
	defer cancel()
	for _, pid := range tenants(data) {
		_ = syscall.Kill(pid, signal) // it may have ended meanwhile
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for len(tenants(data)) > 0 {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errPatience) {
				return false, nil
			}
			return false, fmt.Errorf("waiting for an earlier PostgreSQL to stop: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	return true, nil
}

var errPatience = errors.New("patience is over")

// tenants are the PostgreSQL processes whose working directory is the data, as all of theirs is. An
// operator's shell may stand there too, which is why the program counts.
func tenants(data string) []int {
	entries, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil // the pattern is a constant and well formed
	}
	var pids []int
	for _, entry := range entries {
		// Links of other users' processes can't be read; those can't be ours either.
		if cwd, err := os.Readlink(entry); err != nil || cwd != data {
			continue
		}
		exe, err := os.Readlink(filepath.Join(filepath.Dir(entry), "exe"))
		if err != nil || !strings.HasPrefix(filepath.Base(exe), "postgres") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeStale removes the lock files of an earlier life. PostgreSQL does so itself unless it finds a
// process with the old id, which may be an unrelated one, or a zombie in a container without init.
func removeStale(data string) error {
	sockets, err := filepath.Glob(filepath.Join(data, ".s.PGSQL.*"))
	if err != nil {
		return fmt.Errorf("looking for stale sockets: %w", err)
	}
	for _, path := range append(sockets, filepath.Join(data, "postmaster.pid")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a stale lock file: %w", err)
		}
	}
	return nil
}
