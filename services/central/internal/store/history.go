package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// Spent is what some hours come to, in millionths of a USD and in milliseconds of nodes.
type Spent struct {
	Actual int64
	// Saved by mechanism.
	Saved                                     map[string]int64
	SpotMs, OnDemandMs, UnpricedMs, MeteredMs int64
}

// SpentStep is a step of time.
type SpentStep struct {
	Start time.Time
	Spent
}

// SpentCluster is a cluster, all of the time together.
type SpentCluster struct {
	ID        uuid.UUID
	Name      string
	CreatedAt time.Time
	// MeteredFrom is nil when it has not been metered yet.
	MeteredFrom *time.Time
	Spent
}

// History is what was spent and saved, by step and by cluster: two sums of the same hours.
type History struct {
	// At is when it was looked at.
	At       time.Time
	Steps    []SpentStep
	Clusters []SpentCluster
}

// History of a customer's clusters, of one of them, or of all, for hours that begin from start on and before end.
func (s *Store) History(ctx context.Context, cluster, customer uuid.NullUUID, step string, start, end time.Time) (*History, error) {
	out := &History{}
	err := s.inView(ctx, func(tx *Store) error {
		steps, err := tx.q.SavingHistory(ctx, tx.db, centraldb.SavingHistoryParams{
			Step: step, CustomerID: customer, ClusterID: cluster, Start: start, Before: end,
		})
		if err != nil {
			return err
		}
		for _, row := range steps {
			out.Steps = append(out.Steps, SpentStep{Start: row.Start.UTC(), Spent: Spent{
				Actual: row.Actual, Saved: mechanisms(row.SpotOptimize, row.BinPack, row.Rightsize, row.Schedule, row.Interruption),
				SpotMs: row.SpotMs, OnDemandMs: row.OnDemandMs, UnpricedMs: row.UnpricedMs, MeteredMs: row.MeteredMs,
			}})
		}
		clusters, err := tx.q.SavingClusters(ctx, tx.db, centraldb.SavingClustersParams{
			CustomerID: customer, ClusterID: cluster, Start: start, Before: end,
		})
		for _, row := range clusters {
			out.At = row.At
			out.Clusters = append(out.Clusters, SpentCluster{
				ID: row.ClusterID, Name: row.ClusterName, CreatedAt: row.CreatedAt, MeteredFrom: row.MeteredFrom, Spent: Spent{
					Actual: row.Actual, Saved: mechanisms(row.SpotOptimize, row.BinPack, row.Rightsize, row.Schedule, row.Interruption),
					SpotMs: row.SpotMs, OnDemandMs: row.OnDemandMs, UnpricedMs: row.UnpricedMs, MeteredMs: row.MeteredMs,
				},
			})
		}
		return err
	})
	return out, wrap("reading", "savings", err)
}

func mechanisms(spotOptimize, binPack, rightsize, schedule, interruption int64) map[string]int64 {
	return map[string]int64{
		"spot_optimize": spotOptimize, "bin_pack": binPack, "rightsize": rightsize, "schedule": schedule, "interruption": interruption,
	}
}

// Outcome is an optimization's promise beside what came of it.
type Outcome struct {
	ID, Cluster       uuid.UUID
	ClusterName, Type string
	CompletedAt       time.Time
	// Estimated and Actual are USD per month: promised, and by the prices right after.
	Estimated, Actual float64
	// Realised is millionths of a USD, PromisedMs for how many milliseconds it had promised to save.
	Realised, PromisedMs int64
	Active               bool
}

// Outcomes lists a page of the optimizations that ended and had changed something, newest first.
func (s *Store) Outcomes(ctx context.Context, cluster, customer uuid.NullUUID, page Page) ([]Outcome, string, error) {
	params := centraldb.SavingDecisionsParams{CustomerID: customer, ClusterID: cluster, MaxRows: int32(page.Limit) + 1}
	var err error
	if params.AfterAt, params.AfterID, err = page.timePlace(); err != nil {
		return nil, "", err
	}
	rows, err := s.q.SavingDecisions(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "savings of optimizations", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.SavingDecisionsRow) Cursor {
		return dated("", row.CompletedAt, row.OptimizationID.String())
	})
	out := make([]Outcome, 0, len(rows))
	for _, row := range rows {
		out = append(out, Outcome{
			ID: row.OptimizationID, Cluster: row.ClusterID, ClusterName: row.ClusterName, Type: row.OptimizationType, CompletedAt: row.CompletedAt,
			Estimated: row.Estimated, Actual: row.Actual, Realised: row.Realised, PromisedMs: row.PromisedMs, Active: row.Active,
		})
	}
	return out, next, err
}
