-- name: ScheduleCreate :one
INSERT INTO schedules (cluster_id, name, detail, enabled, updated_by)
VALUES (@cluster_id, @name, @detail, @enabled, @updated_by)
RETURNING *;

-- name: ScheduleByID :one
-- Deleted ones too: whose they were still counts.
SELECT s.* FROM schedules s JOIN clusters c USING (cluster_id)
WHERE s.schedule_id = @schedule_id AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id));

-- name: ScheduleLock :one
SELECT * FROM schedules WHERE schedule_id = @schedule_id FOR NO KEY UPDATE;

-- name: ScheduleList :many
SELECT s.* FROM schedules s JOIN clusters c USING (cluster_id)
WHERE s.deleted_at IS NULL
  AND (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (sqlc.narg(cluster_id)::uuid IS NULL OR s.cluster_id = sqlc.narg(cluster_id))
  AND (sqlc.narg(after_name)::text IS NULL OR (s.name, s.schedule_id) > (sqlc.narg(after_name), @after_id::uuid))
ORDER BY s.name, s.schedule_id
LIMIT @max_rows;

-- name: ScheduleUpdate :one
UPDATE schedules SET name = @name, detail = @detail, enabled = @enabled, etag = gen_random_uuid(), updated_at = now(),
    updated_by = @updated_by, look_at = now(), retry_at = NULL
WHERE schedule_id = @schedule_id AND deleted_at IS NULL
RETURNING *;

-- name: ScheduleDelete :execrows
-- No row: it was deleted before.
UPDATE schedules SET enabled = false, deleted_at = now(), updated_at = now(), updated_by = @updated_by, look_at = now(), retry_at = NULL,
    etag = gen_random_uuid()
WHERE schedule_id = @schedule_id AND deleted_at IS NULL;

-- name: ScheduleWake :one
UPDATE schedules SET wake_until = sqlc.narg(wake_until), updated_at = now(), updated_by = @updated_by, look_at = now(), etag = gen_random_uuid()
WHERE schedule_id = @schedule_id AND deleted_at IS NULL
RETURNING *;

-- name: ScheduleClaim :many
-- Takes those whose time has come: nobody else looks at them for a while.
UPDATE schedules SET look_at = now() + make_interval(secs => @lease_seconds::float8)
WHERE schedule_id IN (
    SELECT s.schedule_id FROM schedules s JOIN clusters c USING (cluster_id)
    WHERE s.look_at <= now() AND c.disconnected_at IS NULL
    ORDER BY s.look_at LIMIT @max_rows FOR UPDATE OF s SKIP LOCKED)
RETURNING schedule_id;

-- name: ScheduleLook :exec
-- Not when somebody has changed it meanwhile: then its time has come already.
UPDATE schedules SET look_at = now() + make_interval(secs => @seconds::float8)
WHERE schedule_id = @schedule_id AND look_at > now();

-- name: ScheduleSave :exec
UPDATE schedules SET phase = @phase, held_because = @held_because, generation = @generation, retry_at = sqlc.narg(retry_at)
WHERE schedule_id = @schedule_id;

-- name: SleeperList :many
SELECT * FROM schedule_workloads WHERE schedule_id = @schedule_id ORDER BY namespace, kind, name;

-- name: SleeperCount :many
SELECT schedule_id, count(*)::int AS workloads FROM schedule_workloads
WHERE schedule_id = ANY (@schedule_ids::uuid[]) AND asleep GROUP BY schedule_id;

-- name: SleeperNote :exec
-- It may sleep from now on.
INSERT INTO schedule_workloads (schedule_id, namespace, kind, name) VALUES (@schedule_id, @namespace, @kind, @name)
ON CONFLICT (schedule_id, namespace, kind, name) DO NOTHING;

-- name: SleeperAsleep :exec
UPDATE schedule_workloads SET asleep = true, replicas = @replicas
WHERE schedule_id = @schedule_id AND namespace = @namespace AND kind = @kind AND name = @name;

-- name: SleeperGone :exec
DELETE FROM schedule_workloads WHERE schedule_id = @schedule_id AND namespace = @namespace AND kind = @kind AND name = @name;

-- name: ScheduleRunCreate :exec
INSERT INTO schedule_runs (run_id, schedule_id, action, reason, due_at, started_at)
VALUES (@run_id, @schedule_id, @action, @reason, @due_at, @started_at);

-- name: ScheduleRunOpen :one
SELECT * FROM schedule_runs WHERE schedule_id = @schedule_id AND finished_at IS NULL;

-- name: ScheduleRunSave :exec
UPDATE schedule_runs SET status = @status, finished_at = sqlc.narg(finished_at), workloads = @workloads, problems = @problems
WHERE run_id = @run_id;

-- name: ScheduleRunList :many
SELECT * FROM schedule_runs
WHERE schedule_id = @schedule_id
  AND (sqlc.narg(after_at)::timestamptz IS NULL OR (started_at, run_id) < (sqlc.narg(after_at), @after_id::uuid))
ORDER BY started_at DESC, run_id DESC
LIMIT @max_rows;

-- name: RunWorkloadCreate :exec
INSERT INTO schedule_run_workloads (run_id, namespace, kind, name, stage, ready_seconds)
VALUES (@run_id, @namespace, @kind, @name, @stage, @ready_seconds);

-- name: RunWorkloadList :many
SELECT * FROM schedule_run_workloads WHERE run_id = @run_id ORDER BY stage, namespace, kind, name;

-- name: RunWorkloadSave :exec
UPDATE schedule_run_workloads SET attempt = @attempt, task_id = sqlc.narg(task_id), retry_at = sqlc.narg(retry_at), outcome = @outcome
WHERE run_id = @run_id AND namespace = @namespace AND kind = @kind AND name = @name;

-- name: ScheduleLeave :one
-- Ends all of a cluster that leaves: nobody is there who could put to sleep or wake. What sleeps stays asleep.
-- Returns how many were enabled, and how many workloads sleep.
WITH ended AS (
    UPDATE schedule_runs r SET status = 'failed', finished_at = greatest(now(), r.started_at), problems = r.problems || @why::text
    FROM schedules s
    WHERE s.schedule_id = r.schedule_id AND s.cluster_id = @cluster_id AND r.finished_at IS NULL
    RETURNING r.run_id),
abandoned AS (
    UPDATE schedule_run_workloads w SET outcome = 'abandoned' FROM ended WHERE w.run_id = ended.run_id AND w.outcome = ''),
sleepers AS (
    SELECT w.schedule_id, count(*) AS workloads FROM schedule_workloads w JOIN schedules s USING (schedule_id)
    WHERE s.cluster_id = @cluster_id GROUP BY w.schedule_id),
disabled AS (
    UPDATE schedules s SET enabled = false, wake_until = NULL, retry_at = NULL, generation = s.generation + 1, etag = gen_random_uuid(),
        updated_at = now(),
        phase = CASE WHEN EXISTS (SELECT FROM sleepers p WHERE p.schedule_id = s.schedule_id) THEN 'asleep' ELSE 'awake' END,
        held_because = CASE WHEN EXISTS (SELECT FROM sleepers p WHERE p.schedule_id = s.schedule_id) THEN @why ELSE '' END
    WHERE s.cluster_id = @cluster_id)
SELECT (SELECT count(*) FROM schedules s WHERE s.cluster_id = @cluster_id AND s.enabled)::int AS schedules,
    coalesce((SELECT sum(workloads) FROM sleepers), 0)::int AS workloads;
