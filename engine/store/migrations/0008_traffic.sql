-- What passed to the handler of each deployment, by minute (whole minutes since 1970). Counts of one minute add up.

CREATE TABLE traffic (
    deployment TEXT NOT NULL,
    minute BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    -- Requests by class of latency, with commas between them.
    latency TEXT NOT NULL,
    PRIMARY KEY (deployment, minute)
);

CREATE INDEX traffic_minute ON traffic (minute);
