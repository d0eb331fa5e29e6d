-- +goose Up
-- Office hours: workloads that sleep, and the story of how they were put to sleep and woken. ml gets no
-- rights to these tables: it is told in each question.

ALTER TABLE tasks DROP CONSTRAINT tasks_task_type_check, ADD CONSTRAINT tasks_task_type_check
    CHECK (task_type IN ('label_node', 'taint_node', 'cordon_node', 'uncordon_node', 'drain_node', 'scale_workload'));

CREATE TABLE schedules (
    schedule_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cluster_id   uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    name         varchar(128) NOT NULL CHECK (name <> ''),
    -- admin.v1.Schedule as JSON: calendar, scope, wake_order and lead_minutes alone.
    detail       jsonb NOT NULL,
    enabled      boolean NOT NULL,
    -- New with every change of what people set.
    etag         uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Awake until then, whatever the calendar says.
    wake_until   timestamptz,
    -- How far it is; a disabled or deleted one ends awake.
    phase        varchar(16) NOT NULL DEFAULT 'awake' CHECK (phase IN ('awake', 'falling_asleep', 'asleep', 'waking')),
    -- What keeps it from acting, for people; empty: nothing.
    held_because text NOT NULL DEFAULT '',
    -- Counts runs, which are named by it: a run is begun once.
    generation   bigint NOT NULL DEFAULT 0,
    -- A wake that failed is tried again then.
    retry_at     timestamptz,
    -- Whoever follows it up has it until then.
    look_at      timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    updated_by   varchar(255) NOT NULL DEFAULT '',
    deleted_at   timestamptz,
    CHECK (deleted_at IS NULL OR NOT enabled)
);
CREATE UNIQUE INDEX schedules_name ON schedules (cluster_id, name) WHERE deleted_at IS NULL;
CREATE INDEX schedules_look ON schedules (look_at);

-- Workloads that sleep by our hand, or may: a row is there before the task is, and goes when it is awake for sure.
CREATE TABLE schedule_workloads (
    schedule_id uuid NOT NULL REFERENCES schedules (schedule_id) ON DELETE CASCADE,
    namespace   varchar(63) NOT NULL,
    kind        varchar(16) NOT NULL CHECK (kind IN ('Deployment', 'StatefulSet')),
    name        varchar(253) NOT NULL,
    -- The agent said so.
    asleep      boolean NOT NULL DEFAULT false,
    replicas    int NOT NULL DEFAULT 0 CHECK (replicas >= 0),
    since       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, namespace, kind, name)
);

CREATE TABLE schedule_runs (
    run_id      uuid PRIMARY KEY,
    schedule_id uuid NOT NULL REFERENCES schedules (schedule_id) ON DELETE CASCADE,
    action      varchar(8) NOT NULL CHECK (action IN ('sleep', 'wake')),
    reason      varchar(16) NOT NULL CHECK (reason IN ('calendar', 'holiday', 'exception', 'wake_now', 'disabled', 'deleted')),
    -- When it was due.
    due_at      timestamptz NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    status      varchar(16) NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'failed')),
    -- Workloads scaled.
    workloads   int NOT NULL DEFAULT 0 CHECK (workloads >= 0),
    problems    text[] NOT NULL DEFAULT '{}',
    CHECK ((status = 'running') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX schedule_runs_open ON schedule_runs (schedule_id) WHERE finished_at IS NULL;
CREATE INDEX schedule_runs_newest ON schedule_runs (schedule_id, started_at DESC, run_id);

-- What a run does to each workload.
CREATE TABLE schedule_run_workloads (
    run_id    uuid NOT NULL REFERENCES schedule_runs (run_id) ON DELETE CASCADE,
    namespace varchar(63) NOT NULL,
    kind      varchar(16) NOT NULL CHECK (kind IN ('Deployment', 'StatefulSet')),
    name      varchar(253) NOT NULL,
    -- Stages go one after the other, from 0.
    stage     int NOT NULL CHECK (stage >= 0),
    -- How long a wake waits until it is ready.
    ready_seconds int NOT NULL DEFAULT 0 CHECK (ready_seconds >= 0),
    attempt   int NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    -- The task of the attempt; null: its stage has not come, or it is tried again at retry_at.
    task_id   uuid,
    retry_at  timestamptz,
    -- Empty: not done yet.
    outcome   varchar(16) NOT NULL DEFAULT '' CHECK (outcome IN ('', 'slept', 'woken', 'scaled_by_hand', 'left_alone', 'gone', 'failed', 'abandoned')),
    PRIMARY KEY (run_id, namespace, kind, name)
);

-- +goose Down
DROP TABLE schedule_run_workloads, schedule_runs, schedule_workloads, schedules;
-- What the older schema has no word for.
DELETE FROM tasks WHERE task_type = 'scale_workload';
ALTER TABLE tasks DROP CONSTRAINT tasks_task_type_check, ADD CONSTRAINT tasks_task_type_check
    CHECK (task_type IN ('label_node', 'taint_node', 'cordon_node', 'uncordon_node', 'drain_node'));
