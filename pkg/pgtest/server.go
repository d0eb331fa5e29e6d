package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
)

// template is the migrated database which tests get copies of.
const template = pgembed.Database

// server is the test process's PostgreSQL.
type server struct {
	pg    *pgembed.Server
	admin *pgxpool.Pool
	dir   string
	guard *os.File
}

var (
	mu      sync.Mutex
	running *server
	broken  error
)

// shared starts the process's server at the first call. A failed start is remembered: it would
// fail again for every test, at the same length.
func shared() (*server, error) {
	mu.Lock()
	defer mu.Unlock()
	if running != nil || broken != nil {
		return running, broken
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s := &server{}
	if err := s.start(ctx); err != nil {
		broken = errors.Join(err, s.stop())
		return nil, broken
	}
	running = s
	return s, nil
}

// Stop ends the server and removes its files. Main calls it; call it yourself only from a TestMain
// that does more than Main.
func Stop() error {
	mu.Lock()
	defer mu.Unlock()
	if running == nil {
		return nil
	}
	s := running
	running = nil
	return s.stop()
}

func (s *server) start(ctx context.Context) (err error) {
	if s.dir, s.guard, err = claimDir(); err != nil {
		return err
	}
	s.pg, err = pgembed.Start(ctx, pgembed.Config{
		DataDir: filepath.Join(s.dir, "pg"),
		NoSync:  true,
		Settings: map[string]string{
			"autovacuum":      "off", // would hold connections to the template
			"max_wal_senders": "0",
			"wal_level":       "minimal",
			"shared_buffers":  "64MB",
			"max_connections": "300",
		},
	})
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx, s.pg.CentralDSN()); err != nil {
		return err
	}
	if s.admin, err = pgxpool.New(ctx, s.pg.AdminDSN("postgres")); err != nil {
		return fmt.Errorf("connecting as administrator: %w", err)
	}
	// A template with connections can't be copied; so nobody gets one.
	_, err = s.admin.Exec(ctx, "ALTER DATABASE "+template+" ALLOW_CONNECTIONS false")
	return err
}

func (s *server) stop() error {
	if s.admin != nil {
		s.admin.Close()
	}
	var errs []error
	if s.pg != nil {
		errs = append(errs, s.pg.Stop())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir), s.guard.Close())
	}
	return errors.Join(errs...)
}

// claimDir makes this process's directory, and removes those of test processes that were killed:
// theirs are the ones whose lock is free.
func claimDir() (string, *os.File, error) {
	home := filepath.Join(quickDir(), "cloudoptim-pgtest-"+strconv.Itoa(os.Geteuid()))
	if err := ownDir(home); err != nil {
		return "", nil, err
	}
	gate, err := lockFile(filepath.Join(home, "gate"), syscall.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer gate.Close()
	sweep(home)
	dir, err := os.MkdirTemp(home, "run-")
	if err != nil {
		return "", nil, fmt.Errorf("making the test server's directory: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user must walk through
		return "", nil, fmt.Errorf("opening the test server's directory: %w", err)
	}
	guard, err := lockFile(filepath.Join(dir, "guard"), syscall.LOCK_EX|syscall.LOCK_NB)
	return dir, guard, err
}

// quickDir is where making a database takes 50 ms and not a second: memory, if there is enough of
// it, for the server's needs are some 200 MB; else the temporary directory.
func quickDir() string {
	const memory, enough = "/dev/shm", 1 << 30
	var stat syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(memory, &stat) != nil || stat.Bavail*uint64(stat.Bsize) < enough {
		return os.TempDir()
	}
	return memory
}

// ownDir makes the directory of all test servers of this user, and refuses one that somebody else
// has put in its place.
func ownDir(home string) error {
	if err := os.Mkdir(home, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the test servers' directory: %w", err)
	}
	info, err := os.Lstat(home)
	if err != nil {
		return fmt.Errorf("looking at the test servers' directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of this user", home)
	}
	return nil
}

// sweep removes directories that nobody holds. One whose PostgreSQL is still going down by the
// parent death signal is left for a later sweep if it can't be removed now.
func sweep(home string) {
	dirs, err := filepath.Glob(filepath.Join(home, "run-*"))
	if err != nil {
		return // the pattern is well formed unless the temporary directory's name is not
	}
	for _, dir := range dirs {
		guard, err := lockFile(filepath.Join(dir, "guard"), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir)
		_ = guard.Close()
	}
}

func lockFile(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("taking the lock %s: %w", path, err), file.Close())
	}
	return file, nil
}
