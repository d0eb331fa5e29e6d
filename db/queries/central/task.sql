-- name: TaskCreate :one
-- The same cause makes the same id: writing it again changes nothing. Whatever an agent is told to do
-- to a node is in the audit log: in the same statement, as there may be thousands at once.
WITH made AS (
    INSERT INTO tasks (task_id, cluster_id, task_type, parameters, priority, deadline, created_by, traceparent, cause)
    VALUES (@task_id, @cluster_id, @task_type, @parameters, @priority, @deadline, @created_by, @traceparent, @cause)
    ON CONFLICT (task_id) DO NOTHING
    RETURNING task_id, cluster_id, task_type, parameters, deadline, created_by),
audited AS (
    INSERT INTO audit_log (actor, action, customer_id, cluster_id, subject, detail, request_id)
    SELECT m.created_by, 'task.' || m.task_type, c.customer_id, m.cluster_id, left(coalesce(m.parameters ->> 'node_name', ''), 255),
        jsonb_build_object('task_id', m.task_id, 'parameters', m.parameters, 'deadline', m.deadline), @request_id
    FROM made m JOIN clusters c USING (cluster_id))
SELECT count(*) FROM made;

-- name: TaskAudit :exec
-- How tasks ended, or that they are to end.
INSERT INTO audit_log (actor, action, customer_id, cluster_id, subject, detail, request_id)
SELECT @actor::text, 'task.' || t.task_type || '.' || @outcome::text, c.customer_id, t.cluster_id, left(coalesce(t.parameters ->> 'node_name', ''), 255),
    jsonb_build_object('task_id', t.task_id, 'status', t.status, 'error', coalesce(t.result ->> 'error', ''),
        'seconds', t.result -> 'duration_seconds', 'reason', coalesce(t.cancel_reason, '')), @request_id::text
FROM tasks t JOIN clusters c USING (cluster_id) WHERE t.task_id = ANY (@task_ids::uuid[]);

-- name: TaskLease :many
-- Hands the most urgent waiting tasks to a session, none less urgent than asked for;
-- none to a session that was superseded. A lease that a crash of PostgreSQL forgets
-- is given again, which is harmless, so nobody waits for the disk.
-- Materialized: a plan that ran the subquery again would lease more than the limit.
WITH next AS MATERIALIZED (
    SELECT t.task_id FROM tasks t
    WHERE t.cluster_id = @cluster_id AND t.finished_at IS NULL AND t.status = 'pending' AND t.deadline > now()
        AND t.cancel_reason IS NULL AND t.priority <= @least_urgent
        AND EXISTS (SELECT 1 FROM clusters c WHERE c.cluster_id = @cluster_id AND c.session_epoch = @session_epoch)
        AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
    ORDER BY t.priority, t.created_at, t.task_id
    LIMIT @max_tasks
    FOR UPDATE SKIP LOCKED)
UPDATE tasks SET status = 'leased', attempt = attempt + 1, session_epoch = @session_epoch,
    lease_until = now() + make_interval(secs => @lease_seconds::float8)
FROM next WHERE tasks.task_id = next.task_id
RETURNING tasks.*;

-- name: TaskPoll :many
-- What an agent that polls gets: everything not finished; waiting tasks are leased to it.
UPDATE tasks SET
    status = CASE WHEN status = 'pending' THEN 'leased' ELSE status END,
    attempt = CASE WHEN status = 'pending' THEN attempt + 1 ELSE attempt END,
    lease_until = now() + make_interval(secs => @lease_seconds::float8)
WHERE task_id IN (
    SELECT t.task_id FROM tasks t
    WHERE t.cluster_id = @cluster_id AND t.finished_at IS NULL AND t.deadline > now() AND t.cancel_reason IS NULL
    FOR UPDATE SKIP LOCKED)
RETURNING *;

-- name: TaskAccept :execrows
UPDATE tasks SET status = 'running', lease_until = now() + make_interval(secs => @lease_seconds::float8)
WHERE task_id = @task_id AND cluster_id = @cluster_id AND attempt = @attempt AND status IN ('leased', 'running');

-- name: TaskResume :one
-- An agent that still runs the task says so at hello: it keeps it.
UPDATE tasks SET status = 'running', session_epoch = @session_epoch, attempt = greatest(attempt, @attempt),
    lease_until = now() + make_interval(secs => @lease_seconds::float8)
WHERE task_id = @task_id AND cluster_id = @cluster_id AND finished_at IS NULL AND cancel_reason IS NULL
RETURNING task_id;

-- name: TaskProgress :one
-- No row: it has ended. A reason: it should stop. The next report makes up for one
-- that a crash forgets.
UPDATE tasks SET progress = @progress, status = 'running',
    lease_until = now() + make_interval(secs => @lease_seconds::float8)
WHERE (SELECT set_config('synchronous_commit', 'off', true)) = 'off' AND task_id = @task_id AND cluster_id = @cluster_id AND finished_at IS NULL
RETURNING cancel_reason;

-- name: TaskFinish :one
-- A result of an earlier attempt counts as long as nobody has begun the newer
-- one, and when it comes over the newest session: its agent was offered the newer
-- attempt too and does not do the work again. Attempt 0 is an agent that polls.
UPDATE tasks SET status = @status, result = @result, finished_at = now(), lease_until = NULL
WHERE task_id = @task_id AND tasks.cluster_id = @cluster_id AND finished_at IS NULL
    AND (@attempt::int = 0 OR @attempt >= tasks.attempt OR status <> 'running' OR EXISTS (
        SELECT 1 FROM clusters c WHERE c.cluster_id = tasks.cluster_id AND c.session_epoch = @session_epoch::bigint))
RETURNING *;

-- name: TaskLateResult :exec
INSERT INTO task_late_results (task_id, attempt, result) VALUES (@task_id, @attempt, @result);

-- name: TaskByID :one
SELECT * FROM tasks WHERE task_id = @task_id AND cluster_id = @cluster_id;

-- name: TaskByIDs :many
SELECT * FROM tasks WHERE task_id = ANY (@task_ids::uuid[]);

-- name: TaskRelease :many
-- Leases that ran out: the next session gets the task, unless nobody wants it any more.
UPDATE tasks SET status = CASE WHEN cancel_reason IS NULL THEN 'pending' ELSE 'cancelled' END,
    finished_at = CASE WHEN cancel_reason IS NULL THEN NULL ELSE now() END, lease_until = NULL
WHERE finished_at IS NULL AND status IN ('leased', 'running') AND lease_until < now()
RETURNING cluster_id;

-- name: TaskExpire :many
-- Past its deadline and a lease's grace, so that a result on its way still counts.
UPDATE tasks SET status = CASE WHEN cancel_reason IS NULL THEN 'timeout' ELSE 'cancelled' END, finished_at = now(), lease_until = NULL
WHERE finished_at IS NULL AND deadline < now() - make_interval(secs => @grace_seconds::float8)
RETURNING *;

-- name: TaskCancel :many
-- Waiting ones end here; those an agent has are asked to stop.
UPDATE tasks SET cancel_reason = @cancel_reason,
    status = CASE WHEN status = 'pending' THEN 'cancelled' ELSE status END,
    finished_at = CASE WHEN status = 'pending' THEN now() END
WHERE task_id = ANY (@task_ids::uuid[]) AND finished_at IS NULL AND cancel_reason IS NULL
RETURNING *;

-- name: TaskCancelled :many
-- Tasks of a session that should stop.
SELECT task_id, attempt, cancel_reason FROM tasks
WHERE cluster_id = @cluster_id AND finished_at IS NULL AND cancel_reason IS NOT NULL;

-- name: TaskPending :one
SELECT count(*)::int FROM tasks WHERE cluster_id = @cluster_id AND finished_at IS NULL AND status = 'pending';

-- name: TaskWaitingClusters :many
-- Where an agent has something to hear: of a task, or that it should stop one.
SELECT DISTINCT cluster_id FROM tasks WHERE finished_at IS NULL AND (status = 'pending' OR cancel_reason IS NOT NULL);
