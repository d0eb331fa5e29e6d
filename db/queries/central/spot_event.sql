-- name: SpotEventCreate :execrows
-- No row: it was said before.
INSERT INTO spot_events (cluster_id, instance_id, event_type, interruption_time, action_taken, metadata, dedup_key, interruption_id,
    node_name, region, availability_zone, state)
VALUES (@cluster_id, @instance_id, @event_type, @interruption_time, @action_taken, @metadata, @dedup_key, @interruption_id,
    @node_name, @region, @availability_zone, @state)
ON CONFLICT (cluster_id, dedup_key) DO NOTHING;

-- name: SpotEventHeard :exec
-- Said again, perhaps by another way.
UPDATE spot_events e SET metadata = coalesce(e.metadata, '{}') || jsonb_build_object(
    'sources', (SELECT jsonb_agg(DISTINCT v) FROM jsonb_array_elements_text(coalesce(e.metadata -> 'sources', '[]') || @sources::jsonb) v),
    'message_ids', (SELECT coalesce(jsonb_agg(w.v), '[]') FROM (SELECT DISTINCT v FROM
        jsonb_array_elements_text(coalesce(e.metadata -> 'message_ids', '[]') || @message_ids::jsonb) v LIMIT 20) w))
WHERE e.cluster_id = @cluster_id AND e.dedup_key = @dedup_key;

-- name: SpotEventAct :exec
-- What was done about all that was said of one interruption.
UPDATE spot_events SET state = @state, action_taken = @action_taken, replacement_instance_id = @replacement_instance_id
WHERE interruption_id = @interruption_id;

-- name: SpotEventList :many
-- With what was last foretold of each instance before: only of those on the page it is looked for.
SELECT sqlc.embed(e), coalesce(p.probability, 0)::float8 AS probability, coalesce(p.at, 'epoch')::timestamptz AS said_at,
    coalesce(p.model, '')::text AS model
FROM (
    SELECT l.event_id FROM spot_events l JOIN clusters c USING (cluster_id)
    WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
      AND (sqlc.narg(cluster_id)::uuid IS NULL OR l.cluster_id = sqlc.narg(cluster_id))
      AND (@event_type::text = '' OR l.event_type = @event_type::text)
      AND (@instance_id::text = '' OR l.instance_id = @instance_id::text)
      AND (sqlc.narg(after_id)::uuid IS NULL OR l.received_at < @after_at::timestamptz
        OR l.received_at = @after_at::timestamptz AND l.event_id > sqlc.narg(after_id))
    ORDER BY l.received_at DESC, l.event_id
    LIMIT @max_rows) listed
JOIN spot_events e USING (event_id)
LEFT JOIN LATERAL (
    SELECT f.probability, f.at, f.model FROM spot_predictions f
    WHERE f.cluster_id = e.cluster_id AND f.instance_id = e.instance_id AND f.at < e.received_at
        AND f.hour > e.received_at - interval '25 hours' AND f.at >= e.received_at - interval '24 hours'
    ORDER BY f.hour DESC LIMIT 1) p ON true
ORDER BY e.received_at DESC, e.event_id;

-- name: SpotEventOf :one
-- The worst that was said of an interruption, newest first among equals; and what was foretold, as in SpotEventList.
SELECT sqlc.embed(e), coalesce(p.probability, 0)::float8 AS probability, coalesce(p.at, 'epoch')::timestamptz AS said_at,
    coalesce(p.model, '')::text AS model
FROM spot_events e
LEFT JOIN LATERAL (
    SELECT f.probability, f.at, f.model FROM spot_predictions f
    WHERE f.cluster_id = e.cluster_id AND f.instance_id = e.instance_id AND f.at < e.received_at
        AND f.hour > e.received_at - interval '25 hours' AND f.at >= e.received_at - interval '24 hours'
    ORDER BY f.hour DESC LIMIT 1) p ON true
WHERE e.interruption_id = @interruption_id
ORDER BY e.event_type = 'interruption_warning' DESC, e.event_type = 'capacity_reservation_interruption' DESC,
    e.event_type = 'instance_terminated' DESC, e.received_at DESC
LIMIT 1;
