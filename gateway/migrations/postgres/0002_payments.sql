-- What the payment processor knows that the journal must not: its own numbers of buyers, payments and bank accounts, and
-- what is still to be done there. No card or bank data: those are the processor's.
CREATE TABLE payment_exchange (
    one       BIGINT PRIMARY KEY CHECK (one = 1),
    exchange  TEXT NOT NULL,          -- marks this exchange's objects at the processor
    booked    BIGINT NOT NULL        -- the last input of which everything below is a consequence
);

CREATE TABLE payment_accounts (
    account       BIGINT PRIMARY KEY,
    customer      TEXT,               -- the processor's number of the buyer
    method        TEXT,               -- its token of a way of paying that was kept
    connected     TEXT,               -- its number of the provider
    payable       BIGINT NOT NULL DEFAULT 0,
    renew_below   BIGINT,            -- atoms; NULL: no automatic purchases
    renew_cents   BIGINT NOT NULL DEFAULT 0,
    renew_cap     BIGINT NOT NULL DEFAULT 0, -- cents in a month (UTC)
    alert_below   BIGINT,            -- atoms; NULL: no alert
    alert_mail    TEXT,
    alert_url     TEXT,
    alerted       BIGINT NOT NULL DEFAULT 0  -- 1: told, and not above the mark since
);

CREATE TABLE intents (
    id         TEXT PRIMARY KEY,      -- the processor's number
    account    BIGINT NOT NULL,
    cents      BIGINT NOT NULL,
    purpose    TEXT NOT NULL,         -- purchase or renewal
    state      TEXT NOT NULL,
    request    TEXT UNIQUE,           -- account and Idempotency-Key
    reference  TEXT NOT NULL UNIQUE,  -- how the journal calls it
    created_at BIGINT NOT NULL       -- Unix seconds
);
CREATE INDEX intents_account ON intents (account, created_at);

CREATE TABLE refunds (
    reference  TEXT PRIMARY KEY,      -- how the journal calls it; our mark at the processor
    intent     TEXT NOT NULL,
    cents      BIGINT NOT NULL
);

CREATE TABLE transfers (
    id         TEXT PRIMARY KEY,      -- the processor's number
    payout     BIGINT NOT NULL
);

-- Every movement of money between the ledger and the world, as the journal has it.
CREATE TABLE movements (
    seq        BIGINT NOT NULL,
    place      BIGINT NOT NULL,      -- among the events of its input
    at         BIGINT NOT NULL,      -- Unix seconds
    kind       TEXT NOT NULL,
    reference  TEXT NOT NULL,         -- of a purchase, refund or dispute; number of a payout
    account    BIGINT NOT NULL,
    atoms      BIGINT NOT NULL,      -- above zero: it came in
    PRIMARY KEY (seq, place)
);
CREATE INDEX movements_account ON movements (account, seq);
CREATE INDEX movements_reference ON movements (reference);

-- What is to be done outside because of what happened inside. A letter is dealt with until it is done, or dead and waits for
-- a person.
CREATE TABLE letters (
    id         TEXT PRIMARY KEY,      -- kind and what it is about: the same cause makes no second one
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    account    BIGINT NOT NULL,
    cents      BIGINT NOT NULL,
    detail     TEXT NOT NULL,         -- JSON
    state      TEXT NOT NULL,         -- due, done or dead
    attempts   BIGINT NOT NULL,
    refusals   BIGINT NOT NULL,      -- how often the processor refused for certain: each made its key useless
    due_at     BIGINT NOT NULL,      -- Unix milliseconds
    error      TEXT,
    created_at BIGINT NOT NULL       -- Unix seconds
);
CREATE INDEX letters_due ON letters (state, due_at);
CREATE INDEX letters_account ON letters (account, kind, created_at);

-- Who used the exchange from where, for how long and for how much; forgotten after the time that is set.
CREATE TABLE usage_sessions (
    id         TEXT PRIMARY KEY,
    account    BIGINT NOT NULL,
    client     TEXT NOT NULL,         -- as it calls itself
    address    TEXT NOT NULL,
    began_at   BIGINT NOT NULL,      -- Unix seconds
    ended_at   BIGINT NOT NULL,
    calls      BIGINT NOT NULL,
    atoms      BIGINT NOT NULL
);
CREATE INDEX usage_sessions_account ON usage_sessions (account, began_at);
CREATE INDEX usage_sessions_ended ON usage_sessions (ended_at);
