-- name: PredictionKeep :exec
-- What ml said of nodes, and that it was asked, be it without an answer. The first word in an hour is the one that is judged.
WITH said AS (
    SELECT unnest(@cluster_ids::uuid[]) AS cluster_id, unnest(@node_names::text[]) AS node_name, unnest(@instance_ids::text[]) AS instance_id,
        unnest(@known::bool[]) AS known, unnest(@probabilities::float8[]) AS probability, unnest(@models::text[]) AS model),
noted AS (
    UPDATE nodes n SET interruption_risk = CASE WHEN s.known THEN s.probability END, risk_model = s.model, risk_at = now()
    FROM said s WHERE n.cluster_id = s.cluster_id AND n.node_name = s.node_name AND n.instance_id = s.instance_id AND n.terminated_at IS NULL
    RETURNING n.cluster_id, n.instance_id)
INSERT INTO spot_predictions (cluster_id, instance_id, hour, node_name, at, probability, model)
SELECT s.cluster_id, s.instance_id, date_trunc('hour', now(), 'UTC'), s.node_name, now(), s.probability, s.model
FROM said s JOIN noted USING (cluster_id, instance_id) WHERE s.known
ON CONFLICT (cluster_id, instance_id, hour) DO NOTHING;

-- name: PredictionJudge :execrows
-- Those whose day is over, and some minutes for what AWS said late. An instance that ended otherwise than by
-- AWS's warning might have been warned later that day: nobody knows.
WITH due AS (
    SELECT d.cluster_id, d.instance_id, d.hour, d.at FROM spot_predictions d
    WHERE d.outcome = '' AND d.at < now() - interval '24 hours 10 minutes'
    ORDER BY d.at LIMIT @max_rows FOR UPDATE SKIP LOCKED)
UPDATE spot_predictions p SET outcome = CASE
    WHEN EXISTS (SELECT 1 FROM spot_events e WHERE e.cluster_id = due.cluster_id AND e.instance_id = due.instance_id
        AND e.event_type = 'interruption_warning' AND e.received_at > due.at AND e.received_at <= due.at + interval '24 hours') THEN 'interrupted'
    WHEN EXISTS (SELECT 1 FROM nodes n WHERE n.cluster_id = due.cluster_id AND n.instance_id = due.instance_id
        AND (n.terminated_at IS NULL OR n.terminated_at >= due.at + interval '24 hours')) THEN 'survived'
    ELSE 'censored' END
FROM due WHERE p.cluster_id = due.cluster_id AND p.instance_id = due.instance_id AND p.hour = due.hour;

-- name: PredictionBins :many
-- Judged predictions by tenth of their probability.
SELECT least(floor(p.probability * 10), 9)::int AS bin, count(*)::int AS predictions,
    count(*) FILTER (WHERE p.outcome = 'interrupted')::int AS interruptions,
    sum(p.probability)::float8 AS probability,
    sum((p.probability - CASE WHEN p.outcome = 'interrupted' THEN 1 ELSE 0 END) ^ 2)::float8 AS squared_error
FROM spot_predictions p JOIN clusters c USING (cluster_id)
WHERE p.outcome IN ('interrupted', 'survived') AND p.at > now() - make_interval(days => @days::int)
    AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
    AND (sqlc.narg(cluster_id)::uuid IS NULL OR p.cluster_id = sqlc.narg(cluster_id))
GROUP BY bin ORDER BY bin;

-- name: PredictionPrune :execrows
-- A day's worth of a large fleet at most; the rest follows an hour later.
DELETE FROM spot_predictions WHERE ctid IN (
    SELECT ctid FROM spot_predictions WHERE at < now() - interval '400 days' LIMIT @max_rows);

-- name: SpotPoolList :many
-- Pools with spot nodes now or within 30 days. Prices are those of its nodes, the newest where none is left.
WITH mine AS (
    SELECT c.cluster_id, c.region, coalesce(cu.aws_role_arn, '') AS account FROM clusters c JOIN customers cu USING (customer_id)
    WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
        AND (sqlc.narg(cluster_id)::uuid IS NULL OR c.cluster_id = sqlc.narg(cluster_id))),
used AS (
    SELECT m.region, n.availability_zone, n.instance_type,
        count(*) FILTER (WHERE n.terminated_at IS NULL) AS nodes,
        (array_agg(n.hourly_price ORDER BY n.terminated_at IS NULL DESC, n.updated_at DESC) FILTER (WHERE n.hourly_price IS NOT NULL))[1] AS spot_price,
        (array_agg(n.on_demand_hourly_price ORDER BY n.terminated_at IS NULL DESC, n.updated_at DESC)
            FILTER (WHERE n.on_demand_hourly_price IS NOT NULL))[1] AS on_demand_price,
        avg(n.interruption_risk) FILTER (WHERE n.terminated_at IS NULL AND n.risk_at > now() - make_interval(secs => @risk_seconds::float8)) AS risk,
        (array_agg(n.risk_model ORDER BY n.risk_at DESC) FILTER (WHERE n.terminated_at IS NULL AND n.interruption_risk IS NOT NULL
            AND n.risk_at > now() - make_interval(secs => @risk_seconds::float8)))[1] AS risk_model,
        sum(extract(epoch FROM coalesce(n.terminated_at, now()) - greatest(n.created_at, now() - interval '30 days'))) / 3600 AS node_hours,
        array_agg(DISTINCT m.account) AS accounts
    FROM mine m JOIN nodes n USING (cluster_id)
    WHERE n.node_type = 'spot' AND n.instance_type <> '' AND n.availability_zone <> ''
        AND (n.terminated_at IS NULL OR n.terminated_at > now() - interval '30 days')
    GROUP BY m.region, n.availability_zone, n.instance_type),
taken AS (
    SELECT m.region, i.availability_zone, i.instance_type, count(*) AS interruptions
    FROM mine m JOIN interruptions i USING (cluster_id)
    WHERE i.node_type = 'spot' AND i.opened_at > now() - interval '30 days' AND 'interruption_warning' = ANY (i.causes)
    GROUP BY m.region, i.availability_zone, i.instance_type)
SELECT u.region::text AS region, u.availability_zone::text AS availability_zone, u.instance_type::text AS instance_type, u.nodes::int AS nodes,
    coalesce(u.spot_price, 0)::float8 AS spot_price, coalesce(u.on_demand_price, 0)::float8 AS on_demand_price,
    (u.risk IS NOT NULL)::bool AS risk_known, coalesce(u.risk, 0)::float8 AS risk, coalesce(u.risk_model, '')::text AS risk_model,
    coalesce(t.interruptions, 0)::int AS interruptions, u.node_hours::float8 AS node_hours,
    coalesce((SELECT max(r.until) FROM pool_refusals r WHERE r.account = ANY (u.accounts) AND r.region = u.region
        AND r.availability_zone = u.availability_zone AND r.instance_type = u.instance_type AND r.node_type = 'spot'
        AND r.until > now()), 'epoch')::timestamptz AS refused_until
FROM used u LEFT JOIN taken t USING (region, availability_zone, instance_type)
ORDER BY u.nodes DESC, u.region, u.availability_zone, u.instance_type;
