package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cloudoptim/cloudoptim/gen/mldb"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// mostRuns is how many instances are looked at, the newest first: some 40 MB.
const mostRuns = 200_000

// SpotRuns are the spot instances that ran since a time, of all customers together
// and without their names, as of now.
func (s *Store) SpotRuns(ctx context.Context, since, now time.Time) ([]history.Life, error) {
	rows, err := s.q.SpotPoolRuns(ctx, s.pool, mldb.SpotPoolRunsParams{Since: since, Now: now, Most: mostRuns})
	if err != nil {
		return nil, fmt.Errorf("reading the spot instances' runs: %w", err)
	}
	lives := make([]history.Life, 0, len(rows))
	for _, r := range rows {
		lives = append(lives, history.Life{
			Pool:  history.Pool{Type: r.InstanceType, Region: r.Region, Zone: r.AvailabilityZone},
			Start: r.StartedAt, End: r.EndedAt, Interrupted: r.Interrupted, Running: r.Running,
		})
	}
	return lives, nil
}
