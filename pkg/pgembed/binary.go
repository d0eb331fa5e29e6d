package pgembed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
)

// Version is the PostgreSQL package that `go run ./pkg/pgembed/install` puts into the cache.
const Version = "18.4.0-beta.17"

// oldest is the first PostgreSQL whose rules for schema public and grants the migrations rely on.
const oldest = 15

// CacheDir is where downloaded programs are kept: $CLOUDOPTIM_CACHE, else cloudoptim below the
// user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("CLOUDOPTIM_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	return filepath.Join(dir, "cloudoptim"), nil
}

// InstallDir is the directory in the cache which holds the pinned PostgreSQL's bin, lib and share.
func InstallDir() (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "postgres-"+Version), nil
}

// binaries is a usable set of PostgreSQL programs.
type binaries struct {
	dir   string
	major int
}

// locate finds the programs and makes sure that PostgreSQL's user may run them.
func locate(ctx context.Context, p place) (binaries, error) {
	dir, err := findBinaries()
	if err != nil {
		return binaries{}, err
	}
	found, err := probe(ctx, dir, p.credential())
	if errors.Is(err, fs.ErrPermission) && p.dropped() {
		// Root's cache is closed to others, so the programs go to live beside the data.
		if dir, err = transplant(dir, p); err != nil {
			return binaries{}, err
		}
		found, err = probe(ctx, dir, p.credential())
	}
	if err != nil {
		return binaries{}, err
	}
	if found.major < oldest {
		return binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old: %d or newer is needed", found.major, dir, oldest)
	}
	data, err := p.major()
	if err == nil && data != 0 && data != found.major {
		err = fmt.Errorf("the data in %s was made by PostgreSQL %d, but the programs in %s are of PostgreSQL %d: "+
			"set CLOUDOPTIM_PG_BIN to the right ones or upgrade the data with pg_upgrade", p.dir, data, dir, found.major)
	}
	return found, err
}

// findBinaries looks in $CLOUDOPTIM_PG_BIN and nowhere else if that is set; else in the cache, then
// among the system's programs, newest first.
func findBinaries() (string, error) {
	if dir := os.Getenv("CLOUDOPTIM_PG_BIN"); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("CLOUDOPTIM_PG_BIN is %s, which has no initdb and postgres", dir)
		}
		return dir, nil
	}
	installed, err := InstallDir()
	if err == nil && complete(filepath.Join(installed, "bin")) {
		return filepath.Join(installed, "bin"), nil
	}
	for _, dir := range systemDirs() {
		if complete(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no PostgreSQL found in %s nor on this system: run `go run ./pkg/pgembed/install`, "+
		"set CLOUDOPTIM_PG_BIN to a directory with initdb and postgres, or set database.host", installed)
}

func systemDirs() []string {
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // the patterns are constants and well formed
		}
		dirs = append(dirs, found...)
	}
	slices.SortFunc(dirs, func(a, b string) int { return majorIn(b) - majorIn(a) })
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

var digits = regexp.MustCompile(`\d+`)

// majorIn reads the first number of a text, as in /usr/lib/postgresql/17/bin.
func majorIn(text string) int {
	number, err := strconv.Atoi(digits.FindString(text))
	if err != nil {
		return 0
	}
	return number
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// probe runs postgres as its later user, which shows both that it runs and which one it is.
func probe(ctx context.Context, dir string, as *syscall.Credential) (binaries, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Env = cleanEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return binaries{}, fmt.Errorf("running %s --version: %w: %s", cmd.Path, err, out)
	}
	return binaries{dir: dir, major: majorIn(string(out))}, nil
}

// cleanEnv keeps PG* and locale variables of the caller away from the server.
func cleanEnv() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}
