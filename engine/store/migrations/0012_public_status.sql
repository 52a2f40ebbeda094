-- Which webhooks anybody may see the status of.
ALTER TABLE webhooks ADD COLUMN is_public BIGINT NOT NULL DEFAULT 0;
