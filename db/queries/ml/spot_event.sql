-- name: InterruptedBetween :many
-- Which of the instances AWS took back or announced to take back then.
SELECT DISTINCT instance_id::text AS instance_id FROM spot_events
WHERE instance_id = ANY(@instance_ids::text[]) AND event_type = 'interruption_warning'
    AND received_at > @since AND received_at <= @until;

-- name: EndedUntil :many
-- Which of them ended by then, by whatever cause.
SELECT DISTINCT n.instance_id::text AS instance_id FROM nodes n
WHERE n.instance_id = ANY(@instance_ids::text[]) AND n.terminated_at IS NOT NULL AND n.terminated_at <= @until;
