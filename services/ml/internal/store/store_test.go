package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestCheckReadsAsTheReadOnlyRole(t *testing.T) {
	db := pgtest.New(t)
	s, err := store.Open(t.Context(), db.ReadOnlyDSN, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheReadOnlyRoleCannotWrite(t *testing.T) {
	db := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), db.ReadOnlyDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	// The session default is a courtesy; the rights must hold without it.
	if _, err := conn.Exec(t.Context(), "SET default_transaction_read_only = off"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"INSERT INTO customers (company_name, email) VALUES ('x', 'x@example.com')", "DELETE FROM clusters", "CREATE TABLE t (x int)",
	} {
		if _, err := conn.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s succeeded", statement)
		}
	}
}

func TestCheckFailsWhenTheDatabaseIsAway(t *testing.T) {
	s, err := store.Open(t.Context(), "postgres://nobody@127.0.0.1:1/none?connect_timeout=1", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Check(t.Context()); err == nil {
		t.Error("a database that is not there answers")
	}
}

func TestTheAddressInAFileIsReadForEveryConnection(t *testing.T) {
	first, second := pgtest.New(t), pgtest.New(t)
	file := filepath.Join(t.TempDir(), "ml.dsn")
	s, err := store.OpenFile(t.Context(), file, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "which central writes") {
		t.Errorf("without the file: %v", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("postgres://ml_server_ro:secret@[::1")
	if err := s.Check(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("malformed: %v", err)
	}
	write(first.ReadOnlyDSN + "\n")
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("central has started: %v", err)
	}
	write(second.ReadOnlyDSN)
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("the connection that is there: %v", err)
	}
	// Central's PostgreSQL ends, and with it the connection; the next is to where it is now.
	const ours = "FROM pg_stat_activity WHERE datname = current_database() AND usename = 'ml_server_ro'"
	if n := ask(t, first.AdminDSN, "SELECT count(pg_terminate_backend(pid)) "+ours); n != 1 {
		t.Fatalf("%d connections to the first database", n)
	}
	_ = s.Check(t.Context()) // which may find the dead connection
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("after central's restart: %v", err)
	}
	if n := ask(t, second.AdminDSN, "SELECT count(*) "+ours); n != 1 {
		t.Errorf("%d connections to the second database", n)
	}
}

// ask a number as the superuser.
func ask(t *testing.T, dsn, sql string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
