-- name: SilenceEnd :exec
-- Agents that are heard again.
UPDATE silences s SET until = greatest(s.since, now()) FROM clusters c
WHERE s.until IS NULL AND s.kind = 'agent' AND c.cluster_id = s.cluster_id AND c.status = 'active';

-- name: SilenceBeat :exec
-- Some replica runs; if none did for a minute, that was a silence of central's.
WITH before AS (SELECT next_at FROM turns WHERE name = 'central.alive' FOR UPDATE),
alive AS (
    INSERT INTO turns (name, next_at) VALUES ('central.alive', now())
    ON CONFLICT (name) DO UPDATE SET next_at = EXCLUDED.next_at)
INSERT INTO silences (kind, since, until)
SELECT 'central', next_at, now() FROM before WHERE next_at < now() - interval '1 minute'
ON CONFLICT (kind, cluster_id, since) DO NOTHING;

-- name: SilencePrune :exec
DELETE FROM silences WHERE until < @before AND kind <> 'unwatched';

-- name: SilenceBegin :exec
-- Of a cluster that is disconnected: it lasts, and has a reason.
INSERT INTO silences (kind, cluster_id, since) VALUES ('agent', @cluster_id::uuid, now())
ON CONFLICT (kind, cluster_id, since) DO NOTHING;
