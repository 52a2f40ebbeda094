//! Holds: environments that automation leaves alone after a rollback; one row an environment.

use hookwright_core::{EnvironmentName, Hold, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store, Tx};

const FETCH: &str = "SELECT webhook, environment, release_id, actor, reason, since FROM holds WHERE webhook = $1 AND environment = $2";

impl Store {
    /// Sets the hold, in place of one that was there.
    pub async fn hold_set_in(&self, tx: &mut Tx, hold: &Hold) -> Result<()> {
        const SET: &str = "INSERT INTO holds (webhook, environment, release_id, actor, reason, since) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (webhook, environment) DO UPDATE SET release_id = excluded.release_id, actor = excluded.actor,
             reason = excluded.reason, since = excluded.since";
        let values = args![hold.webhook, hold.environment, hold.release, hold.actor, hold.reason, hold.since];
        tx.execute(SET, values).await.map(drop)
    }

    /// Lifts the hold, if there is one.
    pub async fn hold_clear_in(&self, tx: &mut Tx, webhook: &WebhookName, environment: &EnvironmentName) -> Result<()> {
        const CLEAR: &str = "DELETE FROM holds WHERE webhook = $1 AND environment = $2";
        tx.execute(CLEAR, args![webhook, environment]).await.map(drop)
    }

    /// The hold of an environment.
    pub async fn hold_fetch(&self, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Option<Hold>> {
        self.fetch_optional(FETCH, args![webhook, environment]).await?.as_ref().map(read).transpose()
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
        release: row.parse("release_id")?,
        actor: row.text("actor")?,
        reason: row.text("reason")?,
        since: row.instant("since")?,
    })
}
