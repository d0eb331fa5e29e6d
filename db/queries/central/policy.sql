-- name: PolicyList :many
-- By customer, cluster and namespace: what is for all clusters before what is for one.
SELECT * FROM policies
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR cluster_id = sqlc.narg(cluster_id))
  AND (sqlc.narg(after_customer)::uuid IS NULL
    OR (customer_id, coalesce(cluster_id, '00000000-0000-0000-0000-000000000000'), namespace)
      > (sqlc.narg(after_customer), @after_cluster::uuid, @after_namespace::text))
ORDER BY customer_id, coalesce(cluster_id, '00000000-0000-0000-0000-000000000000'), namespace
LIMIT @max_rows;

-- name: PolicyOf :one
-- What was set for exactly this scope.
SELECT * FROM policies
WHERE customer_id = @customer_id AND cluster_id IS NOT DISTINCT FROM sqlc.narg(cluster_id)::uuid AND namespace = @namespace
FOR UPDATE;

-- name: PolicyLayers :many
-- What was set around clusters and in them, from the outermost scope in.
SELECT cl.cluster_id AS for_cluster, cl.cluster_name, sqlc.embed(p)
FROM clusters cl
JOIN policies p ON p.customer_id = cl.customer_id AND (p.cluster_id IS NULL OR p.cluster_id = cl.cluster_id)
WHERE cl.cluster_id = ANY (@cluster_ids::uuid[])
ORDER BY cl.cluster_id, p.cluster_id NULLS FIRST, p.namespace;

-- name: PolicyOfCustomer :many
SELECT * FROM policies WHERE customer_id = @customer_id AND cluster_id IS NULL;

-- name: PolicySet :one
INSERT INTO policies (customer_id, cluster_id, namespace, rules, updated_by)
VALUES (@customer_id, sqlc.narg(cluster_id), @namespace, @rules, @updated_by)
ON CONFLICT (customer_id, cluster_id, namespace) DO UPDATE
SET rules = excluded.rules, updated_by = excluded.updated_by, updated_at = now(), etag = gen_random_uuid()
RETURNING *;

-- name: PolicyUnset :execrows
DELETE FROM policies
WHERE customer_id = @customer_id AND cluster_id IS NOT DISTINCT FROM sqlc.narg(cluster_id)::uuid AND namespace = @namespace;

-- name: PolicyLock :exec
-- Changes of the policies of a customer wait for each other: an etag is compared with what is there then.
SELECT pg_advisory_xact_lock(hashtextextended(@key::text, 0));
