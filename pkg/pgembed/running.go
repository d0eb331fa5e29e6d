package pgembed

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// Running returns the connection string of the central server's role for a server that another
// process runs in the data directory; "" when none answers there. It changes nothing, and is an
// error that is fs.ErrNotExist when the directory never held a server.
func Running(ctx context.Context, dataDir string) (string, error) {
	p := place{dir: dataDir}
	if _, err := os.Stat(secretsFile(p)); err != nil {
		return "", err
	}
	s, err := loadSecrets(p)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(p.data(), "postmaster.pid")); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	address := dsn(CentralRole, s.Central, s.Port, Database)
	// SCRAM proves both sides: whoever else has the port now does not pass for ours.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return "", nil //nolint:nilerr // that nobody answers is the answer
	}
	return address, conn.Close(ctx)
}
