package store

import (
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/cloudoptim/cloudoptim/db"
)

// What was there before the ledger and the chain is taken into both.
func TestTheLedgerAndTheChainBeginWithWhatIsThere(t *testing.T) {
	h := newHouse(t)
	provider, err := goose.NewProvider(goose.DialectPostgres, stdlib.OpenDBFromPool(h.db.Pool), db.Migrations())
	must(t, err)
	h.exec(t, "INSERT INTO audit_log (actor, action) SELECT 'old', 'act' FROM generate_series(1, 3)")
	h.exec(t, "INSERT INTO optimization_history (cluster_id, optimization_type, status, completed_at) VALUES ($1, 'bin_pack', 'completed', now())", h.cluster)
	h.exec(t, "INSERT INTO optimization_nodes (optimization_id, position, node_name, instance_id, status) SELECT optimization_id, 0, 'n', 'i-1', 'terminated' FROM optimization_history")
	for _, version := range []int64{19, 9} {
		_, err = provider.ApplyVersion(t.Context(), version, false)
		must(t, err)
	}
	equal(t, "lines that outlive the chain", h.count(t, "SELECT count(*) FROM audit_log WHERE actor = 'old'"), 3)
	for _, version := range []int64{9, 19} {
		_, err = provider.ApplyVersion(t.Context(), version, true)
		must(t, err)
	}
	equal(t, "to be sealed", h.count(t, "SELECT count(*) FROM audit_pending"), h.count(t, "SELECT count(*) FROM audit_log"))
	equal(t, "swaps", h.count(t, "SELECT count(*) FROM savings_swaps WHERE mechanism = 'bin_pack'"), 1)
}
