-- name: InterruptedBetween :many
-- Which of the instances AWS took back or announced to take back then.
SELECT DISTINCT instance_id::text AS instance_id FROM spot_events
WHERE instance_id = ANY(@instance_ids::text[]) AND event_type = 'interruption_warning'
    AND received_at > @since AND received_at <= @until;

-- name: GoneWithoutWarning :many
-- Which of them ended in that time without an interruption: what would have become
-- of them is not known.
SELECT DISTINCT n.instance_id::text AS instance_id FROM nodes n
WHERE n.instance_id = ANY(@instance_ids::text[]) AND n.terminated_at IS NOT NULL AND n.terminated_at <= @until;
