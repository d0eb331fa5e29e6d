-- name: ClusterCount :one
-- Proves that the connection reads.
SELECT count(*) FROM clusters;
