-- What was sent to the address of a trigger and not taken, by hour (whole hours since 1970) and by the status that was answered. No body is kept,
-- and strangers cannot make rows: a row is an hour of one subscription and one of a few statuses.

CREATE TABLE refusals (
    subscription TEXT NOT NULL,
    hour BIGINT NOT NULL,
    status BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    last_reason TEXT NOT NULL,
    -- The address that the last one came from.
    last_from TEXT,
    PRIMARY KEY (subscription, hour, status)
);

CREATE INDEX refusals_hour ON refusals (hour);
