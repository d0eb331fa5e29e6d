package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	partitionPrefix = "cluster_metrics_"
	partitionDay    = "20060102"
	// partitionsAhead: rows never fall into the default partition, even when a
	// clock is days off.
	partitionsAhead = 3
)

// KeepPartitions makes the daily partitions of cluster_metrics up to three days
// ahead and drops those older than keep.
func (s *Store) KeepPartitions(ctx context.Context, keep time.Duration) error {
	// Replicas do this at the same time; DDL on one table must not race.
	_, err := s.Locked(ctx, "partitions", func() error {
		today := time.Now().UTC().Truncate(24 * time.Hour)
		for day := range partitionsAhead + 1 {
			if err := s.makePartition(ctx, today.AddDate(0, 0, day)); err != nil {
				return err
			}
		}
		return s.dropPartitions(ctx, today.Add(-keep))
	})
	return err
}

func (s *Store) makePartition(ctx context.Context, day time.Time) error {
	name := pgx.Identifier{partitionPrefix + day.Format(partitionDay)}.Sanitize()
	// DDL takes no parameters; both dates are made here.
	_, err := s.db.Exec(ctx, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF cluster_metrics FOR VALUES FROM ('%s') TO ('%s')",
		name, day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)))
	return wrap("making partition", name, err)
}

func (s *Store) dropPartitions(ctx context.Context, before time.Time) error {
	rows, err := s.db.Query(ctx, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'cluster_metrics'::regclass")
	if err != nil {
		return wrap("listing", "partitions", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return wrap("listing", "partitions", err)
	}
	for _, name := range names {
		day, err := time.Parse(partitionDay, strings.TrimPrefix(name, partitionPrefix))
		if err != nil || !day.Before(before) { // the default partition has no day
			continue
		}
		if _, err := s.db.Exec(ctx, "DROP TABLE IF EXISTS "+pgx.Identifier{name}.Sanitize()); err != nil {
			return wrap("dropping partition", name, err)
		}
	}
	return nil
}
