-- +goose Up
-- What nodes and containers use, as agents tell it from the clusters' metrics API.

ALTER TABLE clusters
    -- Whether the agent knows what is used, and why not; empty: it never said.
    ADD COLUMN usage_state varchar(16) NOT NULL DEFAULT ''
        CHECK (usage_state IN ('', 'known', 'no_metrics_api', 'forbidden', 'unanswered'));

-- What each node was last said to use. Narrow, and with room on its pages: every report writes all of it.
CREATE TABLE node_usage (
    cluster_id     uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    node_name      varchar(255) NOT NULL,
    cpu_millicores bigint NOT NULL CHECK (cpu_millicores >= 0),
    memory_bytes   bigint NOT NULL CHECK (memory_bytes >= 0),
    -- When central heard it, by its own clock.
    heard_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, node_name)
) WITH (fillfactor = 50);

-- One report's samples of containers in a row, until they are counted into the histograms of
-- container_usage. The row stays for three hours, without its content: by it a repeated report is known.
CREATE TABLE usage_samples (
    cluster_id uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    -- The report's time, by the agent's clock: nothing is concluded from it but that another report is another.
    at         timestamptz NOT NULL,
    heard_at   timestamptz NOT NULL DEFAULT now(),
    -- In whose histograms it counts: central's hour, so that an agent's clock may be off.
    hour       timestamptz NOT NULL CHECK (hour = date_trunc('hour', hour, 'UTC')),
    -- A fleet.v1.ClusterUsage of workloads alone; null: it is counted.
    content    bytea,
    PRIMARY KEY (cluster_id, at)
);
CREATE INDEX usage_samples_open ON usage_samples (hour, cluster_id) WHERE content IS NOT NULL;
CREATE INDEX usage_samples_counted ON usage_samples (heard_at) WHERE content IS NULL;

-- A day of a container: hours as histograms, and what it was like when last seen.
CREATE TABLE container_usage (
    cluster_id uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    day        date NOT NULL,
    namespace  varchar(253) NOT NULL,
    kind       varchar(63) NOT NULL,
    name       varchar(253) NOT NULL,
    container  varchar(253) NOT NULL,
    -- An ml.v1.ContainerUsage without the names.
    content    bytea NOT NULL,
    PRIMARY KEY (cluster_id, day, namespace, kind, name, container)
);
CREATE INDEX container_usage_day ON container_usage USING brin (day);

SELECT tenant_wall('node_usage');
SELECT tenant_wall('usage_samples');
SELECT tenant_wall('container_usage');

-- +goose Down
DROP TABLE container_usage, usage_samples, node_usage;
ALTER TABLE clusters DROP COLUMN usage_state;
