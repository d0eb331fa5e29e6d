package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// LeaveOptimizations cancels what runs in a cluster that is being disconnected, and returns which.
func (s *Store) LeaveOptimizations(ctx context.Context, cluster uuid.UUID, message string) ([]uuid.UUID, error) {
	ids, err := s.q.OptimizationsLeave(ctx, s.db, centraldb.OptimizationsLeaveParams{Message: message, ClusterID: cluster})
	return ids, wrap("ending optimizations of cluster", cluster.String(), err)
}

// Leftovers is what an optimization left behind in a cluster that was disconnected.
type Leftovers struct {
	DisconnectedAt time.Time
	// StateAge is how old the last word of the agent was then.
	StateAge time.Duration
	// Cordoned nodes that it was to take away.
	Cordoned []string
}

// Leftovers of an optimization; nil: its cluster is connected.
func (s *Store) Leftovers(ctx context.Context, id uuid.UUID) (*Leftovers, error) {
	row, err := s.q.OptimizationLeftovers(ctx, s.db, id)
	if err != nil || row.DisconnectedAt == nil {
		return nil, wrap("optimization", id.String(), err)
	}
	left := &Leftovers{DisconnectedAt: *row.DisconnectedAt, StateAge: time.Duration(1<<63 - 1), Cordoned: row.Cordoned}
	if row.LastSeenAt != nil {
		left.StateAge = row.DisconnectedAt.Sub(*row.LastSeenAt)
	}
	return left, nil
}

// RemarkOptimization says of a cancelled one what became of it.
func (s *Store) RemarkOptimization(ctx context.Context, id uuid.UUID, message string) error {
	return wrap("writing optimization", id.String(), s.q.OptimizationRemark(ctx, s.db,
		centraldb.OptimizationRemarkParams{Message: message, OptimizationID: id}))
}
