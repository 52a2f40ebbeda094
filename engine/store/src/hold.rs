//! Holds: environments that automation leaves alone after a rollback or because a person says so; one row an environment.

use hookwright_core::{EnvironmentName, Hold, WebhookName};

use crate::audit::{self, AuditEntry};
use crate::sql::{Row, args};
use crate::{Result, Store, Tx};

const FETCH: &str = "SELECT webhook, environment, release_id, actor, reason, since FROM holds WHERE webhook = $1 AND environment = $2";

pub(crate) const HISTORY: &str = "SELECT id, at, user_name, action, webhook, environment, detail FROM audit WHERE webhook = $1
    AND environment = $2 AND action IN ('hold.set', 'hold.ended', 'promotion.rollback') ORDER BY at DESC, id DESC LIMIT $3";

impl Store {
    /// Sets the hold, in place of one that was there.
    pub async fn hold_set_in(&self, tx: &mut Tx, hold: &Hold) -> Result<()> {
        const SET: &str = "INSERT INTO holds (webhook, environment, release_id, actor, reason, since) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (webhook, environment) DO UPDATE SET release_id = excluded.release_id, actor = excluded.actor,
             reason = excluded.reason, since = excluded.since";
        let values = args![hold.webhook, hold.environment, hold.release, hold.actor, hold.reason, hold.since];
        tx.execute(SET, values).await.map(drop)
    }

    /// Lifts the hold; whether there was one.
    pub async fn hold_clear_in(&self, tx: &mut Tx, webhook: &WebhookName, environment: &EnvironmentName) -> Result<bool> {
        const CLEAR: &str = "DELETE FROM holds WHERE webhook = $1 AND environment = $2";
        Ok(tx.execute(CLEAR, args![webhook, environment]).await? > 0)
    }

    /// The hold of an environment.
    pub async fn hold_fetch(&self, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Option<Hold>> {
        self.fetch_optional(FETCH, args![webhook, environment]).await?.as_ref().map(read).transpose()
    }

    /// When the environment was held and given free, and by whom: the newest lines of the audit log first.
    pub async fn hold_history(&self, webhook: &WebhookName, environment: &EnvironmentName, limit: u32) -> Result<Vec<AuditEntry>> {
        self.fetch_all(HISTORY, args![webhook, environment, limit]).await?.iter().map(audit::read).collect()
    }

    /// The same as a transaction sees it.
    pub async fn hold_fetch_in(&self, tx: &mut Tx, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Option<Hold>> {
        tx.fetch_optional(FETCH, args![webhook, environment]).await?.as_ref().map(read).transpose()
    }
}

pub(crate) fn read(row: &Row) -> Result<Hold> {
    Ok(Hold {
        webhook: row.parse("webhook")?,
        environment: row.parse("environment")?,
        release: row.optional_parse("release_id")?,
        actor: row.text("actor")?,
        reason: row.text("reason")?,
        since: row.instant("since")?,
    })
}
