-- The specs of webhooks, runs, their stage runs, what these left behind, and the cache of stages.

-- What the default branch says about a webhook: the spec that decides its gates.
CREATE TABLE webhook_specs (
    webhook TEXT NOT NULL PRIMARY KEY,
    revision TEXT NOT NULL,
    file TEXT NOT NULL,
    spec TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    webhook TEXT NOT NULL,
    revision TEXT NOT NULL,
    -- Copied from the revision: superseding is per webhook and branch.
    repository TEXT NOT NULL,
    reference TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- What makes a run of this revision and plan the only one: `revision`, `retry:<run>`, `manual:<run>`.
    occasion TEXT NOT NULL,
    plan_digest TEXT NOT NULL,
    plan TEXT NOT NULL,
    spec TEXT NOT NULL,
    trusted BIGINT NOT NULL,
    -- `newest` or `all`.
    concurrency TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    -- Set when the run is to stop: the status its unfinished stages get, and why.
    stop_status TEXT,
    stop_reason TEXT,
    superseded_by TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    UNIQUE (webhook, number),
    UNIQUE (revision, webhook, occasion, plan_digest)
);

CREATE INDEX runs_open ON runs (webhook, reference) WHERE ended_at IS NULL;
CREATE INDEX runs_latest ON runs (created_at, id);
CREATE INDEX runs_succeeded ON runs (webhook, reference, number) WHERE status = 'succeeded';

CREATE TABLE stage_runs (
    id TEXT NOT NULL PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage TEXT NOT NULL,
    -- The place of the stage in the plan, for lists.
    position BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    cache_key TEXT,
    cached_from TEXT,
    exit_code BIGINT,
    -- The archive of its outputs, the image it made, the promotion it is held by.
    outputs TEXT,
    image TEXT,
    promotion TEXT,
    -- Tests counted in its reports, as JSON.
    tests TEXT,
    queued_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    UNIQUE (run, stage, attempt)
);

CREATE TABLE artifacts (
    id TEXT NOT NULL PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage_run TEXT NOT NULL REFERENCES stage_runs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX artifacts_run ON artifacts (run);
CREATE INDEX artifacts_stage_run ON artifacts (stage_run);

CREATE TABLE stage_cache (
    cache_key TEXT NOT NULL PRIMARY KEY,
    run TEXT NOT NULL,
    outputs TEXT,
    image TEXT,
    used_at BIGINT NOT NULL
);

CREATE INDEX stage_cache_used ON stage_cache (used_at);
