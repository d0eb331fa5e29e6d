-- name: ClusterCreate :one
INSERT INTO clusters (customer_id, cluster_name, region, launch_template_id, subnet_ids)
VALUES (@customer_id, @cluster_name, @region, @launch_template_id, @subnet_ids)
RETURNING *;

-- name: ClusterList :many
SELECT * FROM clusters
WHERE sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id)
ORDER BY cluster_name, cluster_id;

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
-- The newest session wins; it alone is heard from now on.
UPDATE clusters SET session_epoch = session_epoch + 1, session_id = @session_id, session_replica = @session_replica,
    session_seen_at = now(), last_seen_at = now(), status = 'active', k8s_version = coalesce(nullif(@k8s_version::text, ''), k8s_version)
WHERE cluster_id = @cluster_id
RETURNING session_epoch, inventory_sequence;

-- name: ClusterSessionTouch :execrows
-- No row: a newer session has taken over.
UPDATE clusters SET session_seen_at = now(), last_seen_at = now(), status = 'active'
WHERE cluster_id = @cluster_id AND session_epoch = @session_epoch;

-- name: ClusterSessionClose :exec
UPDATE clusters SET session_id = NULL, session_replica = NULL
WHERE cluster_id = @cluster_id AND session_epoch = @session_epoch;

-- name: ClusterOffline :many
UPDATE clusters SET status = 'offline', updated_at = now()
WHERE status = 'active' AND last_seen_at < now() - interval '3 minutes'
RETURNING cluster_id, customer_id;

-- name: ClusterInventory :one
-- Locks the row: inventories of one cluster are put in force one at a time.
SELECT session_epoch, inventory_sequence FROM clusters WHERE cluster_id = @cluster_id FOR UPDATE;

-- name: ClusterInventorySet :exec
UPDATE clusters SET inventory_sequence = @inventory_sequence, inventory_at = now(), last_seen_at = now(), status = 'active'
WHERE cluster_id = @cluster_id;
