package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestEachDatabaseIsMigratedAndIsolated(t *testing.T) {
	first, second := pgtest.New(t), pgtest.New(t)
	ctx := t.Context()
	if _, err := first.Pool.Exec(ctx, "CREATE TABLE only_here (id int)"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"only_here": false, "river_job": true, "goose_db_version": true} {
		var got bool
		err := second.Pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", name).Scan(&got)
		if err != nil || got != want {
			t.Errorf("table %s exists = %v, %v; want %v", name, got, err, want)
		}
	}
}

func TestMigratedTablesBelongToCentral(t *testing.T) {
	var strangers int
	err := pgtest.New(t).Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables
		WHERE schemaname = 'public' AND tableowner <> 'central_server'`).Scan(&strangers)
	if err != nil || strangers != 0 {
		t.Fatalf("%d tables belong to somebody else, %v", strangers, err)
	}
}

func TestReadOnlyRoleCannotWriteEvenWhenItLiftsItsDefault(t *testing.T) {
	db := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), db.ReadOnlyDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "SET default_transaction_read_only = off"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE TABLE mine (id int)", "DELETE FROM river_job", "CREATE TEMP TABLE mine (id int)"} {
		if _, err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v, want permission denied", sql, err)
		}
	}
}

func TestMigratingAtOnceFromManyServersWorks(t *testing.T) {
	empty := pgtest.NewEmpty(t)
	errs := make(chan error)
	for range 4 {
		go func() { errs <- db.Migrate(t.Context(), empty.DSN) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestParallelTestsGetDatabases(t *testing.T) {
	for i := range 12 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if err := pgtest.New(t).Pool.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAMissingPostgreSQLFailsTheTestClearly(t *testing.T) {
	if os.Getenv("PGTEST_WITHOUT") != "" {
		pgtest.New(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "PGTEST_WITHOUT=1", "CLOUDOPTIM_PG_BIN="+filepath.Join(t.TempDir(), "none"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CLOUDOPTIM_PG_BIN is") {
		t.Fatalf("%v, output: %s", err, out)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		pgtest.New(b)
	}
}
