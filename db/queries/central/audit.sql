-- name: AuditAppend :exec
INSERT INTO audit_log (actor, action, customer_id, cluster_id, subject, detail, request_id)
VALUES (@actor, @action, @customer_id, @cluster_id, @subject, @detail, @request_id);

-- name: AuditList :many
-- Newest first.
SELECT a.audit_id, a.at, a.actor, a.action, a.customer_id, a.cluster_id, a.subject, a.detail, a.request_id,
    coalesce(s.sequence, 0)::bigint AS sequence, s.hash
FROM audit_log a LEFT JOIN audit_seals s USING (audit_id)
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR a.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR a.cluster_id = sqlc.narg(cluster_id))
  AND (sqlc.narg(action)::text IS NULL OR a.action = sqlc.narg(action))
  AND (sqlc.narg(action_prefix)::text IS NULL OR starts_with(a.action, sqlc.narg(action_prefix)))
  AND (sqlc.narg(actor)::text IS NULL OR a.actor = sqlc.narg(actor))
  AND (sqlc.narg(actor_prefix)::text IS NULL OR starts_with(a.actor, sqlc.narg(actor_prefix)))
  AND (sqlc.narg(subject)::text IS NULL OR a.subject = sqlc.narg(subject))
  AND (sqlc.narg(not_before)::timestamptz IS NULL OR a.at >= sqlc.narg(not_before))
  AND (sqlc.narg(before)::timestamptz IS NULL OR a.at < sqlc.narg(before))
  AND (sqlc.narg(after_at)::timestamptz IS NULL OR (a.at, a.audit_id) < (sqlc.narg(after_at), @after_id::bigint))
ORDER BY a.at DESC, a.audit_id DESC
LIMIT @max_rows;

-- name: AuditLock :one
-- One replica seals at a time.
SELECT pg_try_advisory_xact_lock(hashtextextended('audit_seals', 0));

-- name: AuditWaiting :one
SELECT EXISTS (SELECT FROM audit_pending);

-- name: AuditPending :many
-- Committed entries without a seal, in the order in which they were written.
SELECT a.audit_id, a.at, a.actor, a.action, a.customer_id, a.cluster_id, a.subject, a.detail, a.request_id
FROM audit_pending p JOIN audit_log a USING (audit_id)
ORDER BY a.audit_id
LIMIT @max_rows;

-- name: AuditPendingDone :exec
DELETE FROM audit_pending WHERE audit_id = ANY (@audit_ids::bigint[]);

-- name: AuditHead :one
SELECT sequence, hash FROM audit_seals ORDER BY sequence DESC LIMIT 1;

-- name: AuditSealMany :exec
INSERT INTO audit_seals (sequence, audit_id, version, hash)
SELECT v.sequence, v.audit_id, @version, v.hash
FROM (SELECT unnest(@sequences::bigint[]) AS sequence, unnest(@audit_ids::bigint[]) AS audit_id, unnest(@hashes::bytea[]) AS hash) v;

-- name: AuditSealed :many
-- Seals behind a position with their entries, as far as those are there.
SELECT s.sequence, s.audit_id, s.version, s.hash, (a.audit_id IS NOT NULL)::bool AS there,
    coalesce(a.at, 'epoch')::timestamptz AS at, coalesce(a.actor, '')::text AS actor, coalesce(a.action, '')::text AS action,
    a.customer_id, a.cluster_id, coalesce(a.subject, '')::text AS subject, coalesce(a.detail, '{}')::jsonb AS detail,
    coalesce(a.request_id, '')::text AS request_id
FROM audit_seals s LEFT JOIN audit_log a USING (audit_id)
WHERE s.sequence > @after
ORDER BY s.sequence
LIMIT @max_rows;

-- name: AuditUnsealed :one
-- Entries without a seal; the first of those that nobody will seal, for they came in past the door;
-- and the first that was taken out before it was sealed. 0: there is none.
SELECT count(*) AS unsealed, coalesce(min(a.audit_id) FILTER (WHERE p.audit_id IS NULL), 0)::bigint AS smuggled,
    coalesce((SELECT min(q.audit_id) FROM audit_pending q WHERE NOT EXISTS (SELECT FROM audit_log b WHERE b.audit_id = q.audit_id)), 0)::bigint AS taken
FROM audit_log a LEFT JOIN audit_seals s USING (audit_id) LEFT JOIN audit_pending p USING (audit_id)
WHERE s.audit_id IS NULL;
