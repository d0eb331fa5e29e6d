-- name: GapClusters :many
SELECT cluster_id, region, created_at FROM clusters
WHERE sqlc.narg(cluster_id)::uuid IS NULL OR cluster_id = sqlc.narg(cluster_id)
ORDER BY cluster_id;

-- name: GapTimes :one
-- When a cluster was reported, and when its made-up rows are: two arrays, which are read several
-- times as fast as so many rows.
SELECT coalesce(array_agg(at ORDER BY at) FILTER (WHERE NOT imputed), '{}')::timestamptz[] AS observed,
    coalesce(array_agg(at ORDER BY at) FILTER (WHERE imputed), '{}')::timestamptz[] AS imputed
FROM cluster_metrics
WHERE cluster_id = @cluster_id AND at >= @since::timestamptz AND at < @until::timestamptz;

-- name: GapFirstReport :one
-- The oldest row of any cluster: nothing before it was kept. By the index, cluster by cluster.
SELECT f.at FROM clusters c
CROSS JOIN LATERAL (SELECT m.at FROM cluster_metrics m WHERE m.cluster_id = c.cluster_id ORDER BY m.at LIMIT 1) f
ORDER BY f.at LIMIT 1;

-- name: GapHours :many
-- Each hour's mean of what was observed.
SELECT date_trunc('hour', at, 'UTC')::timestamptz AS at, avg(total_nodes)::float8 AS total_nodes, avg(spot_nodes)::float8 AS spot_nodes,
    avg(on_demand_nodes)::float8 AS on_demand_nodes, avg(total_cpu)::float8 AS total_cpu, avg(total_memory_gb)::float8 AS total_memory_gb,
    avg(allocated_cpu)::float8 AS allocated_cpu, avg(allocated_memory_gb)::float8 AS allocated_memory_gb,
    avg(total_pods)::float8 AS total_pods, avg(running_pods)::float8 AS running_pods, avg(pending_pods)::float8 AS pending_pods,
    avg(cost_per_hour)::float8 AS cost_per_hour
FROM cluster_metrics
WHERE cluster_id = @cluster_id AND at >= @since::timestamptz AND at < @until::timestamptz AND NOT imputed
GROUP BY 1 ORDER BY 1;

-- name: GapReports :many
-- The reports at the edges of gaps.
SELECT at, total_nodes::float8 AS total_nodes, spot_nodes::float8 AS spot_nodes, on_demand_nodes::float8 AS on_demand_nodes,
    total_cpu, total_memory_gb, allocated_cpu, allocated_memory_gb, total_pods::float8 AS total_pods,
    running_pods::float8 AS running_pods, pending_pods::float8 AS pending_pods, cost_per_hour
FROM cluster_metrics
WHERE cluster_id = @cluster_id AND at >= @since::timestamptz AND at <= @until::timestamptz
    AND date_trunc('milliseconds', at) = ANY (@ats::timestamptz[])
ORDER BY at;

-- name: GapSilences :many
-- Who was silent between two moments; cut to them, for -infinity is no time that can be read.
SELECT kind, cluster_id, greatest(since, @since::timestamptz)::timestamptz AS since,
    least(coalesce(until, @until::timestamptz), @until::timestamptz)::timestamptz AS until
FROM silences
WHERE since < @until::timestamptz AND coalesce(until, @until::timestamptz) > @since::timestamptz
ORDER BY 3, 4;

-- name: GapPools :many
-- Pools that clusters used between two moments.
SELECT DISTINCT c.region::text AS region, n.availability_zone::text AS availability_zone, n.instance_type::text AS instance_type
FROM nodes n JOIN clusters c USING (cluster_id)
WHERE n.instance_type IS NOT NULL AND n.availability_zone IS NOT NULL
    AND n.created_at < @until::timestamptz AND coalesce(n.terminated_at, @until::timestamptz) >= @since::timestamptz
    AND (sqlc.narg(cluster_id)::uuid IS NULL OR n.cluster_id = sqlc.narg(cluster_id))
ORDER BY 1, 3, 2
LIMIT @max_rows;

-- name: GapPriceTimes :many
-- When a pool's price is known.
SELECT at FROM spot_prices
WHERE region = @region AND availability_zone = @availability_zone AND instance_type = @instance_type
    AND at >= @since::timestamptz AND at < @until::timestamptz
ORDER BY at;
