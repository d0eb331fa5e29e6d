package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var everyTable = []string{
	"customers", "clusters", "nodes", "pods", "pod_disruption_budgets", "inventory_pages", "spot_events", "optimization_history",
	"optimization_steps", "optimization_launches", "optimization_nodes", "tasks", "task_late_results", "api_keys", "cluster_events",
	"policies", "stops", "schedules", "schedule_workloads", "schedule_runs", "schedule_run_workloads", "plan_rounds",
	"audit_log", "audit_seals", "audit_pending", "savings_hours", "savings_meters", "savings_swaps", "activity", "activity_head",
	"cluster_metrics", "interruptions", "interruption_launches", "pool_refusals", "turns", "spot_prices", "silences", "gap_runs", "models",
	"spot_predictions",
}

var mlReads = map[string]bool{
	"clusters": true, "nodes": true, "pods": true, "pod_disruption_budgets": true, "spot_events": true,
	"optimization_history": true, "cluster_metrics": true, "spot_prices": true, "silences": true, "gap_runs": true, "models": true,
}

func TestTheDecisionServersRoleReadsWhatItDecidesFromAndNothingElse(t *testing.T) {
	h := newHouse(t)
	conn := readOnly(t, h)
	for _, table := range everyTable {
		_, err := conn.Exec(t.Context(), "SELECT * FROM "+table)
		if mlReads[table] {
			if err != nil {
				t.Errorf("reading %s: %v", table, err)
			}
			continue
		}
		wantRefused(t, "reading "+table, err)
	}
}

func TestTheDecisionServersRoleWritesNothingEvenOutsideReadOnlyTransactions(t *testing.T) {
	h := newHouse(t)
	conn := readOnly(t, h)
	var mode string
	must(t, conn.QueryRow(t.Context(), "SHOW default_transaction_read_only").Scan(&mode))
	equal(t, "default_transaction_read_only", mode, "on")
	// Anyone may leave that mode: what holds is that the role has no right to write.
	_, err := conn.Exec(t.Context(), "SET default_transaction_read_only = off")
	must(t, err)
	for _, table := range everyTable {
		for _, sql := range []string{
			"INSERT INTO %s DEFAULT VALUES", "DELETE FROM %s", "TRUNCATE %s", "ALTER TABLE %s ADD COLUMN mine int",
			"DROP TABLE %s", "CREATE INDEX ON %s ((1))",
		} {
			sql = fmt.Sprintf(sql, table)
			_, err := conn.Exec(t.Context(), sql)
			wantRefused(t, sql, err)
		}
		var column string
		must(t, h.db.Pool.QueryRow(t.Context(), `SELECT column_name FROM information_schema.columns
			WHERE table_name = $1 AND is_identity = 'NO' LIMIT 1`, table).Scan(&column))
		sql := fmt.Sprintf("UPDATE %s SET %s = NULL", table, column)
		_, err := conn.Exec(t.Context(), sql)
		wantRefused(t, sql, err)
	}
	for _, sql := range []string{
		"CREATE TABLE mine (id int)", "CREATE TEMP TABLE mine (id int)", "CREATE SCHEMA mine", "CREATE VIEW mine AS SELECT 1",
		"CREATE ROLE mine", "SET ROLE central_server", "ALTER ROLE ml_server_ro SUPERUSER", "COPY clusters TO '/tmp/clusters'",
		"SELECT nextval('audit_log_audit_id_seq')",
	} {
		_, err := conn.Exec(t.Context(), sql)
		wantRefused(t, sql, err)
	}
	equal(t, "clusters afterwards", h.count(t, "SELECT count(*) FROM clusters"), 1)
}

func TestTheAuditLogIsOnlyEverAppendedTo(t *testing.T) {
	h := newHouse(t)
	must(t, h.Audit(t.Context(), Act{
		Actor: "admin:1", Action: "cluster.create", Subject: "c", Customer: some(h.customer), Detail: map[string]any{"n": 1},
	}))
	for _, sql := range []string{"UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log", "TRUNCATE audit_log CASCADE"} {
		if _, err := h.db.Pool.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s went through", sql)
		}
	}
	equal(t, "lines", h.count(t, "SELECT count(*) FROM audit_log WHERE actor = 'admin:1'"), 1)
}

func TestAnAuditLineFallsWithItsTransaction(t *testing.T) {
	h := newHouse(t)
	broken := errors.New("broken")
	err := h.InTx(t.Context(), func(tx *Store) error {
		must(t, tx.Audit(t.Context(), Act{Actor: "a", Action: "lost"}))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	equal(t, "lines", h.count(t, "SELECT count(*) FROM audit_log WHERE action = 'lost'"), 0)
}

func readOnly(t *testing.T, h *house) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.db.ReadOnlyDSN)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

// wantRefused wants SQLSTATE 42501, insufficient_privilege: not a syntax error, not a read-only transaction.
func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42501" {
		t.Errorf("%s: got %v, want it refused", what, err)
	}
}
