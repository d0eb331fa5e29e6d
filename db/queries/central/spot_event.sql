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
SELECT e.* FROM spot_events e JOIN clusters c USING (cluster_id)
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR e.cluster_id = sqlc.narg(cluster_id))
  AND (@event_type::text = '' OR e.event_type = @event_type::text)
  AND (@instance_id::text = '' OR e.instance_id = @instance_id::text)
  AND (sqlc.narg(after_id)::uuid IS NULL OR e.received_at < @after_at::timestamptz
    OR e.received_at = @after_at::timestamptz AND e.event_id > sqlc.narg(after_id))
ORDER BY e.received_at DESC, e.event_id
LIMIT @max_rows;

-- name: SpotEventOf :one
-- The worst that was said of an interruption, newest first among equals.
SELECT * FROM spot_events WHERE interruption_id = @interruption_id
ORDER BY event_type = 'interruption_warning' DESC, event_type = 'capacity_reservation_interruption' DESC,
    event_type = 'instance_terminated' DESC, received_at DESC
LIMIT 1;
