-- +goose Up
-- The audit log as a chain: each entry is sealed by a hash over itself and over the seal before it.
-- Seals are rows of their own, so that audit_log is never updated.

ALTER TABLE audit_log ADD COLUMN request_id varchar(128) NOT NULL DEFAULT '';

-- Entries that are committed and not sealed yet, written in the transaction of the entry. What is
-- visible here is committed, so an entry is sealed after all that were committed before its sealing
-- began. Watching the ids instead would miss those that become visible out of order.
CREATE TABLE audit_pending (
    audit_id bigint PRIMARY KEY
);
-- Emptied twice a second: it must not wait for a threshold of a large table.
ALTER TABLE audit_pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- +goose StatementBegin
CREATE FUNCTION audit_log_is_sealed_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending (audit_id) VALUES (NEW.audit_id);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_pending AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_is_sealed_later();

CREATE TABLE audit_seals (
    -- Position in the chain, from 1 without gaps.
    sequence  bigint PRIMARY KEY CHECK (sequence > 0),
    audit_id  bigint NOT NULL UNIQUE REFERENCES audit_log (audit_id),
    -- Of the encoding that is hashed.
    version   smallint NOT NULL CHECK (version = 1),
    -- SHA-256.
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- What was written before is sealed by the first central that starts.
INSERT INTO audit_pending (audit_id) SELECT audit_id FROM audit_log;

-- Newest first: of a customer (audit_log_customer of 00001 has no id to break ties), a cluster, all.
DROP INDEX audit_log_customer;
CREATE INDEX audit_log_customer ON audit_log (customer_id, at DESC, audit_id DESC);
CREATE INDEX audit_log_cluster ON audit_log (cluster_id, at DESC, audit_id DESC);
CREATE INDEX audit_log_newest ON audit_log (at DESC, audit_id DESC);

-- +goose Down
DROP TABLE audit_seals;
DROP TRIGGER audit_log_pending ON audit_log;
DROP FUNCTION audit_log_is_sealed_later;
DROP TABLE audit_pending;
DROP INDEX audit_log_newest, audit_log_cluster, audit_log_customer;
CREATE INDEX audit_log_customer ON audit_log (customer_id, at DESC);
ALTER TABLE audit_log DROP COLUMN request_id;
