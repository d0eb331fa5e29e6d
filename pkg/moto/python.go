package moto

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

// Folder is where moto's environments are, in the cache of the product's programs.
const Folder = "moto"

//go:embed requirements.txt
var requirements []byte

// Key names the environment by all that it is made of.
func Key(ctx context.Context) (string, error) {
	version, err := exec.CommandContext(ctx, "python3", "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("no python3 on the PATH (on Debian and Ubuntu: apt-get install python3 python3-venv)")
	}
	if err != nil {
		return "", fmt.Errorf("asking Python for its version: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\nrequirements.txt\n%s", strings.TrimSpace(string(version)), requirements)
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// Install makes the environment in dir, an empty folder, in about a minute. The
// scripts in it name that folder, which may be renamed afterwards; so only
// `python -m` is ever used.
func Install(ctx context.Context, dir string) error {
	if err := proc.Run(ctx, exec.Command("python3", "-m", "venv", dir)); err != nil {
		return fmt.Errorf("making a Python environment (on Debian and Ubuntu: apt-get install python3-venv): %w", err)
	}
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return err
	}
	return proc.Run(ctx, exec.Command(Python(dir), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", list))
}

// Python is the interpreter of the environment in dir.
func Python(dir string) string { return filepath.Join(dir, "bin", "python") }

// Installed is the interpreter of the environment that `make lab` has made.
func Installed(ctx context.Context) (string, error) {
	cache, err := pgembed.CacheDir()
	if err != nil {
		return "", err
	}
	key, err := Key(ctx)
	if err != nil {
		return "", err
	}
	python := Python(filepath.Join(cache, Folder, key))
	if _, err := os.Stat(python); err != nil {
		return "", fmt.Errorf("looking for moto (`make lab` builds it): %w", err)
	}
	return python, nil
}
