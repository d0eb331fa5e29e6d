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
UPDATE clusters SET last_seen_at = now(), status = 'active' WHERE cluster_id = @cluster_id AND disconnected_at IS NULL;

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
    session_agent_id = @session_agent_id, leader_epoch = @leader_epoch, agent_version = @agent_version
FROM before
WHERE clusters.cluster_id = @cluster_id AND disconnected_at IS NULL
    AND (before.leader_epoch <= @leader_epoch OR session_seen_at IS NULL OR session_seen_at < now() - interval '1 minute')
RETURNING session_epoch, inventory_sequence, before.session_agent_id AS agent_before, before.leader_epoch AS leader_before,
    coalesce(before.open, false)::bool AS open_before,
    EXISTS (SELECT 1 FROM tasks t WHERE t.cluster_id = clusters.cluster_id AND t.finished_at IS NULL) AS work;

-- name: ClusterSessionTouch :many
-- Sessions that are not returned were superseded. Nobody waits for the disk: it is
-- said again in some seconds.
UPDATE clusters SET session_seen_at = now(), last_seen_at = now(), status = 'active'
FROM (SELECT unnest(@cluster_ids::uuid[]) AS id, unnest(@session_epochs::bigint[]) AS epoch) AS live
WHERE clusters.cluster_id = live.id AND clusters.session_epoch = live.epoch AND clusters.disconnected_at IS NULL
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
SELECT session_epoch, inventory_sequence, (disconnected_at IS NOT NULL)::bool AS disconnected
FROM clusters WHERE cluster_id = @cluster_id FOR NO KEY UPDATE;

-- name: ClusterInventorySet :exec
UPDATE clusters SET inventory_sequence = @inventory_sequence, inventory_at = now(), last_seen_at = now(), status = 'active'
WHERE cluster_id = @cluster_id;

-- name: ClusterConnected :one
-- Held against a disconnection until the transaction ends.
SELECT (disconnected_at IS NULL)::bool AS connected FROM clusters WHERE cluster_id = @cluster_id FOR KEY SHARE;

-- name: ClusterHeld :one
-- FOR UPDATE, so that what refers to the cluster is written before, or waits and finds it disconnected.
SELECT * FROM clusters
WHERE cluster_id = @cluster_id AND (sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id))
FOR UPDATE;

-- name: ClusterUpdate :one
UPDATE clusters SET cluster_name = @cluster_name, launch_template_id = @launch_template_id, subnet_ids = @subnet_ids,
    version = version + 1, updated_at = now()
WHERE cluster_id = @cluster_id AND disconnected_at IS NULL
RETURNING *;

-- name: ClusterDisconnect :one
-- The session is superseded: what its agent still says is refused.
UPDATE clusters SET status = 'disconnected', disconnected_at = now(), updated_at = now(), version = version + 1,
    session_epoch = session_epoch + 1, session_id = NULL, session_replica = NULL, inventory_sequence = 0
WHERE cluster_id = @cluster_id
RETURNING *;

-- name: ClusterLeaveTasks :one
-- Waiting tasks end. Those that the agent has are asked to stop, and end when it does not say so soon.
-- Returns how many are of the second kind.
WITH ended AS (
    UPDATE tasks t SET cancel_reason = coalesce(t.cancel_reason, @cancel_reason),
        status = CASE WHEN t.status = 'pending' THEN 'cancelled' ELSE t.status END,
        finished_at = CASE WHEN t.status = 'pending' THEN now() END,
        lease_until = CASE WHEN t.status <> 'pending' THEN least(t.lease_until, now() + interval '5 seconds') END
    WHERE t.cluster_id = @cluster_id AND t.finished_at IS NULL
    RETURNING t.finished_at)
SELECT count(*) FILTER (WHERE finished_at IS NULL)::int FROM ended;

-- name: ClusterLeaveInterruptions :exec
-- Nothing is done about them any more.
WITH closed AS (
    UPDATE interruptions i SET state = 'dismissed', closed_at = now(),
        replacement_note = CASE WHEN i.replacement = 'pending' THEN @note::text ELSE i.replacement_note END,
        replacement = CASE WHEN i.replacement = 'pending' THEN 'unneeded' ELSE i.replacement END
    WHERE i.cluster_id = @cluster_id AND i.closed_at IS NULL
    RETURNING i.interruption_id)
UPDATE spot_events e SET state = 'dismissed' FROM closed WHERE e.interruption_id = closed.interruption_id;

-- name: ClusterLeaveNodes :exec
-- They are out of sight: they cost, run and count nothing here any more.
UPDATE nodes SET status = 'Terminated', terminated_at = now(), updated_at = now()
WHERE cluster_id = @cluster_id AND terminated_at IS NULL;

-- name: ClusterLeavePods :exec
WITH pages AS (DELETE FROM inventory_pages ip WHERE ip.cluster_id = @cluster_id),
budgets AS (DELETE FROM pod_disruption_budgets b WHERE b.cluster_id = @cluster_id)
DELETE FROM pods WHERE pods.cluster_id = @cluster_id;

-- name: ClusterInstall :one
-- What is needed to connect it.
SELECT c.cluster_name, c.region, coalesce(cu.external_id, '')::text AS external_id
FROM clusters c JOIN customers cu USING (customer_id)
WHERE c.cluster_id = @cluster_id AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id));
