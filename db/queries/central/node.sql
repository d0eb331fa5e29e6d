-- name: NodeUpsertMany :exec
INSERT INTO nodes (cluster_id, node_name, instance_id, instance_type, availability_zone, node_type,
    cpu_allocatable, memory_allocatable_gb, status, detail)
SELECT @cluster_id, v.node_name, nullif(v.instance_id, ''), nullif(v.instance_type, ''), nullif(v.availability_zone, ''),
    v.node_type, v.cpu, v.memory, CASE WHEN v.ready THEN 'Ready' ELSE 'NotReady' END, v.detail::jsonb
FROM (SELECT unnest(@node_names::text[]) AS node_name, unnest(@instance_ids::text[]) AS instance_id,
    unnest(@instance_types::text[]) AS instance_type, unnest(@zones::text[]) AS availability_zone,
    unnest(@node_types::text[]) AS node_type, unnest(@cpus::float8[]) AS cpu, unnest(@memories::float8[]) AS memory,
    unnest(@readies::bool[]) AS ready, unnest(@details::text[]) AS detail) v
ON CONFLICT (cluster_id, node_name) DO UPDATE SET
    -- A name that is used again by another instance is another node: its price is not known yet.
    hourly_price = CASE WHEN nodes.instance_id IS NOT DISTINCT FROM EXCLUDED.instance_id AND nodes.node_type = EXCLUDED.node_type
        THEN nodes.hourly_price END,
    on_demand_hourly_price = CASE WHEN nodes.instance_type IS NOT DISTINCT FROM EXCLUDED.instance_type THEN nodes.on_demand_hourly_price END,
    created_at = CASE WHEN nodes.instance_id IS NOT DISTINCT FROM EXCLUDED.instance_id THEN nodes.created_at ELSE now() END,
    instance_id = EXCLUDED.instance_id, instance_type = EXCLUDED.instance_type,
    availability_zone = EXCLUDED.availability_zone, node_type = EXCLUDED.node_type,
    cpu_allocatable = EXCLUDED.cpu_allocatable, memory_allocatable_gb = EXCLUDED.memory_allocatable_gb,
    status = EXCLUDED.status, detail = EXCLUDED.detail, updated_at = now(), terminated_at = NULL;

-- name: NodeTerminateMany :exec
UPDATE nodes SET status = 'Terminated', terminated_at = now(), updated_at = now()
WHERE cluster_id = @cluster_id AND terminated_at IS NULL AND node_name = ANY (@node_names::text[]);

-- name: NodeTerminateAbsent :exec
UPDATE nodes SET status = 'Terminated', terminated_at = now(), updated_at = now()
WHERE cluster_id = @cluster_id AND terminated_at IS NULL AND NOT node_name = ANY (@node_names::text[]);

-- name: NodeLive :many
SELECT * FROM nodes WHERE cluster_id = @cluster_id AND terminated_at IS NULL ORDER BY node_name;

-- name: NodeUnpriced :many
SELECT c.cluster_id, c.region, n.node_name, n.node_type, n.availability_zone::text AS availability_zone, n.instance_type::text AS instance_type
FROM nodes n JOIN clusters c USING (cluster_id)
WHERE n.instance_type IS NOT NULL
  AND (n.terminated_at IS NULL AND (n.hourly_price IS NULL OR n.on_demand_hourly_price IS NULL OR sqlc.arg(every)::bool)
    -- What would be paid today for nodes that CloudOptim replaced: savings are counted by it.
    OR n.terminated_at IS NOT NULL AND sqlc.arg(every)::bool AND n.instance_id IN (
        SELECT r.instance_id FROM savings_swaps s JOIN optimization_nodes r ON r.optimization_id = s.swap_id WHERE s.idle_since IS NULL
        UNION ALL SELECT unnest(l.instance_ids) FROM savings_swaps s JOIN optimization_launches l ON l.optimization_id = s.swap_id WHERE s.idle_since IS NULL
        UNION ALL SELECT unnest(ARRAY[i.instance_id, i.replacement_instance_id]) FROM savings_swaps s
            JOIN interruptions i ON i.interruption_id = s.swap_id WHERE s.idle_since IS NULL))
ORDER BY c.region, n.instance_type
LIMIT 20000;

-- name: NodePriceMany :exec
UPDATE nodes n SET hourly_price = v.hourly, on_demand_hourly_price = v.on_demand
FROM (SELECT unnest(@cluster_ids::uuid[]) AS cluster_id, unnest(@node_names::text[]) AS node_name,
    unnest(@hourlies::float8[]) AS hourly, unnest(@on_demands::float8[]) AS on_demand) v
WHERE n.cluster_id = v.cluster_id AND n.node_name = v.node_name;

-- name: NodeCosts :many
-- What each cluster pays now and would pay on demand, and what it has.
SELECT c.cluster_id, c.cluster_name,
    coalesce(sum(n.hourly_price), 0)::float8 AS current_cost,
    coalesce(sum(n.on_demand_hourly_price), 0)::float8 AS on_demand_cost
FROM clusters c LEFT JOIN nodes n ON n.cluster_id = c.cluster_id AND n.terminated_at IS NULL
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR c.cluster_id = sqlc.narg(cluster_id))
GROUP BY c.cluster_id, c.cluster_name
ORDER BY c.cluster_name, c.cluster_id;
