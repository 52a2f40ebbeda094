-- What an event is known by when it comes again has a table of its own on SQLite, which one process writes: see `inbox/keys.rs`. A unique index over
-- digests, which have no order, writes a page for each of them. PostgreSQL keeps its unique indexes, because several processes write to it.

-- SQLite:
CREATE TABLE event_keys (key BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID;

-- Those of one transaction a row, one after the other, until they are in their place above.
-- SQLite:
CREATE TABLE new_event_keys (number INTEGER NOT NULL PRIMARY KEY, keys BLOB NOT NULL);

-- SQLite:
INSERT INTO event_keys (key)
    SELECT unhex(SUBSTR(replay_key, 1, 30) || '00') AS digest FROM events WHERE LENGTH(replay_key) = 32
    UNION ALL SELECT unhex(SUBSTR(fingerprint, 1, 30) || '01') AS digest FROM events WHERE LENGTH(fingerprint) = 32
    ORDER BY digest;

-- SQLite:
CREATE TABLE events_of_any_key (
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
    replay_key TEXT,
    fingerprint TEXT,
    headers TEXT NOT NULL,
    body BYTEA NOT NULL,
    redact TEXT,
    redacted BIGINT NOT NULL DEFAULT 0,
    forgotten_at BIGINT
);

-- SQLite:
INSERT INTO events_of_any_key (id, subscription, webhook, environment, trigger_name, source, kind, source_id, verified, received_at,
        replay_key, fingerprint, headers, body, redact, redacted, forgotten_at)
    SELECT id, subscription, webhook, environment, trigger_name, source, kind, source_id, verified, received_at,
        replay_key, fingerprint, headers, body, redact, redacted, forgotten_at FROM events;

-- SQLite:
DROP TABLE events;

-- SQLite:
ALTER TABLE events_of_any_key RENAME TO events;

-- SQLite:
CREATE INDEX events_unredacted ON events (received_at) WHERE redact IS NOT NULL AND redacted = 0;

-- SQLite:
CREATE INDEX events_forgotten ON events (received_at) WHERE forgotten_at IS NOT NULL;
