-- The hooks by which forges tell the engine what happened in watched repositories. A row outlives its repository until the forge has forgotten the hook.
CREATE TABLE repository_hooks (
    id TEXT NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    provider TEXT NOT NULL,
    address TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    provider_id TEXT,
    applied TEXT,
    heard_at BIGINT,
    missed_at BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (repository, provider)
);
