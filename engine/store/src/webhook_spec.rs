//! What the default branch says about a webhook: the spec that decides its gates and approvals.

use hookwright_core::{RevisionId, WebhookName};

use crate::sql::args;
use crate::{Result, Store, Tx};

/// The spec of the default branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSpec {
    /// The revision it was read at.
    pub revision: RevisionId,
    /// The path of its file.
    pub file: String,
    /// `spec::Spec` as JSON.
    pub spec: String,
}

const WEBHOOK_SPEC_SET: &str = "INSERT INTO webhook_specs (webhook, revision, file, spec, updated_at) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (webhook) DO UPDATE SET revision = excluded.revision, file = excluded.file, spec = excluded.spec, updated_at = excluded.updated_at";
const WEBHOOK_SPEC_FETCH: &str = "SELECT revision, file, spec FROM webhook_specs WHERE webhook = $1";

impl Store {
    /// Writes down what the default branch says now.
    pub async fn webhook_spec_set_in(&self, tx: &mut Tx, webhook: &WebhookName, spec: &WebhookSpec) -> Result<()> {
        let now = tx.clock.now();
        tx.execute(WEBHOOK_SPEC_SET, args![webhook, spec.revision, spec.file, spec.spec, now]).await.map(drop)
    }

    /// What the default branch says, once it was readable there.
    pub async fn webhook_spec_fetch(&self, webhook: &WebhookName) -> Result<Option<WebhookSpec>> {
        let Some(row) = self.fetch_optional(WEBHOOK_SPEC_FETCH, args![webhook]).await? else { return Ok(None) };
        Ok(Some(WebhookSpec { revision: row.parse("revision")?, file: row.text("file")?, spec: row.text("spec")? }))
    }
}
