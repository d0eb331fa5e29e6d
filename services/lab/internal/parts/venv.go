package parts

import (
	"context"
	"path/filepath"

	"github.com/cloudoptim/cloudoptim/pkg/moto"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// venv makes the Python environment with moto.
func venv(ctx context.Context, cache string) (string, error) {
	key, err := moto.Key(ctx)
	if err != nil {
		return "", err
	}
	dir, err := once(ctx, filepath.Join(cache, moto.Folder), key, func(work string) error {
		return progress.Step("installing moto, the AWS stand-in (about a minute)", func() error {
			return moto.Install(ctx, work)
		})
	})
	return moto.Python(dir), err
}
