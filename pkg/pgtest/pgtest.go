// Package pgtest gives each test a real, migrated PostgreSQL database of its own.
//
// A package that uses it has this in one of its test files:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// The first call of New starts one server for the package's test process and migrates a template;
// every further database is a copy of that.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
)

// DB is one test's database. It is dropped when the test ends.
type DB struct {
	// Pool is connected as central_server, the owner, and sees every customer's rows.
	Pool *pgxpool.Pool
	// DSN connects as central_server. Row-level security shows it no customer's rows unless it sets db.TenantSetting.
	DSN string
	// ReadOnlyDSN connects as ml_server_ro.
	ReadOnlyDSN string
	// AdminDSN connects as the superuser, whom row-level security does not bind.
	AdminDSN string
}

// Main runs the package's tests, stops the server and exits.
func Main(m *testing.M) {
	managed.Store(true)
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// managed is true in a process whose TestMain will stop the server.
var managed atomic.Bool

// New returns a migrated database that only this test uses. It fails the test when PostgreSQL is
// not installed.
func New(t testing.TB) *DB {
	t.Helper()
	return create(t, template)
}

// NewEmpty is like New, but without any table: for tests of the migrations themselves.
func NewEmpty(t testing.TB) *DB {
	t.Helper()
	return create(t, "template0")
}

func create(t testing.TB, from string) *DB {
	t.Helper()
	if !managed.Load() {
		t.Fatal("pgtest: call pgtest.Main from this package's TestMain, else the server's files stay behind")
	}
	server, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	name := fmt.Sprintf("test_%d", serial.Add(1))
	if err := server.clone(t.Context(), name, from); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	made := &DB{
		DSN:         server.pg.DSN(pgembed.CentralRole, name),
		ReadOnlyDSN: server.pg.DSN(pgembed.MLRole, name),
		AdminDSN:    server.pg.AdminDSN(name),
	}
	t.Cleanup(func() { server.drop(t, name) })
	made.Pool = connect(t, made.DSN)
	return made
}

var serial atomic.Int64

// connect opens a pool small enough that many parallel tests fit into the server's connections.
func connect(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatalf("pgtest: reading the connection string: %v", err)
	}
	config.MaxConns = 8
	config.ConnConfig.RuntimeParams[db.TenantSetting] = db.Everyone
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(t.Context()), config)
	if err != nil {
		t.Fatalf("pgtest: opening the database: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// clone makes a database. The template's grants are part of the copy, except those on the database
// itself, which bootstrap.sql gives and which are repeated here.
func (s *server) clone(ctx context.Context, name, from string) error {
	id := pgx.Identifier{name}.Sanitize()
	for _, sql := range []string{
		"CREATE DATABASE " + id + " TEMPLATE " + from + " OWNER " + pgembed.CentralRole,
		"REVOKE ALL ON DATABASE " + id + " FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + id + " TO " + pgembed.MLRole,
	} {
		if _, err := s.admin.Exec(ctx, sql); err != nil {
			return fmt.Errorf("making the test's database: %s: %w", strings.Fields(sql)[0], err)
		}
	}
	return nil
}

// drop removes a test's database, even under connections that the test forgot.
func (s *server) drop(t testing.TB, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if _, err := s.admin.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		t.Errorf("pgtest: dropping the test's database: %v", err)
	}
}
