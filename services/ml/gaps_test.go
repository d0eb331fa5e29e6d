package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// The guide's own request, on a database with a hole of five minutes.
func TestFillGapsCountsAsDocumentedAndWritesNothing(t *testing.T) {
	db := pgtest.New(t)
	for _, sql := range []string{
		`INSERT INTO customers (customer_id, company_name, email) VALUES ('7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e', 'x', 'x@example.com')`,
		`INSERT INTO clusters (cluster_id, customer_id, cluster_name, region, created_at)
			SELECT customer_id, customer_id, 'c', 'us-east-1', '2025-11-27T00:00:00Z' FROM customers`,
		`INSERT INTO cluster_metrics SELECT cluster_id, at, 1, 1, 0, 4, 16, 2, 8, 9, 8, 1, 0.1 FROM clusters,
			generate_series('2025-11-27T00:00:00Z'::timestamptz, '2025-11-27T23:59:00Z', interval '1 minute') at
			WHERE at NOT BETWEEN '2025-11-27T12:00:00Z' AND '2025-11-27T12:04:00Z'`,
	} {
		if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	told, err := observe.Start(t.Context(), observe.Discard())
	if err != nil {
		t.Fatal(err)
	}
	prices, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	database, err := store.Open(t.Context(), db.ReadOnlyDSN, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	var s settings
	s.Auth.APIKeys, s.Market.Refresh = []string{testKey}, "off"
	srv, err := newServer(&s, told, prices, &market.Account{Log: told.Log}, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.rpc.Stop)
	front := httptest.NewServer(srv.http)
	defer front.Close()
	const path = "/api/v1/ml/data/fill-gaps"
	code, answer := call(t, front, http.MethodPost, path, testKey, `{"model_training_date": "2025-11-28T00:00:00Z", "lookback_days": 30}`)
	if code != http.StatusOK || answer["gaps_filled"] != 1.0 || answer["records"] != 5.0 {
		t.Errorf("%d %v, want one gap with 5 records", code, answer)
	}
	_, answer = call(t, front, http.MethodPost, path, testKey, `{"model_training_date": "2025-11-28T00:00:00Z", "lookback_days": 30, "max_rows": 2}`)
	if gaps, _ := answer["gaps"].([]any); len(gaps) != 1 || len(gaps[0].(map[string]any)["reports"].([]any)) != 2 {
		t.Errorf("rows shown: %v, want two", answer["gaps"])
	}
	var rows int
	if err := db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM cluster_metrics").Scan(&rows); err != nil || rows != 1435 {
		t.Errorf("%d rows afterwards (%v), want the 1435 that were there", rows, err)
	}
}
