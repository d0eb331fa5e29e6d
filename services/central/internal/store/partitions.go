package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
			name, err := s.makePartition(ctx, today.AddDate(0, 0, day))
			if err == nil {
				err = s.wallPartition(ctx, name)
			}
			if err != nil {
				return err
			}
		}
		return s.dropPartitions(ctx, today.Add(-keep))
	})
	return err
}

func (s *Store) makePartition(ctx context.Context, day time.Time) (string, error) {
	name := pgx.Identifier{partitionPrefix + day.Format(partitionDay)}.Sanitize()
	// DDL takes no parameters; both dates are made here.
	from, to := day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)
	bounds := fmt.Sprintf("FOR VALUES FROM ('%s') TO ('%s')", from, to)
	_, err := s.db.Exec(ctx, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF cluster_metrics %s", name, bounds))
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "23514" {
		return name, wrap("making partition", name, err)
	}
	// An agent whose clock is ahead has put rows of that day into the default partition.
	err = s.InTx(ctx, func(tx *Store) error {
		for _, sql := range []string{
			"LOCK TABLE cluster_metrics IN ACCESS EXCLUSIVE MODE",
			fmt.Sprintf("CREATE TABLE %s (LIKE cluster_metrics INCLUDING ALL)", name),
			fmt.Sprintf(`WITH moved AS (DELETE FROM cluster_metrics_default WHERE at >= '%s' AND at < '%s' RETURNING *)
				INSERT INTO %s SELECT * FROM moved`, from, to, name),
			fmt.Sprintf("ALTER TABLE cluster_metrics ATTACH PARTITION %s %s", name, bounds),
		} {
			if _, err := tx.db.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	return name, wrap("making partition", name, err)
}

// wallPartition keeps customers apart who name the partition itself: the policy of the whole table binds
// only those who name that.
func (s *Store) wallPartition(ctx context.Context, name string) error {
	_, err := s.db.Exec(ctx, "SELECT tenant_wall(oid) FROM pg_class WHERE oid = $1::regclass AND NOT relrowsecurity", name)
	return wrap("walling partition", name, err)
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
	if _, err := s.db.Exec(ctx, "DELETE FROM cluster_metrics_default WHERE at < $1", before); err != nil {
		return wrap("emptying", "the default partition", err)
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
