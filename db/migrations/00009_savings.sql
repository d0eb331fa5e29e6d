-- +goose Up
-- The ledger of the money: what each cluster paid by the hour, and what it would have paid.
--
-- Amounts are whole numbers of millionths of a USD per hour times milliseconds: a price times a span
-- is exact in them, so that sums do not depend on where time was cut. 3.6e12 of them are a USD.

-- An amount in millionths of a USD, halves away from zero.
CREATE FUNCTION savings_millionths(amount bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (amount + CASE WHEN amount < 0 THEN -1800000 ELSE 1800000 END) / 3600000;

-- How far each cluster is metered. A span is metered once: whoever meters holds this row.
CREATE TABLE savings_meters (
    cluster_id    uuid PRIMARY KEY REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    metered_from  timestamptz NOT NULL,
    metered_until timestamptz NOT NULL,
    -- Since when it is heard again after a silence; null: there was none.
    returned_at   timestamptz,
    CHECK (metered_until >= metered_from)
);
CREATE INDEX savings_meters_due ON savings_meters (metered_until);

CREATE TABLE savings_hours (
    cluster_id          uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    -- Begin of the hour, UTC.
    hour                timestamptz NOT NULL CHECK (hour = date_trunc('hour', hour, 'UTC')),
    actual              bigint NOT NULL DEFAULT 0 CHECK (actual >= 0),
    -- By mechanism; the baseline is never stored: it is actual + all of them.
    saved_spot_optimize bigint NOT NULL DEFAULT 0,
    saved_bin_pack      bigint NOT NULL DEFAULT 0,
    saved_rightsize     bigint NOT NULL DEFAULT 0,
    saved_schedule      bigint NOT NULL DEFAULT 0,
    saved_interruption  bigint NOT NULL DEFAULT 0,
    -- Milliseconds of nodes.
    spot_ms             bigint NOT NULL DEFAULT 0 CHECK (spot_ms >= 0),
    on_demand_ms        bigint NOT NULL DEFAULT 0 CHECK (on_demand_ms >= 0),
    unpriced_ms         bigint NOT NULL DEFAULT 0 CHECK (unpriced_ms BETWEEN 0 AND spot_ms + on_demand_ms),
    -- Milliseconds of the hour that were metered.
    metered_ms          bigint NOT NULL DEFAULT 0 CHECK (metered_ms BETWEEN 0 AND 3600000),
    PRIMARY KEY (cluster_id, hour)
);
-- The hour in hand is written each minute: with room in its page that touches no index.
ALTER TABLE savings_hours SET (fillfactor = 80);
CREATE INDEX savings_hours_hour ON savings_hours USING brin (hour);

-- What CloudOptim put in the place of what: an optimization, or the replacement after an interruption.
-- Which nodes those are is in optimization_launches, optimization_nodes and interruptions.
CREATE TABLE savings_swaps (
    swap_id     uuid PRIMARY KEY,
    cluster_id  uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    mechanism   varchar(16) NOT NULL CHECK (mechanism IN ('spot_optimize', 'bin_pack', 'rightsize', 'schedule', 'interruption')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- CPUs of the cluster when it was decided.
    cpu_before  numeric(14, 2) NOT NULL DEFAULT 0,
    -- Something was launched or taken away.
    changed     boolean NOT NULL DEFAULT false,
    -- Saved so far.
    realised    numeric(40, 0) NOT NULL DEFAULT 0,
    -- Metered since it ended, in milliseconds: for so long its promise holds.
    promised_ms bigint NOT NULL DEFAULT 0 CHECK (promised_ms >= 0),
    -- Since then nothing is left of it; after a day it is not looked at any more.
    idle_since  timestamptz
);
CREATE INDEX savings_swaps_cluster ON savings_swaps (cluster_id, idle_since);

INSERT INTO savings_swaps (swap_id, cluster_id, mechanism, created_at)
SELECT optimization_id, cluster_id, optimization_type, created_at FROM optimization_history o
WHERE EXISTS (SELECT FROM optimization_nodes n WHERE n.optimization_id = o.optimization_id);
INSERT INTO savings_swaps (swap_id, cluster_id, mechanism, created_at)
SELECT interruption_id, cluster_id, 'interruption', opened_at FROM interruptions WHERE replacement = 'launched';

-- Nodes that ended since they were last metered.
CREATE INDEX nodes_ended ON nodes (cluster_id, terminated_at) WHERE terminated_at IS NOT NULL;
-- Promises beside what came of them, newest first.
CREATE INDEX optimization_ended ON optimization_history (completed_at DESC, optimization_id DESC) WHERE completed_at IS NOT NULL;

-- +goose Down
DROP INDEX optimization_ended, nodes_ended;
DROP TABLE savings_swaps, savings_hours, savings_meters;
DROP FUNCTION savings_millionths;
