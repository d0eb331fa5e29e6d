package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// AddMetrics keeps one report with the cost central counts for it.
func (s *Store) AddMetrics(ctx context.Context, cluster uuid.UUID, m *fleetv1.ClusterMetrics, costPerHour float64) error {
	err := s.q.MetricsInsert(ctx, s.db, centraldb.MetricsInsertParams{
		ClusterID: cluster, At: m.GetTimestamp().AsTime(), TotalNodes: m.TotalNodes, SpotNodes: m.SpotNodes,
		OnDemandNodes: m.OnDemandNodes, TotalCpu: m.TotalCpu, TotalMemoryGb: m.TotalMemoryGb, AllocatedCpu: m.AllocatedCpu,
		AllocatedMemoryGb: m.AllocatedMemoryGb, TotalPods: m.TotalPods, RunningPods: m.RunningPods, PendingPods: m.PendingPods,
		CostPerHour: costPerHour,
	})
	return wrap("writing metrics of cluster", cluster.String(), err)
}

// AddEvents keeps events; a repeat replaces. It returns how many were new or newer.
func (s *Store) AddEvents(ctx context.Context, cluster uuid.UUID, events []*fleetv1.Event) (int, error) {
	rows := centraldb.EventUpsertManyParams{ClusterID: cluster}
	for _, event := range lastOf(events, (*fleetv1.Event).GetEventId) {
		detail, err := toJSON.Marshal(event)
		if err != nil {
			return 0, wrap("encoding event", event.EventId, err)
		}
		rows.EventIds = append(rows.EventIds, event.EventId)
		rows.LastSeens = append(rows.LastSeens, event.GetLastSeen().AsTime())
		rows.Details = append(rows.Details, string(detail))
	}
	if len(rows.EventIds) == 0 {
		return 0, nil
	}
	n, err := s.q.EventUpsertMany(ctx, s.db, rows)
	return int(n), wrap("writing events of cluster", cluster.String(), err)
}

// PruneEvents drops events that are a week old.
func (s *Store) PruneEvents(ctx context.Context) error {
	_, err := s.q.EventPrune(ctx, s.db)
	return wrap("pruning", "events", err)
}
