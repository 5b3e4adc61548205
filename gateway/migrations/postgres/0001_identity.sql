-- Who stands behind an account number. Personal data and credentials live here and never in the journal.
CREATE TABLE accounts (
    account    BIGINT PRIMARY KEY,   -- the engine's number
    name       TEXT NOT NULL UNIQUE,
    endpoint   TEXT,                 -- where a provider's model server answers
    created_at BIGINT NOT NULL,      -- Unix seconds
    tier       TEXT                  -- NULL: what the exchange gives by default
);

CREATE TABLE api_keys (
    public              TEXT PRIMARY KEY,           -- the part of the key that may be shown
    secret_hash         BYTEA NOT NULL,             -- SHA-256 of the part that may not
    account             BIGINT NOT NULL,            -- 0: the operator, who owns no account
    scopes              BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    number              BIGINT NOT NULL,            -- from 1 in each account; the engine knows it
    name                TEXT NOT NULL,
    signs               BIGINT NOT NULL,            -- 1: secret_hash is an Ed25519 public key
    former              BYTEA,                      -- what rotation replaced, as secret_hash
    former_until        BIGINT,                     -- Unix seconds until which it is good
    expires_at          BIGINT,                     -- Unix seconds
    addresses           TEXT NOT NULL,              -- networks with commas; empty: any
    requests_per_minute BIGINT,
    last_used           BIGINT NOT NULL DEFAULT 0,  -- Unix seconds
    revoked_at          BIGINT                      -- Unix seconds
);
CREATE UNIQUE INDEX api_keys_number ON api_keys (account, number);

CREATE TABLE people (
    account       BIGINT PRIMARY KEY REFERENCES accounts (account),
    password_hash TEXT NOT NULL,     -- argon2id, in PHC's form
    created_at    BIGINT NOT NULL
);

CREATE TABLE sessions (
    hash       BYTEA PRIMARY KEY,    -- SHA-256 of what the session's token carries
    account    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    address    TEXT NOT NULL
);
