-- People whom an identity provider knows: the groups that it said at the last sign-in, so that changed settings hold for them at once; and since when
-- somebody is removed: the name stays that person's, and the provider alone does not let them in again.

ALTER TABLE users ADD COLUMN provider_groups TEXT NOT NULL DEFAULT '[]';

ALTER TABLE users ADD COLUMN removed_at BIGINT;
