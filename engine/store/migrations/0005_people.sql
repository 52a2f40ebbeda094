-- Who is signed in at the status page. A session is worth what its token is worth.

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_token ON sessions (token);
CREATE INDEX sessions_expires ON sessions (expires_at);
