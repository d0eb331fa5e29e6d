package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// Migrate brings the database at dsn up to date: River's tables first, so that ours may refer to
// them, then ours. Any number of servers may call it at once: one works, the others wait up to
// five minutes for it.
func Migrate(ctx context.Context, dsn string) (err error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return errors.New("reading the address of the database to migrate: it is malformed") // its text may hold the password
	}
	// A migration may change every customer's rows; without this it would find none.
	cfg.ConnConfig.RuntimeParams[TenantSetting] = Everyone
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("opening the database to migrate it: %w", err)
	}
	defer pool.Close()
	handle := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, handle.Close()) }()

	release, err := lockMigrations(ctx, handle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()

	if err := migrateRiver(ctx, pool); err != nil {
		return err
	}
	return migrateOurs(ctx, handle)
}

// lockMigrations takes goose's session lock around both kinds of migrations. It polls rather than
// blocks: a blocked pg_advisory_lock holds a snapshot, for which CREATE INDEX CONCURRENTLY in the
// working server would wait for ever.
func lockMigrations(ctx context.Context, handle *sql.DB) (func() error, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("preparing the migration lock: %w", err)
	}
	conn, err := handle.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to take the migration lock: %w", err)
	}
	if err := locker.SessionLock(ctx, conn); err != nil {
		return nil, errors.Join(fmt.Errorf("taking the migration lock: %w", err), conn.Close())
	}
	return func() error {
		// The lock must be given back even when the caller's context has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(locker.SessionUnlock(ctx, conn), conn.Close())
	}, nil
}

func migrateRiver(ctx context.Context, pool *pgxpool.Pool) error {
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return fmt.Errorf("preparing River's migrations: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("applying River's migrations: %w", err)
	}
	return nil
}

func migrateOurs(ctx context.Context, handle *sql.DB) error {
	provider, err := goose.NewProvider(goose.DialectPostgres, handle, Migrations())
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("applying the migrations: %w", err)
	}
	return nil
}
