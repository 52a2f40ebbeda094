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
const FETCH: &str = "SELECT id, at, user_name, action, webhook, environment, detail FROM audit WHERE id = $1";

// One statement for each index: what the others are to be is asked of the lines that it finds.
macro_rules! find {
    ($by:literal) => {
        concat!(
            "SELECT id, at, user_name, action, webhook, environment, detail FROM audit WHERE ",
            $by,
            " AND at >= $2 AND (at, id) < ($3, $4) AND ($5 = '' OR user_name = $5)
              AND ($6 = '' OR action = $6 OR substr(action, 1, length($6) + 1) = $6 || '.') ORDER BY at DESC, id DESC LIMIT $7"
        )
    };
}

const BY_TIME: &str = find!("$1 = ''");
const BY_USER: &str = find!("user_name = $1");
const BY_WEBHOOK: &str = find!("webhook = $1");
const BY_ACTION: &str = find!("action = $1");

/// Each deed there is a line about, one step in the index a deed.
const ACTIONS: &str = "WITH RECURSIVE known (action) AS (SELECT MIN(action) FROM audit UNION ALL
    SELECT (SELECT MIN(next.action) FROM audit AS next WHERE next.action > known.action) FROM known WHERE known.action IS NOT NULL)
    SELECT action FROM known WHERE action IS NOT NULL";

/// Which lines are looked for; an empty text is any.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Who, exactly.
    pub user: String,
    /// What, a whole action (`secret.set`) or what it begins with (`secret`).
    pub action: String,
    /// Of which webhook.
    pub webhook: String,
    /// Only of this time or later.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
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
    /// One line.
    pub async fn audit_fetch(&self, id: AuditId) -> Result<Option<AuditEntry>> {
        self.fetch_optional(FETCH, args![id]).await?.as_ref().map(read).transpose()
    }

    /// Each deed that there is a line about: `secret.set`.
    pub async fn audit_actions(&self) -> Result<Vec<String>> {
        self.fetch_all(ACTIONS, args![]).await?.iter().map(|row| row.text("action")).collect()
    }

    /// The newest lines first that a filter lets through; none before a line that is not there.
    pub async fn audit_find(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let mut end = (filter.until.map_or(i64::MAX, Timestamp::as_millis), String::new());
        if let Some(before) = filter.before {
            let Some(line) = self.audit_fetch(before).await? else { return Ok(Vec::new()) };
            end = end.min((line.at.as_millis(), line.id.to_string()));
        }
        if !filter.webhook.is_empty() {
            return self.audit_read(BY_WEBHOOK, &filter.webhook, &end, filter).await;
        }
        if filter.action.is_empty() {
            let (statement, key) = if filter.user.is_empty() { (BY_TIME, "") } else { (BY_USER, filter.user.as_str()) };
            return self.audit_read(statement, key, &end, filter).await;
        }
        // What an action begins with is several, and each of them is in order.
        let family = format!("{}.", filter.action);
        let mut found = Vec::new();
        for action in self.audit_actions().await?.into_iter().filter(|one| *one == filter.action || one.starts_with(&family)) {
            found.extend(self.audit_read(BY_ACTION, &action, &end, filter).await?);
        }
        found.sort_by_key(|line| std::cmp::Reverse((line.at, line.id)));
        found.truncate(filter.limit as usize);
        Ok(found)
    }

    async fn audit_read(&self, statement: &'static str, key: &str, end: &(i64, String), filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let since = filter.since.map_or(i64::MIN, Timestamp::as_millis);
        let values = args![key, since, end.0, end.1.as_str(), filter.user.as_str(), filter.action.as_str(), filter.limit];
        self.fetch_all(statement, values).await?.iter().map(read).collect()
    }
}

pub(crate) fn read(row: &Row) -> Result<AuditEntry> {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::Duration;

    use hookwright_core::{Clock, IdSource};
    use hookwright_testkit::Database;

    use super::*;
    use crate::leadership::tests::lead;
    use crate::{SecretKey, StoreOptions};

    /// Each look at it is a second later.
    #[derive(Default)]
    struct Ticking(AtomicI64);

    impl Clock for Ticking {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_000 * self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[derive(Default)]
    struct Counted(AtomicU64);

    impl IdSource for Counted {
        fn uuid(&self) -> uuid::Uuid {
            uuid::Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
        }
    }

    async fn on(url: String, folder: &tempfile::TempDir) -> Store {
        let key = SecretKey::load_or_create(&folder.path().join("key")).expect("a key");
        let options = StoreOptions { url, clock: Arc::new(Ticking::default()), ids: Arc::new(Counted::default()), key, failpoint: None };
        let store = Store::open(options).await.expect("a store");
        lead(&store).await;
        store
    }

    /// Twelve lines: of rosa and mia in turn, of three deeds, of two webhooks, and of none.
    async fn filled(store: &Store) -> Vec<AuditEntry> {
        let (shop, till): (WebhookName, WebhookName) = ("shop".parse().expect("a name"), "till".parse().expect("a name"));
        let mut tx = store.begin().await.expect("a transaction");
        for number in 0..12 {
            let user = ["rosa", "mia"][number % 2];
            let action = ["secret.set", "secret.removed", "secrets_seen"][number % 3];
            let webhook = [Some(&shop), Some(&till), None][number / 4];
            tx.audit_append(NewAudit { user, action, webhook, environment: None, detail: "" }).await.expect("a line");
        }
        tx.commit("test").await.expect("a commit");
        store.audit_find(&AuditFilter { limit: 100, ..AuditFilter::default() }).await.expect("lines")
    }

    #[tokio::test]
    async fn every_filter_finds_what_a_look_at_all_lines_finds_page_by_page() {
        let (folder, database) = (tempfile::tempdir().expect("a temporary folder"), Database::of_the_environment());
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        let store = on(url, &folder).await;
        let all = filled(&store).await;
        assert_eq!(all.len(), 12);
        let (since, until) = (all[9].at, all[2].at);
        for user in ["", "rosa", "nobody"] {
            for action in ["", "secret", "secret.set", "secrets_seen", "sec", "%"] {
                for webhook in ["", "shop", "nobody"] {
                    for (since, until) in [(None, None), (Some(since), None), (None, Some(until)), (Some(since), Some(until))] {
                        let fits = |line: &&AuditEntry| {
                            let family = action.is_empty() || line.action == action || line.action.starts_with(&format!("{action}."));
                            let place = webhook.is_empty() || line.webhook.as_ref().is_some_and(|name| name.as_str() == webhook);
                            let time = since.is_none_or(|since| line.at >= since) && until.is_none_or(|until| line.at < until);
                            family && place && time && (user.is_empty() || line.user == user)
                        };
                        let expected: Vec<AuditEntry> = all.iter().filter(fits).cloned().collect();
                        let (user, action, webhook) = (user.to_owned(), action.to_owned(), webhook.to_owned());
                        let mut filter = AuditFilter { user, action, webhook, since, until, before: None, limit: 2 };
                        let mut found = Vec::new();
                        loop {
                            let page = store.audit_find(&filter).await.expect("lines");
                            filter.before = page.last().map(|line| line.id);
                            found.extend(page);
                            if filter.before.is_none() {
                                break;
                            }
                        }
                        assert_eq!(found, expected, "{filter:?}");
                    }
                }
            }
        }
        store.close().await;
    }

    #[tokio::test]
    async fn no_look_into_the_audit_log_reads_all_of_it_or_sorts_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = on(format!("sqlite://{}", folder.path().join("db").display()), &folder).await;
        let looks = [(BY_TIME, "audit_at"), (BY_USER, "audit_user"), (BY_WEBHOOK, "audit_webhook"), (BY_ACTION, "audit_action")];
        let history = (crate::hold::HISTORY, "audit_webhook");
        for (statement, index) in looks.into_iter().chain([history]) {
            let explain = Box::leak(format!("EXPLAIN QUERY PLAN {statement}").into_boxed_str());
            let plan = store.fetch_all(explain, Vec::new()).await.expect("a plan");
            let steps: Vec<String> = plan.iter().map(|row| row.text("detail").expect("a text")).collect();
            let by = format!("SEARCH audit USING INDEX {index} (");
            assert!(steps.len() == 1 && steps[0].starts_with(&by), "{statement}: {steps:?}");
        }
        store.close().await;
    }
}
