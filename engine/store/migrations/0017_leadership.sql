-- Which of the daemons on this database leads, and what only daemons with the right key can read.
-- The epoch is the key of the row: a transaction of the leader holds it (FOR KEY SHARE), so that a taker waits for what is under way,
-- and heartbeats, which leave the key alone, wait for nobody.

CREATE TABLE leadership (
    epoch BIGINT NOT NULL PRIMARY KEY,
    -- There is one row.
    place BIGINT NOT NULL UNIQUE,
    beat BIGINT NOT NULL,
    -- The process that leads; NULL once it has let go.
    holder TEXT,
    -- Where it is reached, and where its handlers are.
    address TEXT,
    gateway_address TEXT,
    -- The data folder that is led with, and where its lock is: machine, start of the machine, device, file.
    folder TEXT,
    folder_lock TEXT,
    -- A text sealed with the key.
    key_check TEXT
);

-- For lists and clean-ups that went through all there is.
CREATE INDEX runs_webhook ON runs (webhook, id);
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX releases_created ON releases (created_at, id);
CREATE INDEX deployments_created ON deployments (webhook, created_at, id);
CREATE INDEX missed_deliveries_found ON missed_deliveries (found_at);
