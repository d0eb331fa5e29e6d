-- +goose Up
-- Who may sign in, and who has. Secrets are 256 random bits, kept as their SHA-256.

CREATE TABLE members (
    member_id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    customer_id  uuid NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    -- In lower case: providers disagree about the case of an address.
    email        varchar(255) NOT NULL CHECK (email = lower(email) AND email <> ''),
    role         varchar(16) NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   varchar(255) NOT NULL DEFAULT '',
    last_seen_at timestamptz,
    -- Shut out; kept, so that the audit log's names can be explained.
    deleted_at   timestamptz
);
CREATE UNIQUE INDEX members_email ON members (email) WHERE deleted_at IS NULL;
CREATE INDEX members_customer ON members (customer_id, email);

-- What a session may do is its key's scope or its member's role, looked up each time: kept here, a
-- change of role would have to find all sessions.
CREATE TABLE sessions (
    session_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    secret_hash  bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    api_key_id   uuid REFERENCES api_keys (api_key_id) ON DELETE CASCADE,
    member_id    uuid REFERENCES members (member_id) ON DELETE CASCADE,
    -- Null: the platform's staff.
    customer_id  uuid REFERENCES customers (customer_id) ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    CHECK ((api_key_id IS NULL) <> (member_id IS NULL)),
    CHECK (member_id IS NULL OR customer_id IS NOT NULL)
);
CREATE INDEX sessions_key ON sessions (api_key_id);
CREATE INDEX sessions_member ON sessions (member_id);
CREATE INDEX sessions_customer ON sessions (customer_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Sign-ins that are at the OpenID provider. Whoever comes back takes the row away, so a callback
-- counts once, on whichever replica.
CREATE TABLE sign_ins (
    state_hash   bytea PRIMARY KEY CHECK (octet_length(state_hash) = 32),
    -- Of the secret in the browser's cookie: the callback must come from where the sign-in began.
    browser_hash bytea NOT NULL CHECK (octet_length(browser_hash) = 32),
    nonce        varchar(64) NOT NULL,
    verifier     varchar(128) NOT NULL,
    return_to    varchar(2048) NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sign_ins_expires ON sign_ins (expires_at);

ALTER TABLE customers ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE customers DROP COLUMN version;
DROP TABLE sign_ins, sessions, members;
