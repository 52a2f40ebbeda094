//! Webhooks: which repository a name belongs to, and what the default branch says about it.

use hookwright_core::{RepositoryId, RevisionId, Timestamp, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store, Tx};

/// A webhook that was pushed at least once.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name.
    pub name: WebhookName,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The path of its `webhook.yaml`.
    pub file: String,
    /// `spec::Spec` of the default branch as JSON, once it was readable there.
    pub spec: Option<String>,
    /// The revision that spec was read at.
    pub revision: Option<RevisionId>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

const WEBHOOK_CLAIM: &str = "INSERT INTO webhooks (name, repository, file, created_at) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name) DO UPDATE SET file = CASE WHEN webhooks.repository = excluded.repository THEN excluded.file ELSE webhooks.file END \
    RETURNING repository";
const WEBHOOK_OWNER: &str = "SELECT repository FROM webhooks WHERE name = $1";
const WEBHOOK_SET_SPEC: &str = "UPDATE webhooks SET spec = $1, revision = $2 WHERE name = $3";
const WEBHOOK_FETCH: &str = "SELECT name, repository, file, spec, revision, created_at FROM webhooks WHERE name = $1";
const WEBHOOK_LIST: &str = "SELECT name, repository, file, spec, revision, created_at FROM webhooks ORDER BY name";

impl Store {
    /// Gives a name to the first repository that asks; returns whose it is.
    pub async fn webhook_claim_in(&self, tx: &mut Tx, name: &WebhookName, repository: RepositoryId, file: &str) -> Result<RepositoryId> {
        let now = tx.clock.now();
        let row = tx.fetch_optional(WEBHOOK_CLAIM, args![name, repository, file, now]).await?;
        row.map_or(Ok(repository), |row| row.parse("repository"))
    }

    /// Whose a name is.
    pub async fn webhook_owner_in(&self, tx: &mut Tx, name: &WebhookName) -> Result<Option<RepositoryId>> {
        tx.fetch_optional(WEBHOOK_OWNER, args![name]).await?.map(|row| row.parse("repository")).transpose()
    }

    /// Writes what the default branch says.
    pub async fn webhook_set_spec_in(&self, tx: &mut Tx, name: &WebhookName, revision: RevisionId, spec: &str) -> Result<()> {
        tx.execute(WEBHOOK_SET_SPEC, args![spec, revision, name]).await.map(drop)
    }

    /// A webhook.
    pub async fn webhook_fetch(&self, name: &WebhookName) -> Result<Option<Webhook>> {
        self.fetch_optional(WEBHOOK_FETCH, args![name]).await?.map(|row| webhook(&row)).transpose()
    }

    /// All webhooks by name.
    pub async fn webhook_list(&self) -> Result<Vec<Webhook>> {
        self.fetch_all(WEBHOOK_LIST, Vec::new()).await?.iter().map(webhook).collect()
    }
}

fn webhook(row: &Row) -> Result<Webhook> {
    Ok(Webhook {
        name: row.parse("name")?,
        repository: row.parse("repository")?,
        file: row.text("file")?,
        spec: row.optional_text("spec")?,
        revision: row.optional_parse("revision")?,
        created_at: row.instant("created_at")?,
    })
}
