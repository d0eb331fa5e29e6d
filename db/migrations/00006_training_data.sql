-- +goose Up
-- What models learn from, kept whole: spot prices, marks on rows that were not observed, who was
-- silent when, and the runs that looked for gaps and filled them.

-- Prices as EC2 tells them, which repeats an unchanged one about daily. Not partitioned: some
-- hundred rows a pool and quarter, and only pools that clusters use. Dropped by age with the reports'
-- limit or after 400 days, whichever is more: a year's season, and what EC2 cannot tell again.
CREATE TABLE spot_prices (
    region            varchar(50) NOT NULL,
    availability_zone varchar(50) NOT NULL,
    instance_type     varchar(50) NOT NULL,
    -- In force from then on.
    at                timestamptz NOT NULL,
    -- USD per hour.
    price             numeric(12, 6) NOT NULL CHECK (price > 0),
    imputed           boolean NOT NULL DEFAULT false,
    method            varchar(32) NOT NULL DEFAULT '',
    run_id            uuid,
    PRIMARY KEY (region, instance_type, availability_zone, at),
    -- Prices across a change are never made up.
    CHECK (NOT imputed)
);
CREATE INDEX spot_prices_at ON spot_prices USING brin (at);

ALTER TABLE cluster_metrics
    ADD COLUMN imputed      boolean NOT NULL DEFAULT false,
    -- last_value, linear, hour_of_week_median; empty: observed.
    ADD COLUMN method       varchar(32) NOT NULL DEFAULT '',
    ADD COLUMN run_id       uuid,
    -- An observed row within half of this replaces an imputed one.
    ADD COLUMN step_seconds real NOT NULL DEFAULT 0,
    ADD CONSTRAINT cluster_metrics_marked CHECK (imputed = (method <> '') AND imputed = (run_id IS NOT NULL) AND imputed = (step_seconds > 0));
-- Looked at by every report that comes in; all but empty.
CREATE INDEX cluster_metrics_imputed ON cluster_metrics (cluster_id, at) WHERE imputed;

-- Times without heartbeats, so that a gap can be explained later.
CREATE TABLE silences (
    silence_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- agent: of one cluster; central: no replica ran; unwatched: nobody took note yet.
    kind       varchar(16) NOT NULL CHECK (kind IN ('agent', 'central', 'unwatched')),
    cluster_id uuid REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    since      timestamptz NOT NULL,
    -- Null: still silent.
    until      timestamptz,
    CHECK ((kind = 'agent') = (cluster_id IS NOT NULL)),
    CHECK (until >= since)
);
CREATE UNIQUE INDEX silences_once ON silences (kind, cluster_id, since) NULLS NOT DISTINCT;
CREATE INDEX silences_open ON silences (cluster_id) WHERE until IS NULL;
INSERT INTO silences (kind, since, until) VALUES ('unwatched', '-infinity', now());

CREATE TABLE gap_runs (
    run_id              uuid PRIMARY KEY,
    kind                varchar(16) NOT NULL CHECK (kind IN ('analyze', 'fill')),
    asked_by            varchar(255) NOT NULL,
    cluster_id          uuid,
    model_training_date timestamptz NOT NULL,
    lookback_days       int NOT NULL CHECK (lookback_days > 0),
    gaps_found          int NOT NULL DEFAULT 0 CHECK (gaps_found >= 0),
    gaps_filled         int NOT NULL DEFAULT 0 CHECK (gaps_filled >= 0),
    records             int NOT NULL DEFAULT 0 CHECK (records >= 0),
    -- Of an analysis: steps observed ÷ steps expected.
    coverage            double precision CHECK (coverage BETWEEN 0 AND 1),
    started_at          timestamptz NOT NULL DEFAULT now(),
    -- Null: at work, or its replica died.
    finished_at         timestamptz,
    error               text NOT NULL DEFAULT ''
);
CREATE INDEX gap_runs_started ON gap_runs (started_at DESC);
CREATE INDEX gap_runs_open ON gap_runs (kind) WHERE finished_at IS NULL;

GRANT SELECT ON spot_prices, silences, gap_runs TO ml_server_ro;

-- +goose Down
DROP TABLE gap_runs, silences, spot_prices;
DROP INDEX cluster_metrics_imputed;
DELETE FROM cluster_metrics WHERE imputed;
ALTER TABLE cluster_metrics DROP CONSTRAINT cluster_metrics_marked;
ALTER TABLE cluster_metrics DROP COLUMN imputed, DROP COLUMN method, DROP COLUMN run_id, DROP COLUMN step_seconds;
