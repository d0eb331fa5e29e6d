-- name: OptimizationCreate :one
INSERT INTO optimization_history (cluster_id, optimization_type, options, requested_by, traceparent)
VALUES (@cluster_id, @optimization_type, @options, @requested_by, @traceparent)
RETURNING *;

-- name: OptimizationStepsCreate :exec
INSERT INTO optimization_steps (optimization_id, position, name)
SELECT @optimization_id, v.position, v.name
FROM (SELECT unnest(@positions::int[]) AS position, unnest(@names::text[]) AS name) v;

-- name: OptimizationByID :one
SELECT o.* FROM optimization_history o JOIN clusters c USING (cluster_id)
WHERE o.optimization_id = @optimization_id
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id));

-- name: OptimizationList :many
SELECT o.* FROM optimization_history o JOIN clusters c USING (cluster_id)
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR o.cluster_id = sqlc.narg(cluster_id))
ORDER BY o.created_at DESC
LIMIT @max_rows;

-- name: OptimizationSteps :many
SELECT * FROM optimization_steps WHERE optimization_id = @optimization_id ORDER BY position;

-- name: OptimizationStepBegin :exec
UPDATE optimization_steps SET status = 'running', started_at = coalesce(started_at, now())
WHERE optimization_id = @optimization_id AND position = @position AND status IN ('pending', 'running');

-- name: OptimizationStepNote :exec
UPDATE optimization_steps SET detail = detail || @detail::jsonb, error = @error
WHERE optimization_id = @optimization_id AND position = @position;

-- name: OptimizationStepEnd :exec
UPDATE optimization_steps SET status = @status, finished_at = now(), started_at = coalesce(started_at, now()),
    detail = detail || @detail::jsonb, error = @error
WHERE optimization_id = @optimization_id AND position = @position;

-- name: OptimizationStepsSkip :exec
UPDATE optimization_steps SET status = 'skipped'
WHERE optimization_id = @optimization_id AND status = 'pending';

-- name: OptimizationAdvance :execrows
-- Only the story job of this generation at this step may move it on.
UPDATE optimization_history SET current_step = @next_step, status = 'executing', wake_at = now(),
    executed_at = coalesce(executed_at, now())
WHERE optimization_id = @optimization_id AND current_step = @current_step AND generation = @generation
  AND status IN ('pending', 'executing');

-- name: OptimizationWake :execrows
-- Says when the story will be looked at next.
UPDATE optimization_history SET wake_at = now() + make_interval(secs => @seconds::float8)
WHERE optimization_id = @optimization_id AND generation = @generation AND status IN ('pending', 'executing');

-- name: OptimizationRequested :exec
UPDATE optimization_history SET request_data = @request_data, cost_before_per_hour = @cost_before
WHERE optimization_id = @optimization_id;

-- name: OptimizationDecided :exec
UPDATE optimization_history SET recommendations = @recommendations, execution_plan = @execution_plan,
    estimated_savings = @estimated_savings
WHERE optimization_id = @optimization_id;

-- name: OptimizationDecisionSet :exec
INSERT INTO optimization_decisions (optimization_id, decision) VALUES (@optimization_id, @decision)
ON CONFLICT (optimization_id) DO UPDATE SET decision = excluded.decision, decided_at = now();

-- name: OptimizationDecision :one
SELECT decision FROM optimization_decisions WHERE optimization_id = @optimization_id;

-- name: OptimizationFinish :execrows
UPDATE optimization_history SET status = @status, completed_at = now(), error_message = nullif(@error_message::text, ''),
    actual_savings = @actual_savings, cost_after_per_hour = @cost_after
WHERE optimization_id = @optimization_id AND status IN ('pending', 'executing');

-- name: OptimizationOrphans :many
-- Stories nobody looks at: a new generation fences a job that may still be running.
UPDATE optimization_history SET generation = generation + 1, wake_at = now()
WHERE status IN ('pending', 'executing') AND wake_at < now() - make_interval(secs => @late_seconds::float8)
RETURNING optimization_id, generation;

-- name: OptimizationLock :one
-- Held by the session, hence gone with the process that held it.
SELECT pg_try_advisory_lock(hashtextextended(@key::text, 0));

-- name: OptimizationUnlock :one
SELECT pg_advisory_unlock(hashtextextended(@key::text, 0));

-- name: LaunchCreate :exec
INSERT INTO optimization_launches (optimization_id, launch_index, client_token, instance_type, availability_zone, node_type,
    node_count, hourly_price, on_demand_hourly_price)
VALUES (@optimization_id, @launch_index, @client_token, @instance_type, @availability_zone, @node_type, @node_count,
    @hourly_price, @on_demand_hourly_price)
ON CONFLICT (optimization_id, launch_index) DO NOTHING;

-- name: LaunchList :many
SELECT * FROM optimization_launches WHERE optimization_id = @optimization_id ORDER BY launch_index;

-- name: LaunchSet :exec
UPDATE optimization_launches SET status = @status, instance_ids = @instance_ids, error = @error
WHERE optimization_id = @optimization_id AND launch_index = @launch_index;

-- name: LaunchedNodes :many
-- Nodes that the launched instances became.
SELECT n.node_name, n.instance_id::text AS instance_id, n.status
FROM optimization_launches l
JOIN optimization_history o USING (optimization_id)
JOIN nodes n ON n.cluster_id = o.cluster_id AND n.instance_id = ANY (l.instance_ids)
WHERE l.optimization_id = @optimization_id;

-- name: ReplacedCreateMany :exec
INSERT INTO optimization_nodes (optimization_id, position, node_name, instance_id, hourly_price)
SELECT @optimization_id, v.position, v.node_name, v.instance_id, v.hourly_price
FROM (SELECT unnest(@positions::int[]) AS position, unnest(@node_names::text[]) AS node_name,
    unnest(@instance_ids::text[]) AS instance_id, unnest(@hourly_prices::float8[]) AS hourly_price) v
ON CONFLICT (optimization_id, node_name) DO NOTHING;

-- name: ReplacedList :many
SELECT * FROM optimization_nodes WHERE optimization_id = @optimization_id ORDER BY position;

-- name: ReplacedSet :exec
UPDATE optimization_nodes SET status = @status, error = @error
WHERE optimization_id = @optimization_id AND node_name = ANY (@node_names::text[]);

-- name: OptimizationEffects :many
-- What each completed optimization saved per hour, and how much of what it launched still runs.
SELECT o.optimization_id, o.cluster_id, (o.cost_before_per_hour - o.cost_after_per_hour)::float8 AS saved_per_hour,
    coalesce((SELECT sum(l.node_count) FROM optimization_launches l WHERE l.optimization_id = o.optimization_id AND l.status = 'launched'), 0)::float8 AS launched,
    coalesce((SELECT count(*) FROM optimization_launches l JOIN nodes n ON n.cluster_id = o.cluster_id AND n.instance_id = ANY (l.instance_ids)
        WHERE l.optimization_id = o.optimization_id AND l.status = 'launched' AND n.terminated_at IS NULL), 0)::float8 AS alive
FROM optimization_history o JOIN clusters c USING (cluster_id)
WHERE o.status = 'completed' AND o.cost_before_per_hour IS NOT NULL AND o.cost_after_per_hour IS NOT NULL AND c.disconnected_at IS NULL
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR o.cluster_id = sqlc.narg(cluster_id));

-- name: OptimizationsLeave :many
-- Ends what runs in a cluster that is disconnected; no job of it goes on.
WITH ended AS (
    UPDATE optimization_history SET status = 'cancelled', completed_at = now(), generation = generation + 1, error_message = @message::text
    WHERE cluster_id = @cluster_id AND status IN ('pending', 'executing')
    RETURNING optimization_id),
steps AS (
    UPDATE optimization_steps s SET status = CASE WHEN s.status = 'running' THEN 'failed' ELSE 'skipped' END,
        finished_at = CASE WHEN s.status = 'running' THEN now() END, error = CASE WHEN s.status = 'running' THEN @message::text ELSE s.error END
    FROM ended WHERE s.optimization_id = ended.optimization_id AND s.status IN ('pending', 'running'))
SELECT optimization_id FROM ended;

-- name: OptimizationLeftovers :one
-- How an ended story's cluster was when it was disconnected, and which of the story's old nodes were cordoned then.
SELECT c.disconnected_at, c.last_seen_at,
    coalesce((SELECT array_agg(r.node_name ORDER BY r.position) FROM optimization_nodes r
        JOIN nodes n ON n.cluster_id = o.cluster_id AND n.node_name = r.node_name AND n.instance_id = r.instance_id
        WHERE r.optimization_id = o.optimization_id AND r.status <> 'terminated' AND (n.detail ->> 'unschedulable')::bool), '{}')::text[] AS cordoned
FROM optimization_history o JOIN clusters c USING (cluster_id)
WHERE o.optimization_id = @optimization_id;

-- name: OptimizationRemark :exec
UPDATE optimization_history SET error_message = @message::text WHERE optimization_id = @optimization_id AND status = 'cancelled';
