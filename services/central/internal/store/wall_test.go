package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
)

func TestEveryTableWithCustomersRowsIsBehindTheWall(t *testing.T) {
	h := newHouse(t)
	tables := pgtest.Walled(t, h.db)
	for _, known := range []string{"customers", "clusters", "nodes", "audit_log", "task_late_results", "optimization_steps", "interruption_launches", "sessions"} {
		if !slices.Contains(tables, known) {
			t.Errorf("%s counts as a table without customers' rows", known)
		}
	}
	for _, table := range tables {
		ok := h.count(t, `SELECT count(*) FROM pg_class c WHERE c.oid = $1::regclass AND c.relrowsecurity AND c.relforcerowsecurity
			AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant')`, table)
		if ok != 1 {
			t.Errorf("%s has rows of customers and no wall: its migration must say SELECT tenant_wall('%s')", table, table)
		}
	}
	for _, table := range h.unwalled(t) {
		if !slices.Contains([]string{"activity_head", "audit_pending", "audit_seals", "goose_db_version", "models", "pool_refusals", "sign_ins", "spot_prices", "turns"}, table) && !strings.HasPrefix(table, "river_") {
			t.Errorf("whose are the rows of %s? Nothing in it says so; put it behind the wall, or into this list if they are nobody's", table)
		}
	}
}

func (h *house) unwalled(t *testing.T) []string {
	t.Helper()
	rows, err := h.db.Pool.Query(t.Context(), `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
		AND relkind IN ('r', 'p') AND NOT relrowsecurity`)
	must(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return all
}

func TestWithATenantSetNoStatementReachesAnothersRows(t *testing.T) {
	h := newHouse(t)
	rival, theirs := h.tenant(t, "rival")
	pgtest.Stock(t, h.db, h.customer, h.cluster, "acme")
	pgtest.Stock(t, h.db, rival, theirs, "rival")
	admin, err := pgx.Connect(t.Context(), h.db.AdminDSN)
	must(t, err)
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	total := func(table string) (n int) {
		must(t, admin.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
		return n
	}
	conn, err := pgx.Connect(t.Context(), h.db.DSN)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	see := func(tenant, table string) (n int) {
		_, err := conn.Exec(t.Context(), "SELECT set_config($1, $2, false)", db.TenantSetting, tenant)
		must(t, err)
		must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
		return n
	}
	for _, table := range pgtest.Walled(t, h.db) {
		all := total(table)
		ours, rivals := see(h.customer.String(), table), see(rival.String(), table)
		if strings.HasPrefix(table, "cluster_metrics_") && all == 0 {
			continue // a partition for another day
		}
		if ours == 0 || rivals == 0 {
			t.Errorf("%s: a customer sees %d and %d rows of %d; each has some", table, ours, rivals, all)
		}
		if ours+rivals > all {
			t.Errorf("%s: the customers see %d and %d rows of %d", table, ours, rivals, all)
		}
		equal(t, table+" for everyone", see(db.Everyone, table), all)
		for _, nobody := range []string{"", "nobody", uuid.NewString(), "'; --"} {
			equal(t, fmt.Sprintf("%s for %q", table, nobody), see(nobody, table), 0)
		}
		h.attack(t, conn, table, rival, rivals)
		if table != "audit_log" { // which nobody deletes from
			equal(t, table+" afterwards", total(table), all)
		}
	}
}

// attack tries to take and to change everything as the rival, and undoes it: it must hit the rival's rows alone.
func (h *house) attack(t *testing.T, conn *pgx.Conn, table string, rival uuid.UUID, own int) {
	t.Helper()
	must(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SELECT set_config($1, $2, true)", db.TenantSetting, rival.String())
		must(t, err)
		var column string
		must(t, tx.QueryRow(t.Context(), `SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0
			AND attidentity = '' AND NOT attisdropped ORDER BY attnum LIMIT 1`, table).Scan(&column))
		for _, sql := range []string{fmt.Sprintf("UPDATE %s SET %s = %s", table, column, column), "DELETE FROM " + table} {
			_, err = tx.Exec(t.Context(), "SAVEPOINT before")
			must(t, err)
			tag, err := tx.Exec(t.Context(), sql)
			switch {
			case err != nil && table == "audit_log": // append-only
			case err != nil && strings.Contains(err.Error(), "foreign key"):
			case err != nil:
				t.Errorf("%s: %v", sql, err)
			case tag.RowsAffected() != int64(own):
				t.Errorf("%s: %d rows, want the %d own", sql, tag.RowsAffected(), own)
			}
			_, err = tx.Exec(t.Context(), "ROLLBACK TO before")
			must(t, err)
		}
		return nil
	}))
	_, err := conn.Exec(t.Context(), "SELECT set_config($1, '', false)", db.TenantSetting)
	must(t, err)
}

func TestARowCannotBeGivenToAnother(t *testing.T) {
	h := newHouse(t)
	rival, theirs := h.tenant(t, "rival")
	opened, err := Open(t.Context(), h.db.DSN, 4, nil)
	must(t, err)
	t.Cleanup(opened.Close)
	ctx := ForCustomer(t.Context(), rival)
	for what, sql := range map[string]string{
		"a cluster":                      fmt.Sprintf("INSERT INTO clusters (customer_id, cluster_name, region) VALUES ('%s', 'x', 'r')", h.customer),
		"moving one":                     fmt.Sprintf("UPDATE clusters SET customer_id = '%s' WHERE cluster_id = '%s'", h.customer, theirs),
		"a node":                         fmt.Sprintf("INSERT INTO nodes (cluster_id, node_name, node_type) VALUES ('%s', 'x', 'spot')", h.cluster),
		"an audit entry of the platform": "INSERT INTO audit_log (actor, action) VALUES ('x', 'y')",
	} {
		_, err := opened.pool.Exec(ctx, sql)
		if err == nil || !strings.Contains(err.Error(), "row-level security") {
			t.Errorf("%s: %v, want it refused by row-level security", what, err)
		}
	}
}

func TestAConnectionIsSetToWhoeverAsksAndToNobodyElse(t *testing.T) {
	h := newHouse(t)
	rival, _ := h.tenant(t, "rival")
	opened, err := Open(t.Context(), h.db.DSN, 4, nil)
	must(t, err)
	t.Cleanup(opened.Close)
	see := func(ctx context.Context) int {
		clusters, err := opened.Clusters(ctx, anyone) // a query that forgot whose
		must(t, err)
		return len(clusters)
	}
	for range 3 { // the same few connections go from hand to hand
		equal(t, "everyone's clusters", see(ForEveryone(t.Context())), 2)
		equal(t, "a customer's", see(ForCustomer(t.Context(), rival)), 1)
		equal(t, "those of a customer who is not there", see(ForCustomer(t.Context(), uuid.New())), 0)
		equal(t, "the other customer's", see(ForCustomer(t.Context(), h.customer)), 1)
	}
	// Silence must not be taken for "there are none".
	if _, err := opened.Clusters(t.Context(), anyone); err == nil {
		t.Error("a context that says for nobody was served")
	}
	err = opened.InTx(ForCustomer(t.Context(), rival), func(tx *Store) error {
		clusters, err := tx.Clusters(ForEveryone(t.Context()), anyone) // a transaction is its beginner's
		equal(t, "clusters in a customer's transaction", len(clusters), 1)
		return err
	})
	must(t, err)
	view, err := opened.ClusterState(ForCustomer(t.Context(), rival), h.cluster, anyone)
	if err == nil {
		t.Errorf("the state of another's cluster: %v", view)
	}
}
