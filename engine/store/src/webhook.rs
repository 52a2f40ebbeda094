//! Webhooks: a name belongs to the repository and folder that first had it.

use hookwright_core::{RepositoryId, Timestamp, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store, Tx};

/// A webhook the daemon knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRecord {
    /// Its name.
    pub name: WebhookName,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The folder of its `webhook.yaml`; empty for the root.
    pub folder: String,
    /// When it was first seen.
    pub created_at: Timestamp,
}

const CLAIM: &str = "INSERT INTO webhooks (name, repository, folder, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
const MOVED: &str = "UPDATE webhooks SET folder = $1 WHERE name = $2 AND repository = $3";
const FETCH: &str = "SELECT name, repository, folder, created_at FROM webhooks WHERE name = $1";
const LIST: &str = "SELECT name, repository, folder, created_at FROM webhooks WHERE name > $1 ORDER BY name LIMIT $2";

const SET_PUBLIC: &str = "UPDATE webhooks SET is_public = $1 WHERE name = $2";
const IS_PUBLIC: &str = "SELECT is_public FROM webhooks WHERE name = $1";
const LIST_PUBLIC: &str = "SELECT name FROM webhooks WHERE is_public = 1 ORDER BY name";

pub(crate) fn read(row: &Row) -> Result<WebhookRecord> {
    Ok(WebhookRecord {
        name: row.parse("name")?,
        repository: row.parse("repository")?,
        folder: row.text("folder")?,
        created_at: row.instant("created_at")?,
    })
}

impl Tx {
    /// Takes the name for a repository, or finds whose it is: compare the returned record's repository.
    pub async fn webhook_claim(&mut self, name: &WebhookName, repository: &RepositoryId, folder: &str) -> Result<WebhookRecord> {
        let now = self.clock.now();
        self.execute(CLAIM, args![name, repository, folder, now]).await?;
        self.execute(MOVED, args![folder, name, repository]).await?;
        let fallback = WebhookRecord { name: name.clone(), repository: *repository, folder: folder.to_owned(), created_at: now };
        self.fetch_optional(FETCH, args![name]).await?.as_ref().map_or(Ok(fallback), read)
    }

    /// Says whether anybody may see a webhook's status; `false` when there is no such webhook.
    pub async fn webhook_set_public(&mut self, name: &WebhookName, public: bool) -> Result<bool> {
        Ok(self.execute(SET_PUBLIC, args![public, name]).await? > 0)
    }
}

impl Store {
    /// A webhook.
    pub async fn webhook_fetch(&self, name: &WebhookName) -> Result<Option<WebhookRecord>> {
        self.fetch_optional(FETCH, args![name]).await?.as_ref().map(read).transpose()
    }

    /// Whether anybody may see a webhook's status.
    pub async fn webhook_is_public(&self, name: &WebhookName) -> Result<bool> {
        self.fetch_optional(IS_PUBLIC, args![name]).await?.map_or(Ok(false), |row| row.flag("is_public"))
    }

    /// The names of the webhooks whose status anybody may see.
    pub async fn webhook_list_public(&self) -> Result<Vec<WebhookName>> {
        self.fetch_all(LIST_PUBLIC, Vec::new()).await?.iter().map(|row| row.parse("name")).collect()
    }

    /// Webhooks by name, those after `after`.
    pub async fn webhook_list(&self, after: Option<&WebhookName>, limit: u32) -> Result<Vec<WebhookRecord>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.fetch_all(LIST, args![after, limit]).await?.iter().map(read).collect()
    }
}
