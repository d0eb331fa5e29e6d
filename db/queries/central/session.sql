-- name: SessionByHash :one
-- What it may do, for whom, and when it ends: as its key or its member are now.
SELECT s.session_id, s.api_key_id, s.member_id, s.customer_id, s.last_seen_at,
    coalesce(k.scope, m.role)::text AS scope,
    coalesce(k.prefix, '')::text AS prefix, coalesce(k.description, '')::text AS description, coalesce(m.email, '')::text AS email,
    least(s.expires_at, k.expires_at)::timestamptz AS expires_at,
    (s.revoked_at IS NOT NULL OR k.revoked_at IS NOT NULL OR m.deleted_at IS NOT NULL)::boolean AS ended,
    coalesce(c.status, '')::text AS customer_status
FROM sessions s LEFT JOIN api_keys k USING (api_key_id) LEFT JOIN members m USING (member_id)
    LEFT JOIN customers c ON c.customer_id = s.customer_id
WHERE s.secret_hash = @secret_hash;

-- name: SessionCreate :one
INSERT INTO sessions (secret_hash, api_key_id, member_id, customer_id, expires_at)
VALUES (@secret_hash, @api_key_id, @member_id, @customer_id, @expires_at)
RETURNING session_id;

-- name: SessionTouch :exec
UPDATE sessions SET last_seen_at = now() WHERE session_id = @session_id AND last_seen_at < now() - interval '1 minute';

-- name: SessionRevoke :execrows
UPDATE sessions SET revoked_at = now() WHERE session_id = @session_id AND revoked_at IS NULL;

-- name: SessionRevokeOfMember :exec
UPDATE sessions SET revoked_at = now() WHERE member_id = @member_id AND revoked_at IS NULL;

-- name: SessionPrune :exec
DELETE FROM sessions WHERE expires_at < now() - interval '1 day';
