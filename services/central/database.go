package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// database is the store and, if it is ours, the server below it.
type database struct {
	store    *store.Store
	embedded *pgembed.Server
}

func (d *database) close() {
	d.store.Close()
	if d.embedded != nil {
		_ = d.embedded.Stop() // nothing is left to do when it fails: the data is safe
	}
}

// openDatabase reaches the database and brings it up to date.
func openDatabase(ctx context.Context, cfg *settings, log *slog.Logger) (*database, error) {
	embedded, dsn, err := reachDatabase(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	d := &database{embedded: embedded}
	if err = db.Migrate(ctx, dsn); err == nil {
		d.store, err = store.Open(ctx, dsn, cfg.Database.MaxConns(), cfg.Database.EchoTo(log))
	}
	if err != nil && embedded != nil {
		_ = embedded.Stop()
	}
	return d, err
}

// reachDatabase starts the embedded PostgreSQL when no other is configured.
func reachDatabase(ctx context.Context, cfg *settings, log *slog.Logger) (*pgembed.Server, string, error) {
	if cfg.Database.Host != "" {
		return nil, cfg.Database.DSN(pgembed.CentralRole), nil
	}
	dir, err := cfg.dataDir()
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, "", err
	}
	server, err := pgembed.Start(ctx, pgembed.Config{DataDir: dir, Log: log})
	if err != nil {
		return nil, "", err
	}
	return server, server.CentralDSN(), nil
}
