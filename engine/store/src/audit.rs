//! The audit log: who did what, written in the transaction of the deed.

use hookwright_core::{AuditId, EnvironmentName, Timestamp, WebhookName};

use crate::sql::{Row, args};
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

const FIND: &str = "SELECT id, at, user_name, action, webhook, environment, detail FROM audit
    WHERE ($1 = '' OR id < $1) AND ($2 = '' OR user_name = $2) AND ($3 = '' OR webhook = $3)
    AND ($4 = '' OR action = $4 OR substr(action, 1, length($4) + 1) = $4 || '.') ORDER BY id DESC LIMIT $5";

/// Which lines are looked for; an empty text is any.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Who, exactly.
    pub user: String,
    /// What, a whole action (`secret.set`) or what it begins with (`secret`).
    pub action: String,
    /// Of which webhook.
    pub webhook: String,
    /// Only older than this one: the last of the page before.
    pub before: Option<AuditId>,
    /// At most so many.
    pub limit: u32,
}

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
        self.fetch_all(LIST, args![before, limit]).await?.iter().map(read).collect()
    }

    /// The newest lines first that a filter lets through.
    pub async fn audit_find(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let before = filter.before.map(|id| id.to_string()).unwrap_or_default();
        let values = args![before, filter.user.as_str(), filter.webhook.as_str(), filter.action.as_str(), filter.limit];
        self.fetch_all(FIND, values).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.parse("id")?,
        at: row.instant("at")?,
        user: row.text("user_name")?,
        action: row.text("action")?,
        webhook: row.optional_parse("webhook")?,
        environment: row.optional_parse("environment")?,
        detail: row.text("detail")?,
    })
}
