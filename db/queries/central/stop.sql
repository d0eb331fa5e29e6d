-- name: StopBarrierShared :exec
-- Whoever writes something disruptive holds this until it is committed, and looks for stops with it in hand.
SELECT pg_advisory_xact_lock_shared(hashtextextended('stops', 0));

-- name: StopBarrier :exec
-- Waits until all that was begun before the stop is committed, so that the stop sees it.
SELECT pg_advisory_xact_lock(hashtextextended('stops', 0));

-- name: StopsIn :many
-- The stops that hold in clusters, the widest scope first.
SELECT cl.cluster_id AS for_cluster, sqlc.embed(s)
FROM clusters cl
JOIN stops s ON s.lifted_at IS NULL AND (s.scope = 'platform' OR (s.scope = 'customer' AND s.customer_id = cl.customer_id)
    OR (s.scope = 'cluster' AND s.cluster_id = cl.cluster_id))
WHERE cl.cluster_id = ANY (@cluster_ids::uuid[])
ORDER BY cl.cluster_id, array_position(ARRAY['platform', 'customer', 'cluster'], s.scope::text), s.created_at;

-- name: StopsExist :one
-- Whether any stop holds anywhere: mostly none does, and then nobody need look further.
SELECT EXISTS (SELECT 1 FROM stops WHERE lifted_at IS NULL);

-- name: StopsOfCustomer :many
-- Those that hold in all of a customer's clusters.
SELECT * FROM stops
WHERE lifted_at IS NULL AND (scope = 'platform' OR (scope = 'customer' AND customer_id = @customer_id))
ORDER BY array_position(ARRAY['platform', 'customer', 'cluster'], scope::text), created_at;

-- name: StopInForce :one
SELECT * FROM stops
WHERE lifted_at IS NULL AND scope = @scope AND customer_id IS NOT DISTINCT FROM sqlc.narg(customer_id)::uuid
  AND cluster_id IS NOT DISTINCT FROM sqlc.narg(cluster_id)::uuid;

-- name: StopCreate :one
INSERT INTO stops (scope, customer_id, cluster_id, reason, include_interruptions, created_by)
VALUES (@scope, sqlc.narg(customer_id), sqlc.narg(cluster_id), @reason, @include_interruptions, @created_by)
RETURNING *;

-- name: StopWiden :one
UPDATE stops SET include_interruptions = true WHERE stop_id = @stop_id RETURNING *;

-- name: StopLift :one
-- No row: it was lifted already.
UPDATE stops SET lifted_at = now(), lifted_by = @lifted_by, lift_reason = @lift_reason
WHERE stop_id = @stop_id AND lifted_at IS NULL
RETURNING *;

-- name: StopByID :one
-- The platform's stops are seen by all, and lifted by its staff alone.
SELECT * FROM stops
WHERE stop_id = @stop_id
  AND (sqlc.narg(customer_id)::uuid IS NULL OR customer_id IS NULL OR customer_id = sqlc.narg(customer_id));

-- name: StopList :many
-- Newest first; of one cluster, those that hold or held in it.
SELECT s.* FROM stops s
WHERE (@include_lifted::bool OR s.lifted_at IS NULL)
  AND (sqlc.narg(customer_id)::uuid IS NULL OR s.customer_id IS NULL OR s.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR s.scope = 'platform' OR s.cluster_id = sqlc.narg(cluster_id)
    OR (s.scope = 'customer' AND s.customer_id = (SELECT c.customer_id FROM clusters c WHERE c.cluster_id = sqlc.narg(cluster_id))))
  AND (sqlc.narg(after_at)::timestamptz IS NULL OR (s.created_at, s.stop_id) < (sqlc.narg(after_at), @after_id::uuid))
ORDER BY s.created_at DESC, s.stop_id DESC
LIMIT @max_rows;

-- name: StopClusters :many
-- Clusters that a stop holds in.
SELECT cl.cluster_id, cl.customer_id FROM clusters cl JOIN stops s ON s.stop_id = @stop_id
WHERE s.scope = 'platform' OR (s.scope = 'customer' AND s.customer_id = cl.customer_id) OR (s.scope = 'cluster' AND s.cluster_id = cl.cluster_id)
ORDER BY cl.cluster_id;

-- name: StopClusterCounts :many
SELECT s.stop_id, count(cl.cluster_id)::int AS clusters
FROM stops s LEFT JOIN clusters cl ON s.scope = 'platform' OR (s.scope = 'customer' AND s.customer_id = cl.customer_id)
    OR (s.scope = 'cluster' AND s.cluster_id = cl.cluster_id)
WHERE s.stop_id = ANY (@stop_ids::uuid[])
GROUP BY s.stop_id;

-- name: StopCancelTasks :many
-- Open drains and cordons in the stop's clusters end here, or are asked to end: of interruptions, too, where
-- the stop includes them. In the order of their ids, as whoever else writes many.
WITH open AS MATERIALIZED (
    SELECT t.task_id FROM tasks t JOIN clusters cl USING (cluster_id) JOIN stops s ON s.stop_id = @stop_id
    WHERE t.finished_at IS NULL AND t.cancel_reason IS NULL AND t.task_type IN ('drain_node', 'cordon_node')
      AND (s.scope = 'platform' OR (s.scope = 'customer' AND s.customer_id = cl.customer_id) OR (s.scope = 'cluster' AND s.cluster_id = cl.cluster_id))
      AND (t.cause IN ('', 'optimization') OR (s.include_interruptions AND t.cause = 'interruption'))
    ORDER BY t.task_id
    FOR UPDATE OF t),
ended AS (
    UPDATE tasks t SET cancel_reason = @cancel_reason,
        status = CASE WHEN t.status = 'pending' THEN 'cancelled' ELSE t.status END,
        finished_at = CASE WHEN t.status = 'pending' THEN now() END
    FROM open WHERE t.task_id = open.task_id
    RETURNING t.task_id, t.task_type),
counted AS (
    UPDATE stops SET drains_cancelled = drains_cancelled + (SELECT count(*) FROM ended WHERE task_type = 'drain_node')
    WHERE stops.stop_id = @stop_id)
SELECT task_id, task_type FROM ended ORDER BY task_id;
