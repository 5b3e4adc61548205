-- Keys with numbers, names and bounds; tiers; people and their sessions.
ALTER TABLE accounts ADD COLUMN tier TEXT; -- NULL: what the exchange gives by default

ALTER TABLE api_keys ADD COLUMN number INTEGER NOT NULL DEFAULT 0;      -- from 1 in each account; the engine knows it
ALTER TABLE api_keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN signs INTEGER NOT NULL DEFAULT 0;       -- 1: secret_hash is an Ed25519 public key
ALTER TABLE api_keys ADD COLUMN former BLOB;                            -- what rotation replaced, as secret_hash
ALTER TABLE api_keys ADD COLUMN former_until INTEGER;                   -- Unix seconds until which it is good
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;                     -- Unix seconds
ALTER TABLE api_keys ADD COLUMN addresses TEXT NOT NULL DEFAULT '';     -- networks with commas; empty: any
ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used INTEGER NOT NULL DEFAULT 0;   -- Unix seconds
ALTER TABLE api_keys ADD COLUMN revoked_at INTEGER;                     -- Unix seconds
UPDATE api_keys SET number = (
    SELECT COUNT(*) FROM api_keys AS earlier WHERE earlier.account = api_keys.account AND earlier.rowid <= api_keys.rowid
);
CREATE UNIQUE INDEX api_keys_number ON api_keys (account, number);

CREATE TABLE people (
    account       INTEGER PRIMARY KEY REFERENCES accounts (account),
    password_hash TEXT NOT NULL,     -- argon2id, in PHC's form
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY,     -- SHA-256 of what the session's token carries
    account    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address    TEXT NOT NULL
) STRICT;
