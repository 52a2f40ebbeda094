-- People with a name of their own: with a password, or known by an OpenID provider. A session is worth what its token or its user is worth.

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    -- Argon2id in PHC format; NULL for who signs in elsewhere.
    password TEXT,
    -- Who the provider says it is; both or neither.
    issuer TEXT,
    subject TEXT,
    teams TEXT NOT NULL,
    grants TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    UNIQUE (issuer, subject)
);

CREATE TABLE sessions_of_anybody (
    id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    token TEXT,
    user_name TEXT REFERENCES users (name) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

INSERT INTO sessions_of_anybody (id, digest, token, created_at, expires_at)
SELECT id, digest, token, created_at, expires_at FROM sessions;

DROP TABLE sessions;

ALTER TABLE sessions_of_anybody RENAME TO sessions;

CREATE INDEX sessions_token ON sessions (token);
CREATE INDEX sessions_user ON sessions (user_name);
CREATE INDEX sessions_expires ON sessions (expires_at);
