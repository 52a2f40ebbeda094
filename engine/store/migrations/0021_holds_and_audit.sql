-- Holds that people set by hand name no release; the audit log is looked through by time, person, webhook and deed.

CREATE TABLE holds_of_people (
    webhook TEXT NOT NULL,
    environment TEXT NOT NULL,
    release_id TEXT,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (webhook, environment)
);
INSERT INTO holds_of_people (webhook, environment, release_id, actor, reason, since)
    SELECT webhook, environment, release_id, actor, reason, since FROM holds;
DROP TABLE holds;
ALTER TABLE holds_of_people RENAME TO holds;

CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_user ON audit (user_name, at, id);
CREATE INDEX audit_webhook ON audit (webhook, at, id);
CREATE INDEX audit_action ON audit (action, at, id);
