// Package parts makes the lab's two heavy parts, once, in a cache folder.
package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// Parts are the two programs that a lab runs.
type Parts struct {
	Kubebox string // the Kubernetes control plane
	Python  string // an interpreter that can import moto
}

// Ensure finds both in the cache, or makes what is missing.
func Ensure(ctx context.Context, root, cache string) (Parts, error) {
	box, err := kubebox(ctx, root, cache)
	if err != nil {
		return Parts{}, err
	}
	python, err := venv(ctx, cache)
	return Parts{Kubebox: box, Python: python}, err
}

// Root walks up from a folder to the one that holds the product's go.mod and
// the lab.
func Root(from string) (string, error) {
	dir, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, labDir, "kubebox", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no %s at or above %s: run it inside the source tree or give --src", labDir, from)
		}
		dir = parent
	}
}

const labDir = "services/lab"

// Cache is where the parts are kept between runs.
func Cache() (string, error) {
	if dir := os.Getenv("CLOUDOPTIM_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir() // $XDG_CACHE_HOME, else ~/.cache
	if err != nil {
		return "", fmt.Errorf("finding a cache folder (set CLOUDOPTIM_CACHE): %w", err)
	}
	return filepath.Join(dir, "cloudoptim"), nil
}

// once makes the folder dir/key by fn unless it is there. fn fills a folder
// that gets its name only when it is whole; a lock makes a second process wait
// for the first one's result.
func once(ctx context.Context, dir, key string, fn func(work string) error) (string, error) {
	whole := filepath.Join(dir, key)
	if _, err := os.Stat(whole); err == nil {
		return whole, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(whole); err == nil {
		return whole, nil
	}
	work := filepath.Join(dir, key+".new")
	if err := os.RemoveAll(work); err != nil { // left by one that was killed
		return "", err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return "", err
	}
	if err := fn(work); err != nil {
		return "", errors.Join(err, os.RemoveAll(work))
	}
	return whole, os.Rename(work, whole)
}

// lock is held until unlock or until this process ends, however it ends. It is
// asked for again and again, as a wait inside the kernel hears no Ctrl-C.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", file, err), f.Close())
		}
		if !told {
			progress.Say("another lab is building the same: waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// hash names a version of something by the content of its files.
func hash(seed string, files ...string) (string, error) {
	sort.Strings(files)
	h := sha256.New()
	fmt.Fprintln(h, seed)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, filepath.Base(name))
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
