-- Releases, their way into environments, what people decided about it, and what is deployed.

CREATE TABLE releases (
    id TEXT NOT NULL PRIMARY KEY,
    content TEXT NOT NULL,
    webhook TEXT NOT NULL,
    revision TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    run TEXT NOT NULL,
    image TEXT NOT NULL,
    spec TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX releases_webhook ON releases (webhook, created_at);

CREATE TABLE promotions (
    id TEXT NOT NULL PRIMARY KEY,
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    release_id TEXT NOT NULL,
    origin TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    verdicts TEXT NOT NULL,
    deployment TEXT,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);

-- At most one is open per release and environment.
CREATE UNIQUE INDEX promotions_open ON promotions (webhook, environment, release_id) WHERE status IN ('waiting', 'deploying');

CREATE INDEX promotions_place ON promotions (webhook, environment, id);

CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY,
    promotion TEXT NOT NULL,
    release_id TEXT NOT NULL,
    environment TEXT NOT NULL,
    webhook TEXT NOT NULL,
    user_name TEXT NOT NULL,
    teams TEXT NOT NULL,
    decision TEXT NOT NULL,
    reason TEXT,
    decided_at BIGINT NOT NULL
);

CREATE INDEX approvals_release ON approvals (webhook, environment, release_id);

CREATE TABLE holds (
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    release_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (webhook, environment)
);

CREATE TABLE deployments (
    id TEXT NOT NULL PRIMARY KEY,
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation BIGINT NOT NULL,
    release_id TEXT NOT NULL,
    image TEXT NOT NULL,
    promotion TEXT NOT NULL,
    config TEXT NOT NULL,
    instances BIGINT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    created_at BIGINT NOT NULL,
    live_at BIGINT,
    ended_at BIGINT,
    UNIQUE (webhook, environment, generation)
);

CREATE INDEX deployments_status ON deployments (status);
