package parts

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// venv makes the Python environment with moto. Its scripts name the folder
// they were made in, which is renamed after; so only `python -m` is ever used.
func venv(ctx context.Context, root, cache string) (string, error) {
	requirements := filepath.Join(root, labDir, "requirements.txt")
	version, err := pythonVersion(ctx)
	if err != nil {
		return "", err
	}
	key, err := hash(version, requirements)
	if err != nil {
		return "", err
	}
	dir, err := once(ctx, filepath.Join(cache, "moto"), key, func(work string) error {
		return progress.Step("installing moto, the AWS stand-in (about a minute)", func() error {
			if err := run(ctx, exec.Command("python3", "-m", "venv", work)); err != nil {
				return fmt.Errorf("making a Python environment (on Debian and Ubuntu: apt-get install python3-venv): %w", err)
			}
			return run(ctx, exec.Command(filepath.Join(work, "bin", "python"), "-m", "pip", "install",
				"--quiet", "--disable-pip-version-check", "-r", requirements))
		})
	})
	return filepath.Join(dir, "bin", "python"), err
}

func pythonVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "python3", "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("no python3 on the PATH (on Debian and Ubuntu: apt-get install python3 python3-venv)")
	}
	return strings.TrimSpace(string(out)), err
}
