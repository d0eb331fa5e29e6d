-- +goose Up
-- Models that may decide. The bytes are hostile until ml has read them; central
-- keeps them and never looks inside.
CREATE TABLE models (
    -- The first 16 hex digits of sha256.
    model_version    varchar(16) PRIMARY KEY CHECK (model_version = left(sha256, 16)),
    name             varchar(128) NOT NULL CHECK (name <> ''),
    kind             varchar(32) NOT NULL CHECK (kind IN ('spot_interruption')),
    format           varchar(32) NOT NULL CHECK (format IN ('lightgbm_text', 'xgboost_json', 'cloudoptim')),
    sha256           varchar(64) NOT NULL UNIQUE CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes       bigint NOT NULL CHECK (size_bytes > 0 AND size_bytes = octet_length(content)),
    content          bytea NOT NULL,
    state            varchar(16) NOT NULL DEFAULT 'uploaded' CHECK (state IN ('uploaded', 'shadow', 'live', 'retired')),
    -- What the last check said, as ml.v1.CheckModelResponse.
    checked          jsonb NOT NULL,
    schema_ok        boolean NOT NULL,
    checked_at       timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    created_by       varchar(255) NOT NULL,
    promoted_at      timestamptz,
    promoted_by      varchar(255) NOT NULL DEFAULT '',
    retired_at       timestamptz,
    retired_by       varchar(255) NOT NULL DEFAULT '',
    -- Live before this one was promoted: where a roll back leads.
    replaced_version varchar(16) REFERENCES models (model_version),
    CHECK (state NOT IN ('shadow', 'live') OR schema_ok),
    CHECK (state <> 'live' OR promoted_at IS NOT NULL),
    CHECK ((state = 'retired') = (retired_at IS NOT NULL)),
    CHECK (replaced_version <> model_version)
);
-- Compressing what is read whole, and seldom, only costs time.
ALTER TABLE models ALTER COLUMN content SET STORAGE EXTERNAL;
-- One decides, and one beside it.
CREATE UNIQUE INDEX models_in_use ON models (kind, state) WHERE state IN ('live', 'shadow');
CREATE INDEX models_created ON models (created_at DESC);
GRANT SELECT ON models TO ml_server_ro;

-- +goose Down
DROP TABLE models;
