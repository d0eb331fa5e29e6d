-- name: SpotPoolRuns :many
-- Each spot instance of the last 30 days, without its owner: which pool, when it came, and when and how it
-- ended. An instance that AWS warned is taken for lost at the warning.
SELECT n.instance_type::text AS instance_type, c.region::text AS region, n.availability_zone::text AS availability_zone,
    n.created_at AS started_at,
    coalesce(w.warned_at, n.terminated_at, @now::timestamptz)::timestamptz AS ended_at,
    (w.warned_at IS NOT NULL)::boolean AS interrupted, (w.warned_at IS NULL AND n.terminated_at IS NULL)::boolean AS running
FROM nodes n JOIN clusters c ON c.cluster_id = n.cluster_id
LEFT JOIN (
    SELECT m.node_id, min(e.received_at) AS warned_at
    FROM nodes m JOIN spot_events e ON e.cluster_id = m.cluster_id AND e.instance_id = m.instance_id
    WHERE e.event_type = 'interruption_warning' AND e.received_at >= m.created_at AND e.received_at > @since::timestamptz
    GROUP BY m.node_id
) w ON w.node_id = n.node_id
WHERE n.node_type = 'spot' AND n.instance_type IS NOT NULL AND n.availability_zone IS NOT NULL
    AND (n.terminated_at IS NULL OR n.terminated_at > @since::timestamptz)
ORDER BY n.created_at DESC
LIMIT @most;
