-- name: OptimizationCreate :one
INSERT INTO optimization_history (cluster_id, optimization_type, options, requested_by, traceparent, approval, mode, dry_run, reason)
VALUES (@cluster_id, @optimization_type, @options, @requested_by, @traceparent, @approval, @mode, @dry_run, @reason)
RETURNING *;

-- name: OptimizationStepsCreate :exec
INSERT INTO optimization_steps (optimization_id, position, name)
SELECT @optimization_id, v.position, v.name
FROM (SELECT unnest(@positions::int[]) AS position, unnest(@names::text[]) AS name) v;

-- name: OptimizationByID :one
SELECT sqlc.embed(o), c.cluster_name, c.customer_id FROM optimizations o JOIN clusters c USING (cluster_id)
WHERE o.optimization_id = @optimization_id
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id));

-- name: OptimizationRequest :one
-- What ml was asked: megabytes.
SELECT request_data FROM optimization_history WHERE optimization_id = @optimization_id;

-- name: OptimizationOwned :one
SELECT EXISTS (SELECT FROM optimization_history o JOIN clusters c USING (cluster_id)
WHERE o.optimization_id = @optimization_id
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))) AS owned;

-- name: OptimizationList :many
-- By created_at or estimated_savings, down or up; behind the place that after names.
SELECT sqlc.embed(o), c.cluster_name, c.customer_id FROM optimizations o JOIN clusters c USING (cluster_id)
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR o.cluster_id = sqlc.narg(cluster_id))
  AND (@status::text = '' OR o.status = @status)
  AND (@optimization_type::text = '' OR o.optimization_type = @optimization_type)
  AND (@approval::text = '' OR o.approval = @approval)
  AND (@include_dry_runs::bool OR NOT o.dry_run)
  AND (NOT @has_after::bool
    OR (@by::text = 'created_at desc' AND (o.created_at, o.optimization_id) < (@after_at::timestamptz, @after_id::uuid))
    OR (@by = 'created_at' AND (o.created_at, o.optimization_id) > (@after_at, @after_id))
    OR (@by = 'estimated_savings desc' AND (coalesce(o.estimated_savings, 0), o.optimization_id) < (@after_savings::numeric, @after_id))
    OR (@by = 'estimated_savings' AND (coalesce(o.estimated_savings, 0), o.optimization_id) > (@after_savings, @after_id)))
ORDER BY
    CASE WHEN @by = 'created_at desc' THEN o.created_at END DESC,
    CASE WHEN @by = 'created_at' THEN o.created_at END,
    CASE WHEN @by = 'estimated_savings desc' THEN coalesce(o.estimated_savings, 0) END DESC,
    CASE WHEN @by = 'estimated_savings' THEN coalesce(o.estimated_savings, 0) END,
    CASE WHEN @by IN ('created_at desc', 'estimated_savings desc') THEN o.optimization_id END DESC,
    o.optimization_id
LIMIT @max_rows;

-- name: OptimizationLastDryRuns :many
-- The newest dry run of each kind in a cluster, and the newest that has ended well.
SELECT sqlc.embed(o), c.cluster_name, c.customer_id FROM optimizations o JOIN clusters c USING (cluster_id)
WHERE o.cluster_id = @cluster_id AND o.optimization_id IN (
    SELECT DISTINCT ON (d.optimization_type, d.status = 'completed') d.optimization_id FROM optimization_history d
    WHERE d.cluster_id = @cluster_id AND d.dry_run AND (d.requested_by = 'estimate' OR (d.requested_by <> 'policy' AND d.options = '{}'))
    ORDER BY d.optimization_type, d.status = 'completed', d.created_at DESC)
ORDER BY o.optimization_type, o.created_at DESC;

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
UPDATE optimization_history SET current_step = @next_step, wake_at = now()
WHERE optimization_id = @optimization_id AND current_step = @current_step AND generation = @generation
  AND status IN ('pending', 'executing') AND approval NOT IN ('awaiting', 'snoozed', 'recommended');

-- name: OptimizationBegin :execrows
-- Just before the first thing that is changed. No row: it is another's by now.
UPDATE optimization_history SET status = 'executing', executed_at = coalesce(executed_at, now())
WHERE optimization_id = @optimization_id AND generation = @generation AND status IN ('pending', 'executing')
  AND approval IN ('not_needed', 'approved') AND cancelled_at IS NULL AND NOT dry_run;

-- name: OptimizationWake :execrows
-- Says when the story will be looked at next.
UPDATE optimization_history SET wake_at = now() + make_interval(secs => @seconds::float8)
WHERE optimization_id = @optimization_id AND generation = @generation AND status IN ('pending', 'executing')
  AND approval NOT IN ('awaiting', 'snoozed', 'recommended');

-- name: OptimizationWait :execrows
-- No row: it waits for the same already. What follows on another wait counts from where that began, or the time
-- before would cost patience.
UPDATE optimization_history SET waiting_code = @code, waiting_message = @message, waiting_until = sqlc.narg(until)::timestamptz,
    waiting_since = coalesce(waiting_since, now())
WHERE optimization_id = @optimization_id AND status IN ('pending', 'executing')
  AND (waiting_code, waiting_message, coalesce(waiting_until, 'infinity')) IS DISTINCT FROM (@code, @message, coalesce(sqlc.narg(until)::timestamptz, 'infinity'));

-- name: OptimizationGoOn :exec
-- It waits for nothing any more; what it has waited costs the step in hand no patience.
WITH waited AS MATERIALIZED (
    SELECT o.optimization_id, o.current_step, o.waiting_since FROM optimization_history o
    WHERE o.optimization_id = @optimization_id AND o.waiting_code <> '' FOR UPDATE),
held AS (
    UPDATE optimization_steps s
    SET held_seconds = s.held_seconds + greatest(0, extract(epoch FROM now() - greatest(w.waiting_since, s.started_at)))
    FROM waited w WHERE s.optimization_id = w.optimization_id AND s.position = w.current_step AND s.started_at IS NOT NULL)
UPDATE optimization_history o SET waiting_code = '', waiting_message = '', waiting_since = NULL, waiting_until = NULL
FROM waited w WHERE o.optimization_id = w.optimization_id;

-- name: OptimizationRequested :exec
UPDATE optimization_history SET request_data = @request_data, cost_before_per_hour = @cost_before
WHERE optimization_id = @optimization_id;

-- name: OptimizationDecided :exec
UPDATE optimization_history SET recommendations = @recommendations, execution_plan = @execution_plan,
    estimated_savings = @estimated_savings
WHERE optimization_id = @optimization_id;

-- name: OptimizationPlanSet :exec
UPDATE optimization_history SET plan = @plan, plan_etag = gen_random_uuid(), plan_content = @plan_content, confidence_score = @confidence_score
WHERE optimization_id = @optimization_id;

-- name: OptimizationApprovalSet :execrows
-- While it plans, or when a plan that nobody had to approve needs it by now.
UPDATE optimization_history SET approval = @approval::text, promised_savings = NULL, promised_drains = NULL,
    expires_at = CASE WHEN @approval::text = 'awaiting' THEN now() + make_interval(secs => @expires_seconds::float8) END,
    waiting_code = CASE WHEN @approval::text = 'awaiting' THEN 'approval' ELSE '' END,
    waiting_message = CASE WHEN @approval::text = 'awaiting' THEN @message::text ELSE '' END,
    waiting_since = CASE WHEN @approval::text = 'awaiting' THEN now() END, waiting_until = NULL
WHERE optimization_id = @optimization_id AND status = 'pending' AND approval IN ('planning', 'not_needed', 'approved') AND cancelled_at IS NULL;

-- name: OptimizationLock :one
-- Until the transaction ends.
SELECT c.customer_id FROM optimization_history o JOIN clusters c USING (cluster_id)
WHERE o.optimization_id = @optimization_id
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
FOR NO KEY UPDATE OF o;

-- name: OptimizationApprove :one
-- A new generation: the job that planned has ended.
UPDATE optimization_history SET approval = 'approved', snoozed_until = NULL, expires_at = NULL, decided_by = @decided_by, decided_at = now(),
    decision_reason = @decision_reason, generation = generation + 1, wake_at = now(),
    waiting_code = '', waiting_message = '', waiting_since = NULL, waiting_until = NULL
WHERE optimization_id = @optimization_id AND status = 'pending' AND approval IN ('awaiting', 'snoozed')
RETURNING generation;

-- name: OptimizationSnooze :execrows
UPDATE optimization_history SET approval = 'snoozed', snoozed_until = @until::timestamptz, expires_at = NULL, decided_by = @decided_by, decided_at = now(),
    decision_reason = @decision_reason, waiting_code = 'approval', waiting_message = 'snoozed', waiting_until = @until::timestamptz,
    waiting_since = coalesce(waiting_since, now())
WHERE optimization_id = @optimization_id AND status = 'pending' AND approval IN ('awaiting', 'snoozed');

-- name: OptimizationDrop :many
-- Plans that will not run, and why.
UPDATE optimization_history SET status = 'cancelled', approval = @approval, completed_at = now(), snoozed_until = NULL, expires_at = NULL,
    decided_by = CASE WHEN @decided_by::text = '' THEN decided_by ELSE @decided_by::text END,
    decided_at = CASE WHEN @decided_by::text = '' THEN decided_at ELSE now() END,
    decision_reason = CASE WHEN @decided_by::text = '' THEN decision_reason ELSE @decision_reason::text END,
    error_message = @error_message, waiting_code = '', waiting_message = '', waiting_since = NULL, waiting_until = NULL
WHERE optimization_id = ANY (@optimization_ids::uuid[]) AND status = 'pending' AND approval IN ('awaiting', 'snoozed', 'recommended')
RETURNING optimization_id, cluster_id;

-- name: OptimizationUndecided :many
-- Plans of a kind in a cluster that nobody has let run, in the order of their ids, as whoever writes many.
SELECT optimization_id, approval, plan_content, created_at, snoozed_until FROM optimization_history
WHERE cluster_id = @cluster_id AND optimization_type = @optimization_type AND approval IN ('awaiting', 'snoozed', 'recommended') AND status = 'pending'
    AND optimization_id <> @except_id
ORDER BY optimization_id FOR NO KEY UPDATE;

-- name: OptimizationHide :exec
-- A plan made unasked that came to nothing is not worth a line among those that did.
UPDATE optimization_history SET dry_run = true WHERE optimization_id = @optimization_id;

-- name: OptimizationSnoozeOver :many
UPDATE optimization_history SET approval = 'awaiting', snoozed_until = NULL, expires_at = now() + make_interval(secs => @expires_seconds::float8),
    waiting_message = 'waits for approval', waiting_until = NULL
WHERE optimization_id IN (
    SELECT o.optimization_id FROM optimization_history o WHERE o.approval = 'snoozed' AND o.snoozed_until <= now()
    ORDER BY o.optimization_id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING optimization_id, cluster_id;

-- name: OptimizationExpired :many
SELECT optimization_id FROM optimization_history WHERE approval = 'awaiting' AND expires_at <= now()
ORDER BY optimization_id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED;

-- name: OptimizationCancelAsk :one
-- The job of the new generation rolls it back.
UPDATE optimization_history SET cancelled_at = now(), decided_by = @decided_by, decided_at = now(), decision_reason = @decision_reason,
    generation = generation + 1, wake_at = now()
WHERE optimization_id = @optimization_id AND status IN ('pending', 'executing') AND approval NOT IN ('awaiting', 'snoozed', 'recommended')
    AND cancelled_at IS NULL
RETURNING generation;

-- name: OptimizationRemake :execrows
-- Back to the first step, with what was promised: the cluster has outgrown the plan before anything was changed.
WITH story AS (
    UPDATE optimization_history o SET current_step = 1, wake_at = now(),
        promised_savings = CASE WHEN o.approval = 'approved' THEN o.estimated_savings END,
        promised_drains = CASE WHEN o.approval = 'approved' THEN (SELECT count(*) FROM optimization_nodes n WHERE n.optimization_id = o.optimization_id) END,
        approval = CASE WHEN o.approval = 'not_needed' THEN 'planning' ELSE o.approval END
    WHERE o.optimization_id = @optimization_id AND o.generation = @generation AND o.status = 'pending' AND o.approval IN ('approved', 'not_needed')
    RETURNING o.optimization_id),
launches AS (DELETE FROM optimization_launches l USING story WHERE l.optimization_id = story.optimization_id),
nodes AS (DELETE FROM optimization_nodes n USING story WHERE n.optimization_id = story.optimization_id)
UPDATE optimization_steps s SET status = 'pending', started_at = NULL, finished_at = NULL, held_seconds = 0, error = @why,
    detail = CASE WHEN s.position = 1 THEN s.detail || jsonb_build_object('remade', coalesce((s.detail ->> 'remade')::int, 0) + 1) ELSE s.detail END
FROM story WHERE s.optimization_id = story.optimization_id AND s.position <= 3;

-- name: OptimizationUsage :one
-- What the guard needs to know of a cluster. Nodes that are drained for AWS count among those at once.
SELECT c.customer_id, c.cluster_name, c.last_seen_at, (SELECT cu.company_name FROM customers cu WHERE cu.customer_id = c.customer_id) AS company_name,
    (SELECT count(*) FROM nodes n WHERE n.cluster_id = c.cluster_id AND n.terminated_at IS NULL)::int AS nodes,
    ((SELECT count(*) FROM optimization_nodes n JOIN optimization_history o USING (optimization_id)
        WHERE o.cluster_id = c.cluster_id AND o.status = 'executing' AND n.status = 'draining')
    + (SELECT count(*) FROM interruptions i WHERE i.cluster_id = c.cluster_id AND i.closed_at IS NULL AND i.state = 'draining'))::int AS draining,
    (SELECT coalesce(array_agg(n.drain_began_at ORDER BY n.drain_began_at), '{}') FROM optimization_nodes n JOIN optimization_history o USING (optimization_id)
        WHERE o.cluster_id = c.cluster_id AND n.drain_began_at > now() - interval '1 hour')::timestamptz[] AS began
FROM clusters c WHERE c.cluster_id = @cluster_id;

-- name: PlanRoundTake :execrows
-- No row: another has begun this round, or it is not due yet.
INSERT INTO plan_rounds (cluster_id, purpose, engine) VALUES (@cluster_id, @purpose, @engine)
ON CONFLICT (cluster_id, purpose, engine) DO UPDATE SET began_at = now()
    WHERE plan_rounds.began_at <= now() - make_interval(secs => @every_seconds::float8);

-- name: PlanRoundsDue :many
-- Clusters that are heard of, with nodes that all have prices, whose last round of the purpose is so long ago; the longest first.
SELECT c.cluster_id FROM clusters c
WHERE c.status = 'active' AND c.inventory_at IS NOT NULL AND c.last_seen_at > now() - interval '1 minute'
    AND EXISTS (SELECT 1 FROM nodes n WHERE n.cluster_id = c.cluster_id AND n.terminated_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.cluster_id = c.cluster_id AND n.terminated_at IS NULL AND n.hourly_price IS NULL AND n.instance_type <> '')
    AND (SELECT count(*) FROM plan_rounds r WHERE r.cluster_id = c.cluster_id AND r.purpose = @purpose
        AND r.began_at > now() - make_interval(secs => @every_seconds::float8)) < @engines::int
ORDER BY (SELECT max(r.began_at) FROM plan_rounds r WHERE r.cluster_id = c.cluster_id AND r.purpose = @purpose) NULLS FIRST, c.cluster_id
LIMIT @max_rows;

-- name: OptimizationDecisionSet :exec
INSERT INTO optimization_decisions (optimization_id, decision) VALUES (@optimization_id, @decision)
ON CONFLICT (optimization_id) DO UPDATE SET decision = excluded.decision, decided_at = now();

-- name: OptimizationDecision :one
SELECT decision FROM optimization_decisions WHERE optimization_id = @optimization_id;

-- name: OptimizationFinish :execrows
UPDATE optimization_history SET status = @status, completed_at = now(), error_message = nullif(@error_message::text, ''),
    actual_savings = @actual_savings, cost_after_per_hour = @cost_after,
    approval = CASE WHEN approval = 'planning' THEN 'not_needed' ELSE approval END,
    waiting_code = '', waiting_message = '', waiting_since = NULL, waiting_until = NULL
WHERE optimization_id = @optimization_id AND status IN ('pending', 'executing');

-- name: OptimizationOrphans :many
-- Stories nobody looks at: a new generation fences a job that may still be running.
UPDATE optimization_history SET generation = generation + 1, wake_at = now()
WHERE status IN ('pending', 'executing') AND approval NOT IN ('awaiting', 'snoozed', 'recommended') AND wake_at < now() - make_interval(secs => @late_seconds::float8)
RETURNING optimization_id, generation;

-- name: AdvisoryLock :one
-- Held by the session, hence gone with the process that held it.
SELECT pg_try_advisory_lock(hashtextextended(@key::text, 0));

-- name: AdvisoryUnlock :one
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

-- name: ReplacedDraining :exec
-- Its drain begins.
UPDATE optimization_nodes SET status = 'draining', error = '', drain_began_at = now()
WHERE optimization_id = @optimization_id AND node_name = @node_name;

-- name: ReplacedAgain :exec
-- A stop cut its cordon or drain short, which is tried again as another piece of work. A drain that came to nothing
-- is not held against the hour.
UPDATE optimization_nodes SET status = 'pending', error = @error, round = round + 1, drain_began_at = NULL
WHERE optimization_id = @optimization_id AND node_name = @node_name AND status IN ('pending', 'draining');

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
WHERE o.status = 'completed' AND NOT o.dry_run AND o.cost_before_per_hour IS NOT NULL AND o.cost_after_per_hour IS NOT NULL AND c.disconnected_at IS NULL
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR o.cluster_id = sqlc.narg(cluster_id));

-- name: OptimizationsLeave :many
-- Ends what runs in a cluster that is disconnected; no job of it goes on.
WITH ended AS (
    UPDATE optimization_history SET status = 'cancelled', completed_at = now(), generation = generation + 1, error_message = @message::text,
        approval = CASE WHEN approval IN ('awaiting', 'snoozed', 'recommended') THEN 'expired' WHEN approval = 'planning' THEN 'not_needed' ELSE approval END,
        snoozed_until = NULL, expires_at = NULL, waiting_code = '', waiting_message = '', waiting_since = NULL, waiting_until = NULL
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

-- name: PlanCandidates :many
-- Clusters that are heard of and priced, and whose mode lets plans be kept; behind the one that after names.
SELECT c.cluster_id FROM clusters c
LEFT JOIN policies own ON own.cluster_id = c.cluster_id AND own.namespace = ''
LEFT JOIN policies around ON around.customer_id = c.customer_id AND around.cluster_id IS NULL
WHERE c.cluster_id > @after AND c.status = 'active' AND c.inventory_at IS NOT NULL AND c.last_seen_at > now() - interval '1 minute'
    AND coalesce(own.rules ->> 'mode', around.rules ->> 'mode', 'read_only') <> 'read_only'
    AND EXISTS (SELECT 1 FROM nodes n WHERE n.cluster_id = c.cluster_id AND n.terminated_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.cluster_id = c.cluster_id AND n.terminated_at IS NULL AND n.hourly_price IS NULL AND n.instance_type <> '')
ORDER BY c.cluster_id
LIMIT @max_rows;

-- name: PlanRounds :many
SELECT cluster_id, engine, began_at FROM plan_rounds WHERE purpose = @purpose AND cluster_id = ANY (@cluster_ids::uuid[]);

-- name: PlanRoundSoonAgain :exec
-- A round that came to nothing is due again sooner.
UPDATE plan_rounds SET began_at = now() - make_interval(secs => @ago_seconds::float8)
WHERE cluster_id = @cluster_id AND purpose = @purpose AND engine = @engine;

-- name: OptimizationPruneDryRuns :execrows
-- Dry runs that CloudOptim made by itself, but for the newest of each kind.
DELETE FROM optimization_history o
WHERE o.dry_run AND o.requested_by IN ('estimate', 'policy') AND o.completed_at < now() - make_interval(secs => @keep_seconds::float8)
    AND EXISTS (SELECT 1 FROM optimization_history n WHERE n.cluster_id = o.cluster_id AND n.optimization_type = o.optimization_type
        AND n.dry_run AND n.requested_by = o.requested_by AND n.created_at > o.created_at);
