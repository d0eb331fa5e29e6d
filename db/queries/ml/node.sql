-- name: SpotNodesUp :many
-- Running spot instances, and for how long; a sample where there are more.
SELECT n.instance_id::text AS instance_id, n.instance_type::text AS instance_type, n.availability_zone::text AS availability_zone,
    c.region, n.created_at
FROM nodes n JOIN clusters c USING (cluster_id)
WHERE n.terminated_at IS NULL AND n.node_type = 'spot' AND n.status = 'Ready'
    AND n.instance_id <> '' AND n.instance_type <> '' AND n.availability_zone <> ''
    AND c.last_seen_at > now() - interval '10 minutes'
ORDER BY md5(n.instance_id) LIMIT @max_rows;
