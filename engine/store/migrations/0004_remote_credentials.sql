-- What watched remotes are read with, sealed; one row each at most, gone with its repository.

CREATE TABLE remote_credentials (
    repository TEXT PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    username TEXT,
    sealed TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
