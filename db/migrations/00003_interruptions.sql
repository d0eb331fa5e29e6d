-- +goose Up
-- The story of an interruption: what AWS said, and what becomes of the node. ml gets no rights to
-- the new tables: it reads spot_events, and is told in each question which pools refused.

-- Others read the queue too: what is not the customer's stays in it.
ALTER TABLE customers ADD COLUMN sqs_queue_shared boolean NOT NULL DEFAULT false;

-- One open row of work per instance of a cluster. Its state only ever rises.
CREATE TABLE interruptions (
    interruption_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cluster_id        uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    instance_id       varchar(50) NOT NULL CHECK (instance_id <> ''),
    -- Drains of this instance before this one; with cluster and instance it names the drain task.
    nth               int NOT NULL DEFAULT 0 CHECK (nth >= 0),
    node_name         varchar(255) NOT NULL DEFAULT '',
    region            varchar(50) NOT NULL DEFAULT '',
    availability_zone varchar(50) NOT NULL DEFAULT '',
    instance_type     varchar(50) NOT NULL DEFAULT '',
    node_type         varchar(20) NOT NULL DEFAULT '',
    state             varchar(16) NOT NULL CHECK (state IN ('at_risk', 'draining', 'drained', 'gone', 'dismissed')),
    -- How badly it presses, the worst that was said: 0 risk, 1 planned, 2 group, 3 warned, 4 ending, 5 over.
    urgency           int NOT NULL DEFAULT 0 CHECK (urgency BETWEEN 0 AND 5),
    -- What AWS does to the instance: terminate, stop, hibernate, or its code.
    aws_action        varchar(64) NOT NULL DEFAULT '',
    causes            text[] NOT NULL DEFAULT '{}',
    sources           text[] NOT NULL DEFAULT '{}',
    -- When AWS acts, the earliest that was said.
    deadline          timestamptz,
    drain_task_id     uuid,
    drain_outcome     varchar(16) NOT NULL DEFAULT '' CHECK (drain_outcome IN ('', 'drained', 'forced', 'blocked', 'failed', 'node_gone')),
    drain_error       text NOT NULL DEFAULT '',
    replacement       varchar(16) NOT NULL DEFAULT '' CHECK (replacement IN ('', 'pending', 'launched', 'failed', 'unneeded')),
    -- Why it is not needed, or why it failed.
    replacement_note  text NOT NULL DEFAULT '',
    replacement_instance_id varchar(50) NOT NULL DEFAULT '',
    -- type/zone/spot or type/zone/on-demand
    replacement_pool  varchar(128) NOT NULL DEFAULT '',
    -- Until then a job is at it; later, any replica may start another.
    replacement_until timestamptz NOT NULL DEFAULT now(),
    -- The group's lifecycle hook that waits for us.
    hook_group        varchar(255) NOT NULL DEFAULT '',
    hook_name         varchar(255) NOT NULL DEFAULT '',
    hook_token        varchar(64) NOT NULL DEFAULT '',
    hook_beat_at      timestamptz,
    hook_completed_at timestamptz,
    -- We asked EC2 to end the instance.
    terminated_at     timestamptz,
    traceparent       varchar(64) NOT NULL DEFAULT '',
    -- Whoever follows it up has it until then.
    wake_at           timestamptz NOT NULL DEFAULT now(),
    opened_at         timestamptz NOT NULL DEFAULT now(),
    drained_at        timestamptz,
    gone_at           timestamptz,
    closed_at         timestamptz,
    UNIQUE (cluster_id, instance_id, nth),
    CHECK ((replacement = 'launched') = (replacement_instance_id <> '')),
    CHECK (closed_at IS NULL OR state IN ('gone', 'dismissed')),
    CHECK (state <> 'draining' OR urgency > 0)
);
CREATE UNIQUE INDEX interruptions_open ON interruptions (cluster_id, instance_id) WHERE closed_at IS NULL;
CREATE INDEX interruptions_wake ON interruptions (wake_at) WHERE closed_at IS NULL;
CREATE INDEX interruptions_replacement ON interruptions (replacement_until) WHERE replacement = 'pending';

-- What was launched instead, written before EC2 is asked: the client token
-- makes asking again safe.
CREATE TABLE interruption_launches (
    interruption_id   uuid NOT NULL REFERENCES interruptions (interruption_id) ON DELETE CASCADE,
    attempt           int NOT NULL CHECK (attempt >= 0),
    client_token      varchar(64) NOT NULL UNIQUE,
    instance_type     varchar(50) NOT NULL,
    availability_zone varchar(50) NOT NULL,
    node_type         varchar(20) NOT NULL CHECK (node_type IN ('spot', 'on-demand')),
    status            varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'launched', 'failed')),
    instance_id       varchar(50) NOT NULL DEFAULT '',
    error             text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (interruption_id, attempt)
);
CREATE INDEX interruption_launches_instance ON interruption_launches (instance_id) WHERE instance_id <> '';
CREATE INDEX optimization_nodes_instance ON optimization_nodes (instance_id);
CREATE INDEX optimization_launches_instances ON optimization_launches USING gin (instance_ids);

ALTER TABLE spot_events
    -- Said again, by whichever way, it is the same.
    ADD COLUMN dedup_key varchar(255) NOT NULL DEFAULT gen_random_uuid()::text,
    ADD COLUMN interruption_id uuid REFERENCES interruptions (interruption_id) ON DELETE SET NULL,
    ADD COLUMN node_name varchar(255) NOT NULL DEFAULT '',
    ADD COLUMN region varchar(50) NOT NULL DEFAULT '',
    ADD COLUMN availability_zone varchar(50) NOT NULL DEFAULT '',
    -- Of the interruption; empty for events that start none.
    ADD COLUMN state varchar(16) NOT NULL DEFAULT '';
CREATE UNIQUE INDEX spot_events_dedup ON spot_events (cluster_id, dedup_key);
CREATE INDEX spot_events_interruption ON spot_events (interruption_id) WHERE interruption_id IS NOT NULL;

-- Pools that had no capacity, or took an instance back: not asked again until then.
CREATE TABLE pool_refusals (
    -- Role that is assumed; empty: central's own account.
    account           varchar(512) NOT NULL,
    region            varchar(50) NOT NULL,
    availability_zone varchar(50) NOT NULL,
    instance_type     varchar(50) NOT NULL,
    node_type         varchar(20) NOT NULL CHECK (node_type IN ('spot', 'on-demand')),
    reason            varchar(128) NOT NULL DEFAULT '',
    until             timestamptz NOT NULL,
    PRIMARY KEY (account, region, availability_zone, instance_type, node_type)
);

-- Rounds that one replica makes for all: whoever finds the time come takes the turn.
CREATE TABLE turns (
    name    varchar(64) PRIMARY KEY,
    next_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE turns, pool_refusals;
DROP INDEX spot_events_dedup, spot_events_interruption, optimization_launches_instances, optimization_nodes_instance;
ALTER TABLE spot_events DROP COLUMN dedup_key, DROP COLUMN interruption_id, DROP COLUMN node_name, DROP COLUMN region,
    DROP COLUMN availability_zone, DROP COLUMN state;
DROP TABLE interruption_launches, interruptions;
ALTER TABLE customers DROP COLUMN sqs_queue_shared;
