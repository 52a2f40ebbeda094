//! The audit log: who did what, written in the transaction of the deed.

use hookwright_core::{AuditId, EnvironmentName, Timestamp, WebhookName};

use crate::sql::args;
use crate::{Result, Store, Tx};

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct NewAudit<'a> {
    /// Who.
    pub user: &'a str,
    /// What, as a dotted word: `promotion.approved`.
    pub action: &'a str,
    /// Of which webhook.
    pub webhook: Option<&'a WebhookName>,
    /// Where.
    pub environment: Option<&'a EnvironmentName>,
    /// The rest, as a sentence without secrets.
    pub detail: &'a str,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub user: String,
    /// What.
    pub action: String,
    /// Of which webhook.
    pub webhook: Option<WebhookName>,
    /// Where.
    pub environment: Option<EnvironmentName>,
    /// The rest.
    pub detail: String,
}

const INSERT: &str = "INSERT INTO audit (id, at, user_name, action, webhook, environment, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const LIST: &str = "SELECT id, at, user_name, action, webhook, environment, detail FROM audit
    WHERE ($1 = '' OR id < $1) ORDER BY id DESC LIMIT $2";

impl Tx {
    /// Writes a line.
    pub async fn audit_append(&mut self, entry: NewAudit<'_>) -> Result<()> {
        let id = AuditId::new(&*self.ids);
        let now = self.clock.now();
        let webhook = entry.webhook.cloned();
        let environment = entry.environment.cloned();
        self.execute(INSERT, args![id, now, entry.user, entry.action, webhook, environment, entry.detail]).await?;
        Ok(())
    }
}

impl Store {
    /// The newest lines first, older than `before`.
    pub async fn audit_list(&self, before: Option<AuditId>, limit: u32) -> Result<Vec<AuditEntry>> {
        let before = before.map(|id| id.to_string()).unwrap_or_default();
        let rows = self.fetch_all(LIST, args![before, limit]).await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    id: row.parse("id")?,
                    at: row.instant("at")?,
                    user: row.text("user_name")?,
                    action: row.text("action")?,
                    webhook: row.optional_parse("webhook")?,
                    environment: row.optional_parse("environment")?,
                    detail: row.text("detail")?,
                })
            })
            .collect()
    }
}
