-- name: InstanceLock :exec
-- Serializes what is said of an instance; taken in the order of the keys, so that batches cannot deadlock.
SELECT pg_advisory_xact_lock(hashtextextended(@key::text, 0));

-- name: InstanceOwners :many
-- Nodes of these instances, of the clusters of customers, or of one cluster.
SELECT n.cluster_id, c.customer_id, c.cluster_name, c.region, n.node_name, n.instance_id::text AS instance_id,
    coalesce(n.instance_type, '')::text AS instance_type, coalesce(n.availability_zone, '')::text AS availability_zone,
    n.node_type, n.created_at, n.terminated_at
FROM nodes n JOIN clusters c USING (cluster_id)
WHERE n.instance_id = ANY (@instance_ids::text[])
  AND (c.customer_id = ANY (@customer_ids::uuid[]) OR c.cluster_id = sqlc.narg(cluster_id)::uuid)
ORDER BY n.terminated_at IS NULL, n.created_at;

-- name: InstanceLaunchers :many
-- Clusters for which we launched these instances, be they nodes yet or not.
SELECT c.cluster_id, c.customer_id, c.cluster_name, c.region, l.instance_id::text AS instance_id
FROM (SELECT o.cluster_id, li.instance_id
      FROM launched_instances li JOIN optimization_history o USING (optimization_id)
      WHERE li.instance_id = ANY (@instance_ids::text[])
      UNION ALL
      SELECT i.cluster_id, il.instance_id
      FROM interruption_launches il JOIN interruptions i USING (interruption_id)
      WHERE il.instance_id = ANY (@instance_ids::text[])) l
JOIN clusters c USING (cluster_id)
WHERE l.instance_id = ANY (@instance_ids::text[])
  AND (c.customer_id = ANY (@customer_ids::uuid[]) OR c.cluster_id = sqlc.narg(cluster_id)::uuid);

-- name: InstanceEndings :many
-- Of these, the instances that an optimization takes away itself.
SELECT o.cluster_id, n.instance_id::text AS instance_id
FROM optimization_nodes n JOIN optimization_history o USING (optimization_id)
WHERE n.instance_id = ANY (@instance_ids::text[]) AND n.status IN ('drained', 'terminated')
UNION
SELECT o.cluster_id, l.instance_id::text
FROM launched_instances l JOIN optimization_history o USING (optimization_id)
WHERE l.instance_id = ANY (@instance_ids::text[])
  AND ((o.status = 'executing' AND o.current_step = @rollback_step) OR (o.status IN ('failed', 'cancelled') AND o.completed_at > now() - interval '10 minutes'));

-- name: InterruptionLatest :one
SELECT * FROM interruptions WHERE cluster_id = @cluster_id AND instance_id = @instance_id
ORDER BY nth DESC LIMIT 1 FOR NO KEY UPDATE;

-- name: InterruptionLocked :one
SELECT * FROM interruptions WHERE interruption_id = @interruption_id FOR NO KEY UPDATE;

-- name: InterruptionByID :one
SELECT * FROM interruptions WHERE interruption_id = @interruption_id;

-- name: InterruptionCreate :one
INSERT INTO interruptions (cluster_id, instance_id, nth, node_name, region, availability_zone, instance_type, node_type, state, traceparent)
VALUES (@cluster_id, @instance_id, @nth, @node_name, @region, @availability_zone, @instance_type, @node_type, 'at_risk', @traceparent)
RETURNING *;

-- name: InterruptionSave :execrows
-- The state never falls: no row then.
UPDATE interruptions SET nth = @nth, state = @state, urgency = @urgency, aws_action = @aws_action, causes = @causes, sources = @sources,
    deadline = @deadline, drain_task_id = @drain_task_id, drain_outcome = @drain_outcome, drain_error = @drain_error,
    replacement = @replacement, replacement_note = @replacement_note, replacement_instance_id = @replacement_instance_id,
    replacement_pool = @replacement_pool, hook_group = @hook_group, hook_name = @hook_name, hook_token = @hook_token,
    hook_beat_at = @hook_beat_at, hook_completed_at = @hook_completed_at, terminated_at = @terminated_at,
    wake_at = CASE WHEN @wake::bool THEN now() ELSE wake_at END,
    drained_at = @drained_at, gone_at = @gone_at, closed_at = @closed_at
WHERE interruption_id = @interruption_id AND array_position(ARRAY['at_risk', 'draining', 'drained', 'gone', 'dismissed'], state::text)
    <= array_position(ARRAY['at_risk', 'draining', 'drained', 'gone', 'dismissed'], @state::text);

-- name: InterruptionClaim :many
-- Takes those whose time has come: nobody else looks at them for a while.
UPDATE interruptions SET wake_at = now() + make_interval(secs => @lease_seconds::float8)
WHERE interruption_id IN (
    SELECT i.interruption_id FROM interruptions i WHERE i.closed_at IS NULL AND i.wake_at <= now()
    ORDER BY i.wake_at LIMIT @max_rows FOR UPDATE SKIP LOCKED)
RETURNING interruption_id;

-- name: InterruptionWake :exec
-- Not when somebody has heard more meanwhile: then its time has come already.
UPDATE interruptions SET wake_at = now() + make_interval(secs => @seconds::float8)
WHERE interruption_id = @interruption_id AND closed_at IS NULL AND wake_at > now();

-- name: ReplacementClaim :execrows
-- No row: another job is at it, or it is done.
UPDATE interruptions SET replacement_until = now() + make_interval(secs => @lease_seconds::float8)
WHERE interruption_id = @interruption_id AND replacement = 'pending' AND replacement_until <= now();

-- name: ReplacementWait :exec
UPDATE interruptions SET replacement_until = now() + make_interval(secs => @seconds::float8)
WHERE interruption_id = @interruption_id AND replacement = 'pending';

-- name: ReplacementOrphans :many
-- Replacements that nobody is at; whoever asks has them to hand out.
UPDATE interruptions SET replacement_until = now()
WHERE interruption_id IN (
    SELECT i.interruption_id FROM interruptions i
    WHERE i.replacement = 'pending' AND i.replacement_until < now() - make_interval(secs => @late_seconds::float8)
    LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING interruption_id;

-- name: ReplacementAttemptCreate :exec
-- Written before EC2 is asked; the first to write an attempt decides it.
INSERT INTO interruption_launches (interruption_id, attempt, client_token, instance_type, availability_zone, node_type)
VALUES (@interruption_id, @attempt, @client_token, @instance_type, @availability_zone, @node_type)
ON CONFLICT (interruption_id, attempt) DO NOTHING;

-- name: ReplacementAttempts :many
SELECT * FROM interruption_launches WHERE interruption_id = @interruption_id ORDER BY attempt;

-- name: ReplacementAttemptSet :exec
UPDATE interruption_launches SET status = @status, instance_id = @instance_id, error = @error
WHERE interruption_id = @interruption_id AND attempt = @attempt AND status = 'pending';

-- name: PodsOnNode :many
SELECT detail FROM pods WHERE cluster_id = @cluster_id AND node_name = @node_name ORDER BY namespace, pod_name;

-- name: NodeByInstance :one
-- The live node of an instance.
SELECT * FROM nodes WHERE cluster_id = @cluster_id AND instance_id = @instance_id AND terminated_at IS NULL
ORDER BY created_at DESC LIMIT 1;

-- name: NodeWatched :many
-- Instances that are live nodes, with their accounts.
SELECT c.customer_id, c.cluster_id, c.cluster_name, c.region, coalesce(cu.aws_role_arn, '')::text AS aws_role_arn,
    coalesce(cu.external_id, '')::text AS external_id, n.instance_id::text AS instance_id, n.node_type
FROM nodes n JOIN clusters c USING (cluster_id) JOIN customers cu USING (customer_id)
WHERE n.terminated_at IS NULL AND n.instance_id LIKE 'i-%' AND cu.status <> 'suspended'
ORDER BY cu.aws_role_arn, c.region, c.cluster_id, n.instance_id;

-- name: PoolRefuse :exec
INSERT INTO pool_refusals (account, region, availability_zone, instance_type, node_type, reason, until)
VALUES (@account, @region, @availability_zone, @instance_type, @node_type, @reason, now() + make_interval(secs => @seconds::float8))
ON CONFLICT (account, region, availability_zone, instance_type, node_type)
DO UPDATE SET until = greatest(pool_refusals.until, EXCLUDED.until), reason = EXCLUDED.reason;

-- name: PoolRefusals :many
SELECT instance_type, availability_zone, node_type FROM pool_refusals
WHERE account = @account AND region = @region AND until > now()
ORDER BY until DESC LIMIT 1024;

-- name: PoolRefusalsPrune :exec
DELETE FROM pool_refusals WHERE until < now() - interval '1 hour';

-- name: TurnTake :execrows
-- No row: another replica has made this round.
INSERT INTO turns (name, next_at) VALUES (@name, now() + make_interval(secs => @seconds::float8))
ON CONFLICT (name) DO UPDATE SET next_at = EXCLUDED.next_at WHERE turns.next_at <= now();
