-- Channels through which some event sources send, each for a time; and what providers' credentials were exchanged for.

CREATE TABLE channels (
    id TEXT NOT NULL PRIMARY KEY,
    subscription TEXT NOT NULL,
    token TEXT NOT NULL,
    wanted TEXT NOT NULL,
    resource TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE INDEX channels_subscription ON channels (subscription, created_at);

-- `basis` is a digest of the credential in the settings from which the sealed one descends: another one there begins anew.
CREATE TABLE provider_credentials (
    provider TEXT NOT NULL PRIMARY KEY,
    basis TEXT NOT NULL,
    sealed TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
