-- Pull requests of watched repositories: whether those that were there at the first look are recorded, and which revisions come from forks.
ALTER TABLE repositories ADD COLUMN pull_requests_known BIGINT NOT NULL DEFAULT 0;

ALTER TABLE revisions ADD COLUMN trusted BIGINT NOT NULL DEFAULT 1;
