-- Triggers in environments as they stand with their event sources, what was received, and its way to handlers.

CREATE TABLE subscriptions (
    id TEXT NOT NULL PRIMARY KEY,
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    source TEXT NOT NULL,
    address TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    status_reason TEXT,
    provider_id TEXT,
    applied TEXT,
    secret TEXT,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_event_at BIGINT,
    UNIQUE (webhook, environment, trigger_name)
);

-- The two keys are digests; an event with either of them was received before.
CREATE TABLE events (
    id TEXT NOT NULL PRIMARY KEY,
    subscription TEXT NOT NULL,
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    source_id TEXT,
    verified BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    replay_key TEXT UNIQUE,
    fingerprint TEXT UNIQUE,
    headers TEXT NOT NULL,
    body BYTEA NOT NULL
);

CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    event TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    subscription TEXT NOT NULL,
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    attempts BIGINT NOT NULL,
    replay BIGINT NOT NULL,
    order_key TEXT,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    ended_at BIGINT
);

CREATE UNIQUE INDEX deliveries_sequence ON deliveries (sequence);

CREATE INDEX deliveries_webhook ON deliveries (webhook, sequence);

CREATE INDEX deliveries_event ON deliveries (event);

CREATE INDEX deliveries_open ON deliveries (subscription, due_at, sequence) WHERE status IN ('queued', 'waiting');

CREATE INDEX deliveries_ordered ON deliveries (subscription, order_key, sequence) WHERE status IN ('queued', 'waiting') AND order_key IS NOT NULL;

CREATE INDEX deliveries_dead ON deliveries (webhook, sequence) WHERE status = 'dead';

CREATE TABLE attempts (
    delivery TEXT NOT NULL,
    number BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    status_code BIGINT,
    error TEXT,
    headers TEXT,
    body TEXT,
    PRIMARY KEY (delivery, number)
);

-- The time of each schedule up to which it has fired.
CREATE TABLE schedules (
    subscription TEXT NOT NULL PRIMARY KEY,
    fired_until BIGINT NOT NULL
);

-- The value of a secret before it was rotated, accepted for signatures until a time.
CREATE TABLE previous_secrets (
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (webhook, environment, name)
);
