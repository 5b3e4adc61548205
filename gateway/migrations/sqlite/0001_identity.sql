-- Who stands behind an account number. Personal data and credentials live here and never in the journal.
CREATE TABLE accounts (
    account    INTEGER PRIMARY KEY, -- the engine's number
    name       TEXT NOT NULL UNIQUE,
    endpoint   TEXT,                -- where a provider's model server answers
    created_at INTEGER NOT NULL     -- Unix seconds
) STRICT;

CREATE TABLE api_keys (
    public      TEXT PRIMARY KEY,   -- the part of the key that may be shown
    secret_hash BLOB NOT NULL,      -- SHA-256 of the part that may not
    account     INTEGER NOT NULL,   -- 0: the operator, who owns no account
    scopes      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
