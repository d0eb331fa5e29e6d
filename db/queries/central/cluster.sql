-- name: ClusterCreate :one
INSERT INTO clusters (customer_id, cluster_name, region, launch_template_id, subnet_ids)
VALUES (@customer_id, @cluster_name, @region, @launch_template_id, @subnet_ids)
RETURNING *;

-- name: ClusterList :many
SELECT * FROM clusters
WHERE sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id)
ORDER BY cluster_name, cluster_id;

-- name: ClusterPage :many
-- A list in one of four orders. Each is compared as text: numbers and times have a fixed width.
SELECT sqlc.embed(c), listed.key::text AS key
FROM clusters c JOIN (
    SELECT cl.cluster_id, CASE @order_by::text
        WHEN 'current_cost_per_hour' THEN to_char(coalesce((SELECT sum(n.hourly_price) FROM nodes n
            WHERE n.cluster_id = cl.cluster_id AND n.terminated_at IS NULL), 0), 'FM000000000000.000000')
        WHEN 'node_count' THEN to_char(cl.node_count, 'FM000000000000')
        WHEN 'last_seen_at' THEN coalesce(to_char(cl.last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '')
        ELSE lower(cl.cluster_name) END COLLATE "C" AS key
    FROM clusters cl) listed USING (cluster_id)
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (@search::text = '' OR strpos(lower(c.cluster_name), lower(@search::text)) > 0)
  AND CASE WHEN @status::text = '' THEN c.status <> 'disconnected' ELSE c.status = @status::text END
  AND (sqlc.narg(after_id)::uuid IS NULL
    OR CASE WHEN @descending::bool THEN listed.key < @after_key::text ELSE listed.key > @after_key::text END
    OR listed.key = @after_key::text AND c.cluster_id > sqlc.narg(after_id))
ORDER BY CASE WHEN NOT @descending::bool THEN listed.key END, CASE WHEN @descending::bool THEN listed.key END DESC, c.cluster_id
LIMIT @max_rows;

-- name: ClusterByID :one
SELECT * FROM clusters
WHERE cluster_id = @cluster_id AND (sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id));

-- name: ClusterSeen :exec
UPDATE clusters SET last_seen_at = now(), status = 'active' WHERE cluster_id = @cluster_id;

-- name: ClusterCounts :exec
UPDATE clusters c SET
    node_count = (SELECT count(*) FROM nodes n WHERE n.cluster_id = c.cluster_id AND n.terminated_at IS NULL),
    pod_count = (SELECT count(*) FROM pods p WHERE p.cluster_id = c.cluster_id),
    updated_at = now()
WHERE c.cluster_id = @cluster_id;

-- name: ClusterSessionOpen :one
-- The newest session wins; it alone is heard from now on. No row: a leader with a
-- newer lease is there. One that was silent for a minute does not count: a lease
-- that was deleted begins again at one.
WITH before AS MATERIALIZED (
    SELECT c.session_agent_id, c.leader_epoch,
        c.session_id IS NOT NULL AND c.session_seen_at > now() - interval '30 seconds' AS open
    FROM clusters c WHERE c.cluster_id = @cluster_id FOR NO KEY UPDATE)
UPDATE clusters SET session_epoch = session_epoch + 1, session_id = @session_id, session_replica = @session_replica,
    session_seen_at = now(), last_seen_at = now(), status = 'active', k8s_version = coalesce(nullif(@k8s_version::text, ''), k8s_version),
    session_agent_id = @session_agent_id, leader_epoch = @leader_epoch
FROM before
WHERE clusters.cluster_id = @cluster_id
    AND (before.leader_epoch <= @leader_epoch OR session_seen_at IS NULL OR session_seen_at < now() - interval '1 minute')
RETURNING session_epoch, inventory_sequence, before.session_agent_id AS agent_before, before.leader_epoch AS leader_before,
    coalesce(before.open, false)::bool AS open_before,
    EXISTS (SELECT 1 FROM tasks t WHERE t.cluster_id = clusters.cluster_id AND t.finished_at IS NULL) AS work;

-- name: ClusterSessionTouch :many
-- Sessions that are not returned were superseded. Nobody waits for the disk: it is
-- said again in some seconds.
UPDATE clusters SET session_seen_at = now(), last_seen_at = now(), status = 'active'
FROM (SELECT unnest(@cluster_ids::uuid[]) AS id, unnest(@session_epochs::bigint[]) AS epoch) AS live
WHERE clusters.cluster_id = live.id AND clusters.session_epoch = live.epoch
    AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
RETURNING clusters.cluster_id;

-- name: ClusterSessionClose :exec
UPDATE clusters SET session_id = NULL, session_replica = NULL
WHERE cluster_id = @cluster_id AND session_epoch = @session_epoch;

-- name: ClusterOffline :many
-- The silence is noted with it: gaps in the reports are explained by it later.
WITH gone AS (
    UPDATE clusters SET status = 'offline', updated_at = now()
    WHERE status = 'active' AND last_seen_at < now() - interval '3 minutes'
    RETURNING cluster_id, customer_id, last_seen_at),
noted AS (
    INSERT INTO silences (kind, cluster_id, since) SELECT 'agent', cluster_id, last_seen_at FROM gone
    ON CONFLICT (kind, cluster_id, since) DO NOTHING)
SELECT cluster_id, customer_id FROM gone;

-- name: ClusterInventory :one
-- Locks the row: inventories of one cluster are put in force one at a time. NO KEY:
-- rows that refer to the cluster, such as tasks, are written meanwhile.
SELECT session_epoch, inventory_sequence FROM clusters WHERE cluster_id = @cluster_id FOR NO KEY UPDATE;

-- name: ClusterInventorySet :exec
UPDATE clusters SET inventory_sequence = @inventory_sequence, inventory_at = now(), last_seen_at = now(), status = 'active'
WHERE cluster_id = @cluster_id;
