-- name: ActivityCreate :exec
-- Takes no lock that another waits for: it is part of transactions of every kind.
INSERT INTO activity (customer_id, cluster_id, optimization_id, type, severity, message)
VALUES (@customer_id, @cluster_id, @optimization_id, @type, @severity, @message);

-- name: ActivityCreateAlone :exec
-- The same outside of a transaction, where nobody waits for the disk: numbering does, and with a number
-- all that was written before it is on the disk.
INSERT INTO activity (customer_id, cluster_id, optimization_id, type, severity, message)
SELECT @customer_id, @cluster_id, @optimization_id, @type, @severity, @message
WHERE (SELECT set_config('synchronous_commit', 'off', true)) = 'off';

-- name: ActivityWaiting :one
SELECT EXISTS (SELECT 1 FROM activity WHERE sequence IS NULL) AS waiting;

-- name: ActivityLock :one
-- A statement of its own: the next one must see all that was numbered before.
SELECT sequence FROM activity_head FOR UPDATE;

-- name: ActivityNumber :execrows
UPDATE activity SET sequence = sqlc.arg(head)::bigint + due.place
FROM (SELECT w.activity_id AS id, row_number() OVER (ORDER BY w.activity_id) AS place
    FROM activity w WHERE w.sequence IS NULL ORDER BY w.activity_id LIMIT @max_rows) due
WHERE activity.activity_id = due.id;

-- name: ActivityNumbered :exec
UPDATE activity_head SET sequence = @sequence;

-- name: ActivityHead :one
SELECT sequence, pruned FROM activity_head;

-- name: ActivityAfter :many
-- What is told behind a number, to all. Withheld from its customer: who is suspended, or whose
-- cluster belongs to another by now.
SELECT a.sequence::bigint AS sequence, a.customer_id, a.message,
    (coalesce(cu.status = 'suspended', false) OR coalesce(cl.customer_id <> a.customer_id, false))::bool AS withheld
FROM activity a LEFT JOIN customers cu USING (customer_id) LEFT JOIN clusters cl ON cl.cluster_id = a.cluster_id
WHERE a.sequence > @after::bigint
ORDER BY a.sequence
LIMIT @max_rows;

-- name: ActivityMissed :one
-- How much a reader missed, counted up to max_rows, and when the first of it was told.
SELECT count(*) AS missed, coalesce(min(m.at), now())::timestamptz AS since FROM (
    SELECT a.at FROM activity a
    WHERE a.sequence > @after::bigint AND a.sequence <= @until::bigint
      AND (sqlc.narg(customer_id)::uuid IS NULL OR a.customer_id = sqlc.narg(customer_id))
      AND (sqlc.narg(cluster_id)::uuid IS NULL OR a.cluster_id = sqlc.narg(cluster_id))
      AND (cardinality(@types::text[]) = 0 OR a.type = ANY (@types::text[]))
    ORDER BY a.sequence LIMIT @max_rows) m;

-- name: ActivityReplay :many
-- What a reader missed, oldest first.
SELECT a.sequence::bigint AS sequence, a.message FROM activity a LEFT JOIN clusters cl ON cl.cluster_id = a.cluster_id
WHERE a.sequence > @after::bigint AND a.sequence <= @until::bigint
  AND (sqlc.narg(customer_id)::uuid IS NULL
    OR a.customer_id = sqlc.narg(customer_id) AND coalesce(cl.customer_id = a.customer_id, true))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR a.cluster_id = sqlc.narg(cluster_id))
  AND (cardinality(@types::text[]) = 0 OR a.type = ANY (@types::text[]))
ORDER BY a.sequence
LIMIT @max_rows;

-- name: ActivityList :many
-- Newest first, before a number.
SELECT a.sequence::bigint AS sequence, a.message FROM activity a LEFT JOIN clusters cl ON cl.cluster_id = a.cluster_id
WHERE a.sequence < @before::bigint AND a.severity >= @min_severity
  AND (sqlc.narg(customer_id)::uuid IS NULL
    OR a.customer_id = sqlc.narg(customer_id) AND coalesce(cl.customer_id = a.customer_id, true))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR a.cluster_id = sqlc.narg(cluster_id))
  AND (sqlc.narg(optimization_id)::uuid IS NULL OR a.optimization_id = sqlc.narg(optimization_id))
  AND (cardinality(@types::text[]) = 0 OR a.type = ANY (@types::text[]))
ORDER BY a.sequence DESC
LIMIT @max_rows;

-- name: ActivityPrune :one
-- Some at a time, so that whoever numbers waits no longer than that takes.
WITH old AS (
    DELETE FROM activity WHERE activity_id IN (
        SELECT o.activity_id FROM activity o WHERE o.at < now() - interval '30 days' AND o.sequence IS NOT NULL ORDER BY o.at LIMIT @max_rows)
    RETURNING sequence),
noted AS (
    UPDATE activity_head SET pruned = greatest(pruned, (SELECT max(sequence) FROM old)) WHERE EXISTS (SELECT 1 FROM old))
SELECT count(*) FROM old;
