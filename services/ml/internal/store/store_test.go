package store_test

import (
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
