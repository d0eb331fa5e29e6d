-- name: MetricsInsert :exec
INSERT INTO cluster_metrics (cluster_id, at, total_nodes, spot_nodes, on_demand_nodes, total_cpu, total_memory_gb,
    allocated_cpu, allocated_memory_gb, total_pods, running_pods, pending_pods, cost_per_hour)
VALUES (@cluster_id, @at, @total_nodes, @spot_nodes, @on_demand_nodes, @total_cpu, @total_memory_gb,
    @allocated_cpu, @allocated_memory_gb, @total_pods, @running_pods, @pending_pods, @cost_per_hour)
ON CONFLICT (cluster_id, at) DO NOTHING;

-- name: EventUpsertMany :execrows
INSERT INTO cluster_events (cluster_id, event_id, last_seen, detail)
SELECT @cluster_id, v.event_id, v.last_seen, v.detail::jsonb
FROM (SELECT unnest(@event_ids::text[]) AS event_id, unnest(@last_seens::timestamptz[]) AS last_seen,
    unnest(@details::text[]) AS detail) v
ON CONFLICT (cluster_id, event_id) DO UPDATE SET last_seen = EXCLUDED.last_seen, detail = EXCLUDED.detail
WHERE cluster_events.last_seen <= EXCLUDED.last_seen;

-- name: EventPrune :execrows
DELETE FROM cluster_events WHERE last_seen < now() - interval '7 days';
