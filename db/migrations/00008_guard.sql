-- +goose Up
-- How far CloudOptim may go by itself, and what stops it.

-- What was set for a customer, one of its clusters, or a namespace in a cluster.
CREATE TABLE policies (
    policy_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    customer_id uuid NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    cluster_id  uuid REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    namespace   varchar(63) NOT NULL DEFAULT '',
    -- admin.v1.PolicyValues as JSON; what is not in it is inherited.
    rules       jsonb NOT NULL CHECK (rules <> '{}'),
    -- New with every change, so that it never comes back when a policy is taken away and set again.
    etag        uuid NOT NULL DEFAULT gen_random_uuid(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  varchar(255) NOT NULL DEFAULT '',
    CHECK (namespace = '' OR cluster_id IS NOT NULL),
    UNIQUE NULLS NOT DISTINCT (customer_id, cluster_id, namespace)
);
CREATE INDEX policies_cluster ON policies (cluster_id) WHERE cluster_id IS NOT NULL;

-- Everything disruptive in a scope stands still until it is lifted.
CREATE TABLE stops (
    stop_id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    scope                 varchar(16) NOT NULL CHECK (scope IN ('platform', 'customer', 'cluster')),
    customer_id           uuid REFERENCES customers (customer_id) ON DELETE CASCADE,
    cluster_id            uuid REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    reason                varchar(255) NOT NULL CHECK (reason <> ''),
    include_interruptions boolean NOT NULL DEFAULT false,
    created_at            timestamptz NOT NULL DEFAULT now(),
    created_by            varchar(255) NOT NULL DEFAULT '',
    lifted_at             timestamptz,
    lifted_by             varchar(255) NOT NULL DEFAULT '',
    lift_reason           varchar(255) NOT NULL DEFAULT '',
    drains_cancelled      int NOT NULL DEFAULT 0 CHECK (drains_cancelled >= 0),
    CHECK ((scope = 'platform') = (customer_id IS NULL)),
    CHECK ((scope = 'cluster') = (cluster_id IS NOT NULL)),
    CHECK (lifted_at IS NOT NULL OR (lifted_by = '' AND lift_reason = ''))
);
-- One in force a scope.
CREATE UNIQUE INDEX stops_in_force ON stops (scope, customer_id, cluster_id) NULLS NOT DISTINCT WHERE lifted_at IS NULL;
CREATE INDEX stops_created ON stops (created_at DESC, stop_id);

-- Clusters that are there already go on as before: what is asked for runs, nothing is planned unasked.
INSERT INTO policies (customer_id, cluster_id, rules, updated_by)
SELECT customer_id, cluster_id, '{"mode": "automatic", "engines": {}}', 'migration' FROM clusters;

-- What a task serves: a stop holds up none that gives back what was taken (undo).
ALTER TABLE tasks ADD COLUMN cause varchar(32) NOT NULL DEFAULT '';

ALTER TABLE optimization_history
    ADD COLUMN approval varchar(16) NOT NULL DEFAULT 'not_needed' CHECK (approval IN ('not_needed', 'planning', 'awaiting',
        'snoozed', 'approved', 'rejected', 'expired', 'superseded', 'recommended')),
    ADD COLUMN mode varchar(16) NOT NULL DEFAULT 'automatic' CHECK (mode IN ('read_only', 'recommend', 'approve', 'automatic')),
    ADD COLUMN dry_run boolean NOT NULL DEFAULT false,
    ADD COLUMN reason text NOT NULL DEFAULT '',
    -- Who approved, rejected, snoozed or cancelled it.
    ADD COLUMN decided_by varchar(255) NOT NULL DEFAULT '',
    ADD COLUMN decided_at timestamptz,
    ADD COLUMN decision_reason text NOT NULL DEFAULT '',
    ADD COLUMN snoozed_until timestamptz,
    -- A plan that nobody decides upon expires then.
    ADD COLUMN expires_at timestamptz,
    -- Somebody wants it to end; the story's job sees to it.
    ADD COLUMN cancelled_at timestamptz,
    -- What it waits for: admin.v1.Waiting.
    ADD COLUMN waiting_code varchar(32) NOT NULL DEFAULT '',
    ADD COLUMN waiting_message text NOT NULL DEFAULT '',
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN waiting_until timestamptz,
    -- admin.v1.PlanSummary as JSON, and the etag of the plan; null before there is one.
    ADD COLUMN plan jsonb,
    ADD COLUMN plan_etag uuid,
    -- The same for plans that do the same.
    ADD COLUMN plan_content varchar(64) NOT NULL DEFAULT '',
    ADD COLUMN confidence_score double precision NOT NULL DEFAULT 0,
    -- What the approved plan promised, when it is being made anew.
    ADD COLUMN promised_savings numeric(10, 2),
    ADD COLUMN promised_drains int,
    DROP CONSTRAINT optimization_history_status_check,
    DROP CONSTRAINT optimization_history_check,
    ADD CONSTRAINT optimization_history_status_check CHECK (status IN ('pending', 'executing', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT optimization_history_ended CHECK ((status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
    ADD CONSTRAINT optimization_history_snoozed CHECK ((approval = 'snoozed') = (snoozed_until IS NOT NULL)),
    ADD CONSTRAINT optimization_history_undecided CHECK (approval NOT IN ('awaiting', 'snoozed', 'recommended') OR status = 'pending'),
    ADD CONSTRAINT optimization_history_undone CHECK (approval NOT IN ('rejected', 'expired', 'superseded') OR status = 'cancelled'),
    ADD CONSTRAINT optimization_history_waits CHECK ((waiting_code = '') = (waiting_since IS NULL));
-- At most one runs in a cluster; plans that nobody has let run yet, and dry runs, do not count.
DROP INDEX optimization_running;
CREATE UNIQUE INDEX optimization_running ON optimization_history (cluster_id)
    WHERE status IN ('pending', 'executing') AND NOT dry_run AND approval NOT IN ('awaiting', 'snoozed', 'recommended');
CREATE INDEX optimization_undecided ON optimization_history (cluster_id, optimization_type)
    WHERE approval IN ('awaiting', 'snoozed', 'recommended');
CREATE INDEX optimization_savings ON optimization_history (estimated_savings DESC, optimization_id);
CREATE INDEX optimization_dry_runs ON optimization_history (cluster_id, optimization_type, created_at DESC) WHERE dry_run;

-- How long the step stood still for the guard: that costs it no patience.
ALTER TABLE optimization_steps ADD COLUMN held_seconds double precision NOT NULL DEFAULT 0 CHECK (held_seconds >= 0);

ALTER TABLE optimization_nodes
    -- Counts tries that a stop cut short: it makes another task of the same work.
    ADD COLUMN round int NOT NULL DEFAULT 0 CHECK (round >= 0),
    ADD COLUMN drain_began_at timestamptz;
CREATE INDEX optimization_nodes_began ON optimization_nodes (drain_began_at) WHERE drain_began_at IS NOT NULL;

-- When plans were last made unasked, or estimates: by whichever replica came first.
CREATE TABLE plan_rounds (
    cluster_id uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    -- policy or estimate.
    purpose    varchar(16) NOT NULL CHECK (purpose IN ('policy', 'estimate')),
    engine     varchar(32) NOT NULL,
    began_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, purpose, engine)
);

-- +goose Down
DROP TABLE plan_rounds;
ALTER TABLE optimization_nodes DROP COLUMN round, DROP COLUMN drain_began_at;
ALTER TABLE optimization_steps DROP COLUMN held_seconds;
-- What the older schema has no word for.
DELETE FROM optimization_history WHERE dry_run OR status = 'cancelled' OR approval IN ('planning', 'awaiting', 'snoozed', 'recommended');
DROP INDEX optimization_running, optimization_undecided, optimization_savings, optimization_dry_runs;
ALTER TABLE optimization_history
    DROP CONSTRAINT optimization_history_status_check, DROP CONSTRAINT optimization_history_ended,
    DROP CONSTRAINT optimization_history_snoozed, DROP CONSTRAINT optimization_history_undecided,
    DROP CONSTRAINT optimization_history_undone, DROP CONSTRAINT optimization_history_waits,
    DROP COLUMN approval, DROP COLUMN mode, DROP COLUMN dry_run, DROP COLUMN reason, DROP COLUMN decided_by, DROP COLUMN decided_at,
    DROP COLUMN decision_reason, DROP COLUMN snoozed_until, DROP COLUMN expires_at, DROP COLUMN cancelled_at,
    DROP COLUMN waiting_code, DROP COLUMN waiting_message, DROP COLUMN waiting_since, DROP COLUMN waiting_until, DROP COLUMN plan,
    DROP COLUMN plan_etag, DROP COLUMN plan_content, DROP COLUMN confidence_score, DROP COLUMN promised_savings, DROP COLUMN promised_drains,
    ADD CONSTRAINT optimization_history_status_check CHECK (status IN ('pending', 'executing', 'completed', 'failed')),
    ADD CONSTRAINT optimization_history_check CHECK ((status IN ('completed', 'failed')) = (completed_at IS NOT NULL));
CREATE UNIQUE INDEX optimization_running ON optimization_history (cluster_id) WHERE status IN ('pending', 'executing');
ALTER TABLE tasks DROP COLUMN cause;
DROP TABLE stops, policies;
