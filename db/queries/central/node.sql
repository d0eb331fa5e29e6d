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
    interruption_risk = CASE WHEN nodes.instance_id IS NOT DISTINCT FROM EXCLUDED.instance_id AND nodes.node_type = EXCLUDED.node_type
        THEN nodes.interruption_risk END,
    risk_at = CASE WHEN nodes.instance_id IS NOT DISTINCT FROM EXCLUDED.instance_id AND nodes.node_type = EXCLUDED.node_type
        THEN nodes.risk_at END,
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

-- name: NodePage :many
-- One query for all orders: a cluster's nodes are some ten thousand at most, and sorting them is cheap next
-- to an index for each order, which every report would have to keep. What is not sorted by is NULL in the keys.
WITH requested AS MATERIALIZED (
    SELECT p.node_name, sum(p.cpu_millicores) AS cpu, sum(p.memory_bytes) AS memory
    FROM pods p WHERE p.cluster_id = @cluster_id AND p.node_name <> '' AND @order_by::text = 'requested'
    GROUP BY p.node_name),
keyed AS (
    SELECT n.node_id, n.node_name,
        CASE WHEN @order_by = 'instance_type' THEN coalesce(n.instance_type, '') ELSE '' END AS text_key,
        CASE @order_by
            WHEN 'hourly_price' THEN coalesce(n.hourly_price, 0)::float8
            WHEN 'requested' THEN greatest(coalesce(r.cpu / nullif(n.cpu_allocatable * 1000, 0), 0),
                coalesce(r.memory / nullif(n.memory_allocatable_gb * 1073741824, 0), 0))::float8
            -- Not known comes before the least that is known.
            WHEN 'risk' THEN CASE WHEN n.node_type = 'spot' AND n.risk_at > now() - make_interval(secs => @risk_seconds::float8)
                THEN coalesce(n.interruption_risk, -1) ELSE -1 END
            WHEN 'created_at' THEN extract(epoch FROM coalesce((n.detail ->> 'created_at')::timestamptz, n.created_at))::float8
            ELSE 0 END AS number_key
    FROM nodes n LEFT JOIN requested r ON r.node_name = n.node_name
    WHERE n.cluster_id = @cluster_id AND n.terminated_at IS NULL
        AND (@node_type::text = '' OR n.node_type = @node_type)
        AND (@availability_zone::text = '' OR n.availability_zone = @availability_zone)
        AND (@instance_type::text = '' OR n.instance_type = @instance_type)
        AND (@search::text = '' OR strpos(lower(n.node_name), lower(@search)) > 0
            OR strpos(lower(n.instance_type), lower(@search)) > 0 OR strpos(lower(n.instance_id), lower(@search)) > 0)),
page AS (
    SELECT k.node_id, k.text_key, k.number_key FROM keyed k
    WHERE NOT @after::bool
        OR (NOT @descending::bool AND (k.text_key, k.number_key, k.node_name) > (@after_text::text, @after_number::float8, @after_name::text))
        OR (@descending::bool AND (k.text_key, k.number_key, k.node_name) < (@after_text::text, @after_number::float8, @after_name::text))
    ORDER BY CASE WHEN NOT @descending::bool THEN k.text_key END, CASE WHEN NOT @descending::bool THEN k.number_key END,
        CASE WHEN NOT @descending::bool THEN k.node_name END,
        k.text_key DESC, k.number_key DESC, k.node_name DESC
    LIMIT @max_rows)
SELECT n.node_name, n.detail, coalesce(n.hourly_price, 0)::float8 AS hourly_price,
    coalesce(n.on_demand_hourly_price, 0)::float8 AS on_demand_hourly_price,
    (n.node_type = 'spot' AND n.interruption_risk IS NOT NULL AND n.risk_at > now() - make_interval(secs => @risk_seconds::float8))::bool AS risk_known,
    coalesce(n.interruption_risk, 0)::float8 AS interruption_risk,
    coalesce(s.pods, 0)::int AS pods, coalesce(s.cpu, 0)::float8 AS cpu_millicores, coalesce(s.memory, 0)::float8 AS memory_bytes,
    (u.node_name IS NOT NULL)::bool AS usage_known, coalesce(u.cpu_millicores, 0)::float8 AS used_millicores,
    coalesce(u.memory_bytes, 0)::float8 AS used_bytes,
    page.text_key::text AS text_key, page.number_key::float8 AS number_key
FROM page JOIN nodes n USING (node_id)
LEFT JOIN node_usage u ON u.cluster_id = n.cluster_id AND u.node_name = n.node_name
    -- Not what another node of this name used.
    AND u.heard_at > greatest(n.created_at, now() - make_interval(secs => @usage_seconds::float8))
LEFT JOIN LATERAL (
    SELECT count(*) AS pods, sum(p.cpu_millicores) AS cpu, sum(p.memory_bytes) AS memory
    FROM pods p WHERE p.cluster_id = @cluster_id AND p.node_name = n.node_name) s ON true
ORDER BY CASE WHEN NOT @descending::bool THEN page.text_key END, CASE WHEN NOT @descending::bool THEN page.number_key END,
    CASE WHEN NOT @descending::bool THEN n.node_name END,
    page.text_key DESC, page.number_key DESC, n.node_name DESC;

-- name: NodeActs :many
-- What is being done to nodes, by their names and instances: the story that does it, the worst first.
SELECT i.node_name::text AS node_name, i.instance_id::text AS instance_id, 'interrupted'::text AS state, i.interruption_id::text AS acted_on_by
FROM interruptions i
WHERE i.cluster_id = @cluster_id AND i.closed_at IS NULL AND i.state IN ('draining', 'drained', 'gone')
    AND i.instance_id = ANY (@instance_ids::text[])
UNION ALL
SELECT r.node_name, r.instance_id, 'draining', o.optimization_id::text
FROM optimization_history o JOIN optimization_nodes r USING (optimization_id)
WHERE o.cluster_id = @cluster_id AND o.completed_at IS NULL AND r.status IN ('draining', 'drained', 'terminated')
    AND r.node_name = ANY (@node_names::text[])
UNION ALL
SELECT (t.parameters ->> 'node_name')::text, ''::text, 'draining', ''::text
FROM tasks t
WHERE t.cluster_id = @cluster_id AND t.finished_at IS NULL AND t.task_type = 'drain_node' AND t.status IN ('leased', 'running')
    AND t.parameters ->> 'node_name' = ANY (@node_names::text[])
UNION ALL
SELECT ''::text, l.instance_id::text, 'launched', l.story::text
FROM (SELECT unnest(ol.instance_ids) AS instance_id, o.optimization_id AS story
      FROM optimization_history o JOIN optimization_launches ol USING (optimization_id)
      WHERE o.cluster_id = @cluster_id AND o.completed_at IS NULL
      UNION ALL
      SELECT i.replacement_instance_id, i.interruption_id FROM interruptions i
      WHERE i.cluster_id = @cluster_id AND i.closed_at IS NULL AND i.replacement_instance_id <> '') l
WHERE l.instance_id = ANY (@instance_ids::text[])
UNION ALL
SELECT r.node_name, r.instance_id, 'planned', o.optimization_id::text
FROM optimization_history o JOIN optimization_nodes r USING (optimization_id)
WHERE o.cluster_id = @cluster_id AND o.status = 'executing' AND r.status = 'pending' AND r.node_name = ANY (@node_names::text[]);

-- name: NodeUnjudged :many
-- Spot nodes whose risk was not asked for within the hour, those never asked for first. Not those that AWS has
-- warned: there is nothing to foretell.
SELECT n.cluster_id, c.region, n.node_name, n.instance_id::text AS instance_id, n.instance_type::text AS instance_type,
    coalesce(n.availability_zone, '')::text AS availability_zone,
    coalesce(n.hourly_price, 0)::float8 AS hourly_price,
    greatest(extract(epoch FROM now() - coalesce((n.detail ->> 'created_at')::timestamptz, n.created_at)) / 60, 0)::float8 AS uptime_minutes
FROM nodes n JOIN clusters c USING (cluster_id)
WHERE n.terminated_at IS NULL AND n.node_type = 'spot' AND n.instance_id <> '' AND n.instance_type <> ''
    AND (n.risk_at IS NULL OR n.risk_at < now() - interval '1 hour')
    AND NOT EXISTS (SELECT 1 FROM interruptions i WHERE i.cluster_id = n.cluster_id AND i.instance_id = n.instance_id
        AND i.closed_at IS NULL AND i.urgency >= 3)
ORDER BY n.risk_at NULLS FIRST, n.node_id
LIMIT @max_rows;
