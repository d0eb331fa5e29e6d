-- name: KeyByHash :one
SELECT k.api_key_id, k.scope, k.customer_id, k.cluster_id, k.expires_at, k.revoked_at,
       coalesce(c.status, '')::text AS customer_status
FROM api_keys k LEFT JOIN customers c USING (customer_id)
WHERE k.secret_hash = @secret_hash;

-- name: KeyCreate :one
INSERT INTO api_keys (secret_hash, prefix, scope, customer_id, cluster_id, description, created_by, expires_at)
VALUES (@secret_hash, @prefix, @scope, @customer_id, @cluster_id, @description, @created_by, @expires_at)
RETURNING *;

-- name: KeyList :many
SELECT * FROM api_keys
WHERE sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id)
ORDER BY created_at DESC;

-- name: KeyRevoke :one
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
WHERE api_key_id = @api_key_id AND (sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id))
RETURNING customer_id, cluster_id, scope;

-- name: KeyTouch :exec
UPDATE api_keys SET last_used_at = now()
WHERE api_key_id = @api_key_id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: KeyEnsure :many
-- The key of the configuration: there from the first start on.
INSERT INTO api_keys (secret_hash, prefix, scope, description, created_by)
VALUES (@secret_hash, @prefix, @scope, 'from the configuration', 'configuration')
ON CONFLICT (secret_hash) DO NOTHING
RETURNING api_key_id;

-- name: KeyRevokeCluster :many
-- Keys of a cluster's agent that end now; one alone may be left out.
UPDATE api_keys SET revoked_at = now()
WHERE cluster_id = @cluster_id AND revoked_at IS NULL AND api_key_id IS DISTINCT FROM sqlc.narg(but)::uuid
RETURNING api_key_id;

-- name: KeyExpireCluster :execrows
-- Keys of a cluster's agent but one end then, unless they do sooner.
UPDATE api_keys SET expires_at = least(expires_at, @expires_at::timestamptz)
WHERE cluster_id = @cluster_id AND revoked_at IS NULL AND api_key_id <> @but;
