package store_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

func open(t *testing.T, db *pgtest.DB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), db.ReadOnlyDSN, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func exec(t *testing.T, db *pgtest.DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// keep a model as central does.
func keep(t *testing.T, db *pgtest.DB, content, state string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	digits := hex.EncodeToString(sum[:])
	exec(t, db, `INSERT INTO models (model_version, name, kind, format, sha256, size_bytes, content, state, checked, schema_ok, created_by,
			promoted_at, retired_at)
		VALUES (left($1, 16), 'm', 'spot_interruption', 'cloudoptim', $1, octet_length($2::bytea), $2::bytea, $3::varchar, '{}', true, 'test',
			CASE WHEN $3::varchar = 'live' THEN now() END, CASE WHEN $3::varchar = 'retired' THEN now() END)`, digits, []byte(content), state)
	return digits[:16]
}

func TestModelsInUseAreReadWithTheirBytes(t *testing.T) {
	db := pgtest.New(t)
	s := open(t, db)
	if got, err := s.ModelsInUse(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("%v, %v", got, err)
	}
	live, shadow := keep(t, db, "one", "live"), keep(t, db, "two", "shadow")
	keep(t, db, "three", "uploaded")
	keep(t, db, "four", "retired")
	got, err := s.ModelsInUse(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, m := range got {
		want := map[string]string{live: "live", shadow: "shadow"}[m.Version]
		if m.State != want || m.Format != "cloudoptim" || m.Kind != "spot_interruption" || m.SHA256[:16] != m.Version {
			t.Errorf("%+v", m)
		}
	}
	if content, err := s.ModelContent(t.Context(), live); err != nil || string(content) != "one" {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := s.ModelContent(t.Context(), "0000000000000000"); err == nil {
		t.Error("a model that is not there has bytes")
	}
}

func TestRunningSpotInstancesAndTheirFates(t *testing.T) {
	db := pgtest.New(t)
	s := open(t, db)
	exec(t, db, `INSERT INTO customers (customer_id, company_name, email) VALUES ('00000000-0000-0000-0000-000000000001', 'a', 'a@example.com')`)
	for i, seen := range []string{"now()", "now() - interval '1 hour'"} {
		exec(t, db, fmt.Sprintf(`INSERT INTO clusters (cluster_id, customer_id, cluster_name, region, last_seen_at)
			VALUES ('00000000-0000-0000-0000-00000000000%d', '00000000-0000-0000-0000-000000000001', 'c%d', 'us-east-1', %s)`, i, i, seen))
	}
	at := time.Now().Add(-time.Hour)
	node := func(cluster int, name, id, kind string, ended *time.Time) {
		t.Helper()
		status := "Ready"
		if ended != nil {
			status = "Terminated"
		}
		exec(t, db, fmt.Sprintf(`INSERT INTO nodes (cluster_id, node_name, instance_id, instance_type, availability_zone, node_type, status, terminated_at, created_at)
			VALUES ('00000000-0000-0000-0000-00000000000%d', $1, $2, 'm5.large', 'us-east-1a', $3, $4, $5, $6)`, cluster), name, id, kind, status, ended, at)
	}
	soon, late := at.Add(10*time.Minute), at.Add(2*time.Hour)
	node(0, "up", "i-up", "spot", nil)
	node(0, "od", "i-od", "on-demand", nil)
	node(0, "taken", "i-taken", "spot", &soon)
	node(0, "ended", "i-ended", "spot", &soon)
	node(0, "later", "i-later", "spot", &late)
	node(1, "silent", "i-silent", "spot", nil) // nobody hears its cluster's agent
	got, err := s.SpotInstances(t.Context(), 10)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if i := got[0]; i.ID != "i-up" || i.Type != "m5.large" || i.Region != "us-east-1" || i.Zone != "us-east-1a" || i.Since.Sub(at).Abs() > time.Second {
		t.Errorf("%+v", i)
	}
	for id, when := range map[string]time.Time{"i-taken": at.Add(5 * time.Minute), "i-later": at.Add(119 * time.Minute), "i-up": at.Add(-time.Minute)} {
		for _, kind := range []string{"interruption_warning", "instance_terminated"} {
			exec(t, db, `INSERT INTO spot_events (cluster_id, instance_id, event_type, received_at)
				VALUES ('00000000-0000-0000-0000-000000000000', $1, $2, $3)`, id, kind, when)
		}
	}
	exec(t, db, `INSERT INTO spot_events (instance_id, event_type, received_at) VALUES ('i-ended', 'rebalance_recommendation', $1)`, soon)
	taken, gone, err := s.Fates(t.Context(), []string{"i-up", "i-taken", "i-ended", "i-later"}, at, at.Add(time.Hour))
	if err != nil || !slices.Equal(taken, []string{"i-taken"}) || !slices.Equal(gone, []string{"i-ended"}) {
		t.Errorf("taken %v, gone %v, %v", taken, gone, err)
	}
}
