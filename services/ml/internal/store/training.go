package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/gen/mldb"
)

// Cluster whose reports are looked at.
type Cluster struct {
	ID      uuid.UUID
	Created time.Time
}

// Clusters lists all of them, or the one.
func (s *Store) Clusters(ctx context.Context, one uuid.NullUUID) ([]Cluster, error) {
	rows, err := s.q.GapClusters(ctx, s.pool, one)
	if err != nil {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	all := make([]Cluster, 0, len(rows))
	for _, row := range rows {
		all = append(all, Cluster{ID: row.ClusterID, Created: row.CreatedAt})
	}
	return all, nil
}

// readAtOnce bounds what one query returns: a month at a row each five seconds is
// half a million.
const readAtOnce = 31 * 24 * time.Hour

// ReportTimes says when rows were written of a cluster in milliseconds and in order: observed
// rows, and imputed ones.
func (s *Store) ReportTimes(ctx context.Context, cluster uuid.UUID, since, until time.Time) (observed, imputed []int64, err error) {
	for from := since; from.Before(until); from = from.Add(readAtOnce) {
		to := from.Add(readAtOnce)
		if to.After(until) {
			to = until
		}
		row, err := s.q.GapTimes(ctx, s.pool, mldb.GapTimesParams{ClusterID: cluster, Since: from, Until: to})
		if err != nil {
			return nil, nil, fmt.Errorf("reading when cluster %s reported: %w", cluster, err)
		}
		observed, imputed = append(observed, millis(row.Observed)...), append(imputed, millis(row.Imputed)...)
	}
	return observed, imputed, nil
}

// FirstReport of any cluster; the zero time if there is none.
func (s *Store) FirstReport(ctx context.Context) (time.Time, error) {
	at, err := s.q.GapFirstReport(ctx, s.pool)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for the first report: %w", err)
	}
	return at, nil
}

// ReportHours are the means of each hour's observed reports.
func (s *Store) ReportHours(ctx context.Context, cluster uuid.UUID, since, until time.Time) ([]*mlv1.ReportRow, error) {
	rows, err := s.q.GapHours(ctx, s.pool, mldb.GapHoursParams{ClusterID: cluster, Since: since, Until: until})
	if err != nil {
		return nil, fmt.Errorf("averaging reports of cluster %s: %w", cluster, err)
	}
	all := make([]*mlv1.ReportRow, 0, len(rows))
	for _, r := range rows {
		all = append(all, report(mldb.GapReportsRow(r)))
	}
	return all, nil
}

// ReportsAt the times given, in milliseconds and in order.
func (s *Store) ReportsAt(ctx context.Context, cluster uuid.UUID, times []int64) ([]*mlv1.ReportRow, error) {
	if len(times) == 0 {
		return nil, nil
	}
	params := mldb.GapReportsParams{ClusterID: cluster, Since: time.UnixMilli(times[0]), Until: time.UnixMilli(times[len(times)-1] + 1)}
	for _, at := range times {
		params.Ats = append(params.Ats, time.UnixMilli(at))
	}
	rows, err := s.q.GapReports(ctx, s.pool, params)
	if err != nil {
		return nil, fmt.Errorf("reading reports of cluster %s: %w", cluster, err)
	}
	all := make([]*mlv1.ReportRow, 0, len(rows))
	for _, r := range rows {
		all = append(all, report(r))
	}
	return all, nil
}

func report(r mldb.GapReportsRow) *mlv1.ReportRow {
	return &mlv1.ReportRow{
		At: timestamppb.New(r.At), TotalNodes: r.TotalNodes, SpotNodes: r.SpotNodes, OnDemandNodes: r.OnDemandNodes,
		TotalCpu: r.TotalCpu, TotalMemoryGb: r.TotalMemoryGb, AllocatedCpu: r.AllocatedCpu, AllocatedMemoryGb: r.AllocatedMemoryGb,
		TotalPods: r.TotalPods, RunningPods: r.RunningPods, PendingPods: r.PendingPods, CostPerHour: r.CostPerHour,
	}
}

// Silence is a time in which no heartbeats came.
type Silence struct {
	// Kind is agent, central or unwatched.
	Kind string
	// Cluster of the agent.
	Cluster      uuid.NullUUID
	Since, Until time.Time
}

// Silences between two moments, cut to them.
func (s *Store) Silences(ctx context.Context, since, until time.Time) ([]Silence, error) {
	rows, err := s.q.GapSilences(ctx, s.pool, mldb.GapSilencesParams{Since: since, Until: until})
	if err != nil {
		return nil, fmt.Errorf("reading silences: %w", err)
	}
	all := make([]Silence, 0, len(rows))
	for _, r := range rows {
		all = append(all, Silence{Kind: r.Kind, Cluster: r.ClusterID, Since: r.Since, Until: r.Until})
	}
	return all, nil
}

// Pool of instances.
type Pool struct{ Region, Zone, Type string }

// mostPools of one answer; a fleet of a thousand clusters uses a few hundred.
const mostPools = 10_000

// PoolsUsed lists the pools used by clusters, or by the one, between two moments.
func (s *Store) PoolsUsed(ctx context.Context, one uuid.NullUUID, since, until time.Time) ([]Pool, error) {
	rows, err := s.q.GapPools(ctx, s.pool, mldb.GapPoolsParams{ClusterID: one, Since: since, Until: until, MaxRows: mostPools})
	if err != nil {
		return nil, fmt.Errorf("listing pools: %w", err)
	}
	all := make([]Pool, 0, len(rows))
	for _, r := range rows {
		all = append(all, Pool{Region: r.Region, Zone: r.AvailabilityZone, Type: r.InstanceType})
	}
	return all, nil
}

// PriceTimes of a pool in milliseconds, in order.
func (s *Store) PriceTimes(ctx context.Context, pool Pool, since, until time.Time) ([]int64, error) {
	rows, err := s.q.GapPriceTimes(ctx, s.pool, mldb.GapPriceTimesParams{
		Region: pool.Region, AvailabilityZone: pool.Zone, InstanceType: pool.Type, Since: since, Until: until,
	})
	if err != nil {
		return nil, fmt.Errorf("reading when the price of %s in %s was known: %w", pool.Type, pool.Zone, err)
	}
	return millis(rows), nil
}

func millis(times []time.Time) []int64 {
	all := make([]int64, 0, len(times))
	for _, at := range times {
		all = append(all, at.UnixMilli())
	}
	return all
}
