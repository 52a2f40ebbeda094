-- Repositories, revisions, tokens, secrets, the audit log and the outbox.

CREATE TABLE repositories (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    url TEXT,
    default_branch TEXT,
    created_at BIGINT NOT NULL,
    polled_at BIGINT,
    poll_error TEXT
);

CREATE TABLE ref_tips (
    repository TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    reference TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repository, reference)
);

CREATE TABLE revisions (
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    reference TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    previous_sha TEXT,
    sequence BIGINT NOT NULL,
    event TEXT NOT NULL,
    info TEXT NOT NULL,
    actor TEXT,
    seen_at BIGINT NOT NULL,
    planned_at BIGINT,
    UNIQUE (repository, reference, sequence)
);

CREATE INDEX revisions_unplanned ON revisions (planned_at, id);

CREATE TABLE webhooks (
    name TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    folder TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    user_name TEXT NOT NULL,
    teams TEXT NOT NULL,
    grants TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE secrets (
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (webhook, environment, name)
);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    action TEXT NOT NULL,
    webhook TEXT,
    environment TEXT,
    detail TEXT NOT NULL
);

CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    done_at BIGINT
);
