-- Which fields of an event nobody is to see and whether the stored body has lost them; and events of which the keys alone are kept.

ALTER TABLE events ADD COLUMN redact TEXT;

ALTER TABLE events ADD COLUMN redacted BIGINT NOT NULL DEFAULT 0;

ALTER TABLE events ADD COLUMN forgotten_at BIGINT;

CREATE INDEX events_unredacted ON events (received_at) WHERE redact IS NOT NULL AND redacted = 0;

CREATE INDEX events_forgotten ON events (received_at) WHERE forgotten_at IS NOT NULL;
