-- name: UsageSampleAdd :execrows
-- None: the report was heard before.
INSERT INTO usage_samples (cluster_id, at, hour, content)
VALUES (@cluster_id, @at, date_trunc('hour', now(), 'UTC'), @content)
ON CONFLICT (cluster_id, at) DO NOTHING;

-- name: UsageState :exec
UPDATE clusters SET usage_state = @usage_state WHERE cluster_id = @cluster_id AND usage_state <> @usage_state;

-- name: UsageNodePut :exec
INSERT INTO node_usage (cluster_id, node_name, cpu_millicores, memory_bytes)
SELECT @cluster_id, v.node_name, v.cpu, v.memory
FROM (SELECT unnest(@node_names::text[]) AS node_name, unnest(@cpus::bigint[]) AS cpu, unnest(@memories::bigint[]) AS memory) v
ON CONFLICT (cluster_id, node_name) DO UPDATE SET cpu_millicores = EXCLUDED.cpu_millicores, memory_bytes = EXCLUDED.memory_bytes,
    heard_at = EXCLUDED.heard_at;

-- name: UsageHoursDue :many
-- Hours that are over and have samples that are not counted yet, the oldest first.
SELECT DISTINCT hour, cluster_id FROM usage_samples
WHERE content IS NOT NULL AND hour < date_trunc('hour', now(), 'UTC')
ORDER BY hour, cluster_id
LIMIT @max_rows;

-- name: UsageSamplesOfHour :many
SELECT at, content::bytea AS content FROM usage_samples
WHERE cluster_id = @cluster_id AND hour = @hour AND content IS NOT NULL AND at > @after
ORDER BY at
LIMIT @max_rows
FOR UPDATE;

-- name: UsageSamplesOpen :many
-- Those that no histogram has yet.
SELECT at, hour, content::bytea AS content FROM usage_samples
WHERE cluster_id = @cluster_id AND content IS NOT NULL AND at > @after
ORDER BY at
LIMIT @max_rows;

-- name: UsageSamplesCounted :exec
UPDATE usage_samples SET content = NULL WHERE cluster_id = @cluster_id AND at = ANY (@ats::timestamptz[]);

-- name: UsageOfDay :many
SELECT namespace, kind, name, container, content FROM container_usage WHERE cluster_id = @cluster_id AND day = @day;

-- name: UsageDayPut :exec
INSERT INTO container_usage (cluster_id, day, namespace, kind, name, container, content)
SELECT @cluster_id, @day, v.namespace, v.kind, v.name, v.container, v.content
FROM (SELECT unnest(@namespaces::text[]) AS namespace, unnest(@kinds::text[]) AS kind, unnest(@names::text[]) AS name,
    unnest(@containers::text[]) AS container, unnest(@contents::bytea[]) AS content) v
ON CONFLICT (cluster_id, day, namespace, kind, name, container) DO UPDATE SET content = EXCLUDED.content;

-- name: UsageDays :many
SELECT DISTINCT day FROM container_usage WHERE cluster_id = @cluster_id AND day >= @since ORDER BY day DESC;

-- name: UsagePruneSamples :execrows
DELETE FROM usage_samples WHERE ctid = ANY (ARRAY(
    SELECT s.ctid FROM usage_samples s WHERE s.content IS NULL AND s.heard_at < now() - interval '3 hours' LIMIT @max_rows));

-- name: UsagePruneNodes :exec
DELETE FROM node_usage WHERE heard_at < now() - interval '1 day';

-- name: UsagePruneDays :execrows
DELETE FROM container_usage WHERE ctid = ANY (ARRAY(SELECT c.ctid FROM container_usage c WHERE c.day < @before LIMIT @max_rows));
