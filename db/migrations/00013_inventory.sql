-- +goose Up
-- What the pages about clusters read, a cluster's end, and predictions that are judged later.

ALTER TABLE clusters
    -- Counts changes by people; the etag.
    ADD COLUMN version         bigint NOT NULL DEFAULT 1,
    ADD COLUMN agent_version   varchar(64) NOT NULL DEFAULT '',
    -- For good: nothing connects to it or starts there any more.
    ADD COLUMN disconnected_at timestamptz;
ALTER TABLE clusters DROP CONSTRAINT clusters_status_check;
ALTER TABLE clusters ADD CONSTRAINT clusters_status_check CHECK (status IN ('pending', 'active', 'offline', 'disconnected'));
ALTER TABLE clusters ADD CONSTRAINT clusters_disconnected CHECK ((status = 'disconnected') = (disconnected_at IS NOT NULL));
-- A disconnected one gives its name free: it may be registered again.
ALTER TABLE clusters DROP CONSTRAINT clusters_customer_id_cluster_name_key;
CREATE UNIQUE INDEX clusters_name ON clusters (customer_id, cluster_name) WHERE disconnected_at IS NULL;

-- What runs in a disconnected cluster is cancelled. The guard's migration says the same.
ALTER TABLE optimization_history
    DROP CONSTRAINT IF EXISTS optimization_history_status_check,
    DROP CONSTRAINT IF EXISTS optimization_history_check,
    DROP CONSTRAINT IF EXISTS optimization_history_ended,
    ADD CONSTRAINT optimization_history_status_check CHECK (status IN ('pending', 'executing', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT optimization_history_ended CHECK ((status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL));

-- What ml last said of a spot node, and when it was asked; null: not known.
ALTER TABLE nodes
    ADD COLUMN interruption_risk double precision CHECK (interruption_risk BETWEEN 0 AND 1),
    ADD COLUMN risk_model        varchar(64) NOT NULL DEFAULT '',
    ADD COLUMN risk_at           timestamptz,
    ADD CHECK (interruption_risk IS NULL OR risk_at IS NOT NULL);

-- Sums of a node's pods, without reading their JSON.
ALTER TABLE pods
    ADD COLUMN cpu_millicores bigint GENERATED ALWAYS AS (coalesce((detail #>> '{requests,cpu_millicores}')::bigint, 0)) STORED,
    ADD COLUMN memory_bytes   bigint GENERATED ALWAYS AS (coalesce((detail #>> '{requests,memory_bytes}')::bigint, 0)) STORED;
CREATE INDEX pods_name ON pods (cluster_id, namespace, pod_name, pod_uid);

-- Each hour's prediction of each spot node, for the 24 hours from at on, and what happened.
CREATE TABLE spot_predictions (
    cluster_id  uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    instance_id varchar(50) NOT NULL CHECK (instance_id <> ''),
    -- at, cut to the hour: one an hour.
    hour        timestamptz NOT NULL,
    node_name   varchar(255) NOT NULL,
    at          timestamptz NOT NULL,
    probability double precision NOT NULL CHECK (probability BETWEEN 0 AND 1),
    model       varchar(64) NOT NULL,
    -- Empty: its day is not over. censored: the node ended otherwise, so nobody knows.
    outcome     varchar(16) NOT NULL DEFAULT '' CHECK (outcome IN ('', 'interrupted', 'survived', 'censored')),
    PRIMARY KEY (cluster_id, instance_id, hour),
    CHECK (at >= hour AND at < hour + interval '1 hour')
);
CREATE INDEX spot_predictions_open ON spot_predictions (at) WHERE outcome = '';
CREATE INDEX spot_predictions_judged ON spot_predictions (cluster_id, at) WHERE outcome IN ('interrupted', 'survived');
CREATE INDEX spot_predictions_at ON spot_predictions USING brin (at);

-- +goose Down
DROP TABLE spot_predictions;
DROP INDEX pods_name;
ALTER TABLE pods DROP COLUMN cpu_millicores, DROP COLUMN memory_bytes;
ALTER TABLE nodes DROP COLUMN interruption_risk, DROP COLUMN risk_model, DROP COLUMN risk_at;
DROP INDEX clusters_name;
ALTER TABLE clusters DROP CONSTRAINT clusters_disconnected, DROP CONSTRAINT clusters_status_check;
-- A name that was given free is taken twice: the ended ones are called by their ids.
UPDATE clusters SET status = 'offline', cluster_name = left(cluster_name, 200) || ' ' || cluster_id WHERE disconnected_at IS NOT NULL;
ALTER TABLE clusters ADD CONSTRAINT clusters_status_check CHECK (status IN ('pending', 'active', 'offline')),
    ADD UNIQUE (customer_id, cluster_name), DROP COLUMN version, DROP COLUMN agent_version, DROP COLUMN disconnected_at;
-- optimization_history keeps its wider rule: rows may be cancelled.
