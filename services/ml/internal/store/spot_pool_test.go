package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	tenants "github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

func TestSpotRunsSayHowEachInstanceEnded(t *testing.T) {
	db := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("SELECT set_config($1, $2, false)", tenants.TenantSetting, tenants.Everyone)
	now := time.Now().UTC().Truncate(time.Second)
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	customer, cluster := uuid.New(), uuid.New()
	exec("INSERT INTO customers (customer_id, company_name, email) VALUES ($1, 'x', 'x@example.com')", customer)
	exec("INSERT INTO clusters (cluster_id, customer_id, cluster_name, region) VALUES ($1, $2, 'c', 'us-east-1')", cluster, customer)
	node := func(name, kind string, born time.Time, gone *time.Time) {
		status := "Ready"
		if gone != nil {
			status = "Terminated"
		}
		exec(`INSERT INTO nodes (cluster_id, node_name, instance_id, instance_type, availability_zone, node_type, status, created_at, terminated_at)
			VALUES ($1, $2, $2, 'm5.large', 'us-east-1a', $3, $4, $5, $6)`, cluster, name, kind, status, born, gone)
	}
	ended, long := ago(2), ago(24*40)
	node("i-runs", "spot", ago(10), nil)
	node("i-ended", "spot", ago(9), &ended)
	node("i-lost", "spot", ago(8), &ended)
	node("i-warned", "spot", ago(7), nil)
	node("i-before", "spot", ago(24*50), &long)
	node("i-on-demand", "on-demand", ago(6), nil)
	event := func(instance, kind string, at time.Time) {
		exec("INSERT INTO spot_events (cluster_id, instance_id, event_type, received_at) VALUES ($1, $2, $3, $4)", cluster, instance, kind, at)
	}
	event("i-lost", "interruption_warning", ago(3))
	event("i-lost", "interruption_warning", ago(2)) // heard again: the first counts
	event("i-warned", "interruption_warning", ago(1))
	event("i-ended", "rebalance_recommendation", ago(4)) // no interruption
	event("i-runs", "instance_terminated", ago(4))       // perhaps our own doing

	s, err := store.Open(t.Context(), db.ReadOnlyDSN, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lives, err := s.SpotRuns(t.Context(), ago(24*30), now)
	if err != nil {
		t.Fatal(err)
	}
	pool := history.Pool{Type: "m5.large", Region: "us-east-1", Zone: "us-east-1a"}
	want := []history.Life{ // the newest first
		{Pool: pool, Start: ago(7), End: ago(1), Interrupted: true},
		{Pool: pool, Start: ago(8), End: ago(3), Interrupted: true},
		{Pool: pool, Start: ago(9), End: ago(2)},
		{Pool: pool, Start: ago(10), End: now, Running: true},
	}
	if len(lives) != len(want) {
		t.Fatalf("%d runs, want %d: %+v", len(lives), len(want), lives)
	}
	for i, l := range lives {
		w := want[i]
		if l.Pool != w.Pool || !l.Start.Equal(w.Start) || !l.End.Equal(w.End) || l.Interrupted != w.Interrupted || l.Running != w.Running {
			t.Errorf("run %d is %+v, want %+v", i, l, w)
		}
	}
}
