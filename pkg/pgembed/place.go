package pgembed

import (
	"bytes"
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

// nobody runs PostgreSQL when we are root, as PostgreSQL refuses to run as root.
const nobody = 65534

// place is where a server lives and who owns it.
type place struct {
	dir string
	bin string
	uid int
	gid int
}

func (p place) data() string { return filepath.Join(p.dir, "data") }
func (p place) log() string  { return filepath.Join(p.dir, "postgres.log") }

// dropped says whether PostgreSQL must run as somebody else than we do.
func (p place) dropped() bool { return os.Geteuid() == 0 }

func (p place) credential() *syscall.Credential {
	if !p.dropped() {
		return nil
	}
	return &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}
}

// claim makes the directory and finds out as whom PostgreSQL will run in it: as ourselves, or when
// we are root as the data's owner, who is nobody at first.
func claim(dir string) (place, error) {
	if dir == "" {
		return place{}, errors.New("the data directory is not set")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return place{}, fmt.Errorf("finding the data directory: %w", err)
	}
	p := place{dir: dir, uid: os.Geteuid(), gid: os.Getegid()}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return place{}, fmt.Errorf("making the data directory's parent: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return place{}, fmt.Errorf("making the data directory: %w", err)
	}
	if p.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return place{}, fmt.Errorf("finding the data directory: %w", err)
	}
	if p.dropped() {
		return p.open()
	}
	return p, nil
}

// open lets the unprivileged user walk to the data, but not list what lies beside it.
func (p place) open() (place, error) {
	p.uid, p.gid = nobody, nobody
	if info, err := os.Stat(p.data()); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			p.uid, p.gid = int(owner.Uid), int(owner.Gid)
		}
	}
	if err := os.Chmod(p.dir, 0o711); err != nil { //nolint:gosec // walk-through only; every file in it has its own mode
		return p, fmt.Errorf("opening the data directory: %w", err)
	}
	if closed := p.closedAncestor(); closed != "" {
		return p, fmt.Errorf("user %d, as whom PostgreSQL runs because root may not run it, cannot enter %s: "+
			"put the data directory elsewhere, for example below /var/lib", p.uid, closed)
	}
	return p, nil
}

// closedAncestor names the first directory on the way to the data which PostgreSQL's user may not
// enter. It reads modes only; access lists that say otherwise show up in postgres.log.
func (p place) closedAncestor() string {
	var way []string
	for dir := p.dir; ; dir = filepath.Dir(dir) {
		way = append(way, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for i := len(way) - 1; i >= 0; i-- {
		info, err := os.Stat(way[i])
		if err != nil {
			return way[i]
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		mine := ok && int(owner.Uid) == p.uid && info.Mode()&0o100 != 0
		if !mine && info.Mode()&0o001 == 0 {
			return way[i]
		}
	}
	return ""
}

// major is the PostgreSQL version which made the data, 0 when there is none yet.
func (p place) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the data's version: %w", err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("reading the data's version: %w", err)
	}
	return version, nil
}

// openLog opens PostgreSQL's log for appending, after setting a grown one aside.
func (p place) openLog() (*os.File, error) {
	const limit = 16 << 20
	if info, err := os.Stat(p.log()); err == nil && info.Size() > limit {
		if err := os.Rename(p.log(), p.log()+".old"); err != nil {
			return nil, fmt.Errorf("setting the old PostgreSQL log aside: %w", err)
		}
	}
	file, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the PostgreSQL log: %w", err)
	}
	return file, nil
}

// logTail is the end of PostgreSQL's log, for an error's text.
func (p place) logTail() string {
	const lines = 10
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

func (p place) logMentions(text string) bool { return strings.Contains(p.logTail(), text) }

// lockDir takes the directory for this process; the kernel gives it back when the process ends. It
// waits a little, because a process that was just killed takes a moment to be gone.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory's lock: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("the data directory %s is in use by another process: %w", dir, err), file.Close())
		}
	}
}
