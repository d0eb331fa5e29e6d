-- name: SwapFromOptimization :exec
-- Written with the nodes that it will take away; decided anew, it is compared with the cluster as it is then.
INSERT INTO savings_swaps (swap_id, cluster_id, mechanism, cpu_before)
SELECT o.optimization_id, o.cluster_id, o.optimization_type,
    coalesce((SELECT sum(n.cpu_allocatable) FROM nodes n WHERE n.cluster_id = o.cluster_id AND n.terminated_at IS NULL), 0)
FROM optimization_history o WHERE o.optimization_id = @optimization_id AND NOT o.dry_run
ON CONFLICT (swap_id) DO UPDATE SET cpu_before = EXCLUDED.cpu_before WHERE NOT savings_swaps.changed;

-- name: SwapForget :exec
-- Nobody has let the plan run: it saves nothing, and promises nothing.
DELETE FROM savings_swaps WHERE swap_id = @swap_id AND NOT changed;

-- name: SwapFromInterruption :exec
INSERT INTO savings_swaps (swap_id, cluster_id, mechanism)
SELECT i.interruption_id, i.cluster_id, 'interruption' FROM interruptions i
WHERE i.interruption_id = @interruption_id AND i.replacement = 'launched'
ON CONFLICT (swap_id) DO NOTHING;

-- name: MeterNow :one
-- The database's clock, as all replicas share it; some seconds ago, so that what was happening
-- then is committed by now.
SELECT date_trunc('milliseconds', coalesce(sqlc.narg(at)::timestamptz, now() - interval '5 seconds'))::timestamptz AS at;

-- name: MeterBegin :exec
-- Clusters are metered from when they are first heard.
INSERT INTO savings_meters (cluster_id, metered_from, metered_until)
SELECT c.cluster_id, sqlc.arg(at)::timestamptz, @at FROM clusters c
WHERE c.last_seen_at IS NOT NULL AND NOT EXISTS (SELECT FROM savings_meters m WHERE m.cluster_id = c.cluster_id)
ON CONFLICT (cluster_id) DO NOTHING;

-- name: MeterDue :many
-- Takes clusters that are heard and were not metered for a minute. Another replica has others.
SELECT m.cluster_id, m.metered_until, m.returned_at
FROM savings_meters m JOIN clusters c USING (cluster_id)
WHERE m.metered_until <= sqlc.arg(at)::timestamptz - interval '55 seconds' AND c.last_seen_at > sqlc.arg(at)::timestamptz - interval '2 minutes'
  AND (m.returned_at IS NULL OR m.returned_at <= sqlc.arg(at)::timestamptz - interval '50 seconds')
ORDER BY m.metered_until
LIMIT @max_rows
FOR UPDATE OF m SKIP LOCKED;

-- name: MeterReturned :exec
UPDATE savings_meters SET returned_at = sqlc.arg(at)::timestamptz WHERE cluster_id = ANY (@cluster_ids::uuid[]);

-- name: MeterAdvance :exec
UPDATE savings_meters SET metered_until = sqlc.arg(at)::timestamptz, returned_at = NULL
WHERE cluster_id = ANY (@cluster_ids::uuid[]) AND metered_until < sqlc.arg(at)::timestamptz;

-- name: MeterSwaps :many
SELECT s.swap_id, s.cluster_id, s.mechanism, (s.cpu_before * 1000)::bigint AS cpu_before, s.changed, s.idle_since,
    (s.mechanism = 'interruption' OR o.completed_at IS NOT NULL)::bool AS over, o.completed_at
FROM savings_swaps s LEFT JOIN optimization_history o ON o.optimization_id = s.swap_id
WHERE s.cluster_id = ANY (@cluster_ids::uuid[]) AND (s.idle_since IS NULL OR s.idle_since > sqlc.arg(at)::timestamptz - interval '1 day')
ORDER BY s.created_at, s.swap_id;

-- name: MeterSwapNodes :many
-- What these swaps launched, and what they took away with its price then.
SELECT l.optimization_id AS swap_id, unnest(l.instance_ids)::text AS instance_id, true AS launched, 0::bigint AS price
FROM optimization_launches l WHERE l.optimization_id = ANY (@swap_ids::uuid[])
UNION ALL
SELECT n.optimization_id, n.instance_id, false, (n.hourly_price * 1000000)::bigint
FROM optimization_nodes n WHERE n.optimization_id = ANY (@swap_ids::uuid[]) AND n.status = 'terminated'
UNION ALL
SELECT i.interruption_id, i.replacement_instance_id, true, 0
FROM interruptions i WHERE i.interruption_id = ANY (@swap_ids::uuid[]) AND i.replacement = 'launched'
UNION ALL
SELECT i.interruption_id, i.instance_id, false, 0
FROM interruptions i WHERE i.interruption_id = ANY (@swap_ids::uuid[])
ORDER BY swap_id, launched, instance_id;

-- name: MeterNodes :many
-- Nodes that run, that ran since, and those that swaps are about.
SELECT n.cluster_id, coalesce(n.instance_id, '')::text AS instance_id, n.node_type, n.created_at, n.terminated_at,
    coalesce(n.hourly_price * 1000000, 0)::bigint AS price, (n.cpu_allocatable * 1000)::bigint AS cpu
FROM nodes n WHERE n.node_id IN (
    SELECT live.node_id FROM nodes live WHERE live.cluster_id = ANY (@cluster_ids::uuid[]) AND live.terminated_at IS NULL
    UNION
    SELECT ended.node_id FROM nodes ended
    JOIN (SELECT unnest(@cluster_ids::uuid[]) AS cluster_id, unnest(@untils::timestamptz[]) AS until) m
        ON m.cluster_id = ended.cluster_id AND ended.terminated_at > m.until
    UNION
    SELECT named.node_id FROM nodes named
    WHERE named.cluster_id = ANY (@cluster_ids::uuid[]) AND named.instance_id = ANY (@instance_ids::text[]))
ORDER BY n.cluster_id, n.created_at, n.node_id;

-- name: MeterAdd :exec
INSERT INTO savings_hours AS h (cluster_id, hour, actual, saved_spot_optimize, saved_bin_pack, saved_rightsize, saved_schedule,
    saved_interruption, spot_ms, on_demand_ms, unpriced_ms, metered_ms)
SELECT unnest(@cluster_ids::uuid[]), unnest(@hours::timestamptz[]), unnest(@actuals::bigint[]), unnest(@spot_optimizes::bigint[]),
    unnest(@bin_packs::bigint[]), unnest(@rightsizes::bigint[]), unnest(@schedules::bigint[]), unnest(@interruptions::bigint[]),
    unnest(@spot_ms::bigint[]), unnest(@on_demand_ms::bigint[]), unnest(@unpriced_ms::bigint[]), unnest(@metered_ms::bigint[])
ON CONFLICT (cluster_id, hour) DO UPDATE SET
    actual = h.actual + EXCLUDED.actual, saved_spot_optimize = h.saved_spot_optimize + EXCLUDED.saved_spot_optimize,
    saved_bin_pack = h.saved_bin_pack + EXCLUDED.saved_bin_pack, saved_rightsize = h.saved_rightsize + EXCLUDED.saved_rightsize,
    saved_schedule = h.saved_schedule + EXCLUDED.saved_schedule, saved_interruption = h.saved_interruption + EXCLUDED.saved_interruption,
    spot_ms = h.spot_ms + EXCLUDED.spot_ms, on_demand_ms = h.on_demand_ms + EXCLUDED.on_demand_ms,
    unpriced_ms = h.unpriced_ms + EXCLUDED.unpriced_ms, metered_ms = h.metered_ms + EXCLUDED.metered_ms;

-- name: MeterRealise :exec
UPDATE savings_swaps s SET realised = s.realised + v.realised, promised_ms = s.promised_ms + v.promised_ms, changed = s.changed OR v.changed,
    idle_since = CASE WHEN v.idle THEN coalesce(s.idle_since, sqlc.arg(at)::timestamptz) END
FROM (SELECT unnest(@swap_ids::uuid[]) AS swap_id, unnest(@realised::bigint[]) AS realised, unnest(@promised_ms::bigint[]) AS promised_ms,
    unnest(@changed::bool[]) AS changed, unnest(@idle::bool[]) AS idle) v
WHERE s.swap_id = v.swap_id;

-- name: SavingHistory :many
-- Each hour is rounded to millionths of a USD, and everything else is a sum of those: so all sums agree.
SELECT date_trunc(@step::text, h.hour, 'UTC')::timestamptz AS start,
    sum(savings_millionths(h.actual))::bigint AS actual, sum(savings_millionths(h.saved_spot_optimize))::bigint AS spot_optimize,
    sum(savings_millionths(h.saved_bin_pack))::bigint AS bin_pack, sum(savings_millionths(h.saved_rightsize))::bigint AS rightsize,
    sum(savings_millionths(h.saved_schedule))::bigint AS schedule, sum(savings_millionths(h.saved_interruption))::bigint AS interruption,
    sum(h.spot_ms)::bigint AS spot_ms, sum(h.on_demand_ms)::bigint AS on_demand_ms, sum(h.unpriced_ms)::bigint AS unpriced_ms,
    sum(h.metered_ms)::bigint AS metered_ms
FROM savings_hours h JOIN clusters c USING (cluster_id)
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR c.cluster_id = sqlc.narg(cluster_id))
  AND h.hour >= @start AND h.hour < @before
GROUP BY 1 ORDER BY 1;

-- name: SavingClusters :many
-- The same by cluster, and since when it exists and is metered.
SELECT c.cluster_id, c.cluster_name, c.created_at, m.metered_from, now()::timestamptz AS at,
    coalesce(sum(savings_millionths(h.actual)), 0)::bigint AS actual,
    coalesce(sum(savings_millionths(h.saved_spot_optimize)), 0)::bigint AS spot_optimize,
    coalesce(sum(savings_millionths(h.saved_bin_pack)), 0)::bigint AS bin_pack,
    coalesce(sum(savings_millionths(h.saved_rightsize)), 0)::bigint AS rightsize,
    coalesce(sum(savings_millionths(h.saved_schedule)), 0)::bigint AS schedule,
    coalesce(sum(savings_millionths(h.saved_interruption)), 0)::bigint AS interruption,
    coalesce(sum(h.spot_ms), 0)::bigint AS spot_ms, coalesce(sum(h.on_demand_ms), 0)::bigint AS on_demand_ms,
    coalesce(sum(h.unpriced_ms), 0)::bigint AS unpriced_ms, coalesce(sum(h.metered_ms), 0)::bigint AS metered_ms
FROM clusters c LEFT JOIN savings_meters m USING (cluster_id)
LEFT JOIN savings_hours h ON h.cluster_id = c.cluster_id AND h.hour >= @start AND h.hour < @before
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR c.cluster_id = sqlc.narg(cluster_id))
GROUP BY c.cluster_id, c.cluster_name, c.created_at, m.metered_from
ORDER BY c.cluster_name, c.cluster_id;

-- name: SavingDecisions :many
-- Optimizations that ended and have changed something, newest first.
SELECT o.optimization_id, o.cluster_id, c.cluster_name, o.optimization_type, o.completed_at::timestamptz AS completed_at,
    coalesce(o.estimated_savings, 0)::float8 AS estimated, coalesce(o.actual_savings, 0)::float8 AS actual,
    round(s.realised / 3600000.0)::bigint AS realised, s.promised_ms, (s.idle_since IS NULL)::bool AS active
FROM optimization_history o JOIN clusters c USING (cluster_id) JOIN savings_swaps s ON s.swap_id = o.optimization_id
WHERE o.completed_at IS NOT NULL AND s.changed
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR o.cluster_id = sqlc.narg(cluster_id))
  AND (sqlc.narg(after_at)::timestamptz IS NULL OR (o.completed_at, o.optimization_id) < (sqlc.narg(after_at), @after_id::uuid))
ORDER BY o.completed_at DESC, o.optimization_id DESC
LIMIT @max_rows;

-- name: SavingPrune :exec
DELETE FROM savings_hours WHERE hour < now() - interval '13 months';
