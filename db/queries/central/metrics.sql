-- name: MetricsInsert :exec
-- What was observed replaces what was imputed for that time. 300 seconds is half the longest step.
WITH void AS (
    DELETE FROM cluster_metrics m
    WHERE m.imputed AND m.cluster_id = sqlc.arg(cluster_id) AND m.at <> sqlc.arg(at)::timestamptz
        AND m.at BETWEEN sqlc.arg(at)::timestamptz - interval '300 seconds' AND sqlc.arg(at)::timestamptz + interval '300 seconds'
        AND m.at BETWEEN sqlc.arg(at)::timestamptz - make_interval(secs => m.step_seconds / 2)
            AND sqlc.arg(at)::timestamptz + make_interval(secs => m.step_seconds / 2))
INSERT INTO cluster_metrics (cluster_id, at, total_nodes, spot_nodes, on_demand_nodes, total_cpu, total_memory_gb,
    allocated_cpu, allocated_memory_gb, total_pods, running_pods, pending_pods, cost_per_hour)
VALUES (@cluster_id, @at, @total_nodes, @spot_nodes, @on_demand_nodes, @total_cpu, @total_memory_gb,
    @allocated_cpu, @allocated_memory_gb, @total_pods, @running_pods, @pending_pods, @cost_per_hour)
ON CONFLICT (cluster_id, at) DO UPDATE SET total_nodes = EXCLUDED.total_nodes, spot_nodes = EXCLUDED.spot_nodes,
    on_demand_nodes = EXCLUDED.on_demand_nodes, total_cpu = EXCLUDED.total_cpu, total_memory_gb = EXCLUDED.total_memory_gb,
    allocated_cpu = EXCLUDED.allocated_cpu, allocated_memory_gb = EXCLUDED.allocated_memory_gb, total_pods = EXCLUDED.total_pods,
    running_pods = EXCLUDED.running_pods, pending_pods = EXCLUDED.pending_pods, cost_per_hour = EXCLUDED.cost_per_hour,
    imputed = false, method = '', run_id = NULL, step_seconds = 0
WHERE cluster_metrics.imputed;

-- name: MetricsImpute :many
-- Never beside a row, observed or imputed, that stands for the same time. Returns what was new.
INSERT INTO cluster_metrics (cluster_id, at, total_nodes, spot_nodes, on_demand_nodes, total_cpu, total_memory_gb,
    allocated_cpu, allocated_memory_gb, total_pods, running_pods, pending_pods, cost_per_hour, imputed, method, run_id, step_seconds)
SELECT @cluster_id, v.at, v.total_nodes, v.spot_nodes, v.on_demand_nodes, v.total_cpu, v.total_memory_gb,
    v.allocated_cpu, v.allocated_memory_gb, v.total_pods, v.running_pods, v.pending_pods, v.cost_per_hour,
    true, @method, @run_id::uuid, sqlc.arg(step_seconds)::real
FROM (SELECT unnest(@ats::timestamptz[]) AS at, unnest(@total_nodes::int[]) AS total_nodes, unnest(@spot_nodes::int[]) AS spot_nodes,
    unnest(@on_demand_nodes::int[]) AS on_demand_nodes, unnest(@total_cpus::float8[]) AS total_cpu,
    unnest(@total_memories::float8[]) AS total_memory_gb, unnest(@allocated_cpus::float8[]) AS allocated_cpu,
    unnest(@allocated_memories::float8[]) AS allocated_memory_gb, unnest(@total_pods::int[]) AS total_pods,
    unnest(@running_pods::int[]) AS running_pods, unnest(@pending_pods::int[]) AS pending_pods,
    unnest(@costs::float8[]) AS cost_per_hour) v
WHERE EXISTS (SELECT 1 FROM clusters c WHERE c.cluster_id = @cluster_id AND c.created_at <= v.at)
    AND NOT EXISTS (SELECT 1 FROM cluster_metrics m WHERE m.cluster_id = @cluster_id
        AND m.at > v.at - make_interval(secs => sqlc.arg(step_seconds)::real / 2)
        AND m.at < v.at + make_interval(secs => sqlc.arg(step_seconds)::real / 2))
ON CONFLICT (cluster_id, at) DO NOTHING
RETURNING at;

-- name: EventUpsertMany :execrows
INSERT INTO cluster_events (cluster_id, event_id, last_seen, detail)
SELECT @cluster_id, v.event_id, v.last_seen, v.detail::jsonb
FROM (SELECT unnest(@event_ids::text[]) AS event_id, unnest(@last_seens::timestamptz[]) AS last_seen,
    unnest(@details::text[]) AS detail) v
ON CONFLICT (cluster_id, event_id) DO UPDATE SET last_seen = EXCLUDED.last_seen, detail = EXCLUDED.detail
WHERE cluster_events.last_seen <= EXCLUDED.last_seen;

-- name: EventPrune :execrows
DELETE FROM cluster_events WHERE last_seen < now() - interval '7 days';

-- name: EventPage :many
SELECT event_id, last_seen, detail FROM cluster_events
WHERE cluster_id = @cluster_id
    AND (@type::text = '' OR detail ->> 'type' = @type)
    AND (@object_name::text = '' OR detail ->> 'object_name' = @object_name)
    AND (sqlc.narg(before)::timestamptz IS NULL OR (last_seen, event_id) < (sqlc.narg(before), @before_id::text))
ORDER BY last_seen DESC, event_id DESC
LIMIT @max_rows;
