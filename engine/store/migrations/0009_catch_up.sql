-- What event sources could not deliver while nobody answered: up to where their lists were read, and what was asked for again.

CREATE TABLE catch_ups (
    subscription TEXT NOT NULL PRIMARY KEY,
    hook TEXT NOT NULL,
    looked_until BIGINT NOT NULL
);

-- A row stays after it is settled, so that a list that still shows the failure leads to no further call.
CREATE TABLE missed_deliveries (
    subscription TEXT NOT NULL,
    replay_key TEXT NOT NULL,
    hook TEXT NOT NULL,
    delivery TEXT NOT NULL,
    found_at BIGINT NOT NULL,
    asks BIGINT NOT NULL,
    asked_at BIGINT,
    settled BIGINT NOT NULL,
    PRIMARY KEY (subscription, replay_key)
);

CREATE INDEX missed_deliveries_open ON missed_deliveries (subscription, found_at) WHERE settled = 0;
