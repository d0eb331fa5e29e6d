// Package store reads the database, and only reads it: the one user of pgx and
// of gen/mldb, which holds no statement that writes.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cloudoptim/cloudoptim/gen/mldb"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
)

// Store is a pool of read-only connections.
type Store struct {
	pool *pgxpool.Pool
	q    *mldb.Queries
}

// Open a pool for the connection string. Nothing is connected yet, so that ml
// starts, and decides, without a database. echo, if not nil, gets every statement.
func Open(ctx context.Context, dsn string, connections int, echo *slog.Logger) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errAddress
	}
	return open(ctx, cfg, connections, echo)
}

// errAddress does not say what is wrong with it: its text may hold the password.
var errAddress = errors.New("reading the database's address: it is malformed")

// OpenFile is Open for a connection string in a file, which is read for every new
// connection: central may start its PostgreSQL later, or again on another port.
func OpenFile(ctx context.Context, file string, connections int, echo *slog.Logger) (*Store, error) {
	cfg, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, errAddress
	}
	cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		dsn, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the database's address, which central writes when it starts: %w", err)
		}
		now, err := pgx.ParseConfig(strings.TrimSpace(string(dsn)))
		if err != nil {
			return errAddress
		}
		conn.Host, conn.Port, conn.Database, conn.User, conn.Password = now.Host, now.Port, now.Database, now.User, now.Password
		conn.TLSConfig, conn.Fallbacks = now.TLSConfig, now.Fallbacks
		return nil
	}
	return open(ctx, cfg, connections, echo)
}

func open(ctx context.Context, cfg *pgxpool.Config, connections int, echo *slog.Logger) (*Store, error) {
	cfg.MaxConns = int32(min(max(1, connections), 1<<15))
	// A second wall beside the role's rights: the server refuses writes on these connections.
	cfg.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	if echo != nil {
		cfg.ConnConfig.Tracer = observe.Queries(echo)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return &Store{pool: pool, q: mldb.New()}, nil
}

// Check that the database answers and that its tables can be read.
func (s *Store) Check(ctx context.Context) error {
	if _, err := s.q.ClusterCount(ctx, s.pool); err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	return nil
}

// Close the pool.
func (s *Store) Close() { s.pool.Close() }
