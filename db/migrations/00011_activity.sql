-- +goose Up
-- What the dashboards were told, and in which order. Written in the transaction of what it tells
-- about; numbered afterwards, when it is committed. ml gets no rights to it.
CREATE TABLE activity (
    activity_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Its place in the stream; null: not numbered yet.
    sequence        bigint UNIQUE CHECK (sequence > 0),
    -- Null: for the platform's staff alone.
    customer_id     uuid REFERENCES customers (customer_id) ON DELETE CASCADE,
    -- No references: what happened stays true when its subject is gone.
    cluster_id      uuid,
    optimization_id uuid,
    type            varchar(32) NOT NULL CHECK (type ~ '^[a-z_]+$' AND type NOT IN ('heartbeat', 'reset', 'bye')),
    -- 0 info, 1 warning, 2 error
    severity        int NOT NULL CHECK (severity BETWEEN 0 AND 2),
    -- The whole admin.v1.StreamResponse but its sequence, as protobuf.
    message         bytea NOT NULL,
    at              timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX activity_unnumbered ON activity (activity_id) WHERE sequence IS NULL;
CREATE INDEX activity_customer ON activity (customer_id, sequence DESC);
CREATE INDEX activity_optimization ON activity (optimization_id, sequence DESC) WHERE optimization_id IS NOT NULL;
CREATE INDEX activity_at ON activity (at);

-- One row: the newest number that was given, and the newest that was deleted. Whoever numbers locks it.
CREATE TABLE activity_head (
    only_row bool PRIMARY KEY DEFAULT true CHECK (only_row),
    sequence bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    pruned   bigint NOT NULL DEFAULT 0 CHECK (pruned BETWEEN 0 AND sequence)
);
INSERT INTO activity_head DEFAULT VALUES;

-- Pages of the list go by time and id over all clusters of a customer, too.
CREATE INDEX spot_events_received ON spot_events (received_at DESC, event_id);

-- +goose Down
DROP INDEX spot_events_received;
DROP TABLE activity_head, activity;
