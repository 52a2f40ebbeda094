//! Releases: written once under the name of their content, never changed.

use hookwright_core::{Release, ReleaseId, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store, Tx};

macro_rules! columns {
    () => {
        "id, content, webhook, revision, commit_sha, run, image, spec, created_at"
    };
}

impl Store {
    /// Writes a release unless it exists; whichever was first is kept and returned.
    pub async fn release_add_in(&self, tx: &mut Tx, release: &Release) -> Result<Release> {
        const ADD: &str = concat!(
            "INSERT INTO releases (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET id = releases.id RETURNING ",
            columns!()
        );
        let values = args![
            release.id,
            release.content,
            release.webhook,
            release.revision,
            release.commit,
            release.run,
            release.image,
            release.spec,
            release.created_at
        ];
        let row = tx.fetch_optional(ADD, values).await?;
        row.map_or_else(|| Ok(release.clone()), |row| read(&row))
    }

    /// The release of that name.
    pub async fn release_fetch(&self, id: &ReleaseId) -> Result<Option<Release>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM releases WHERE id = $1");
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Releases, newest first: all or one webhook's, older than `before`.
    pub async fn release_list(&self, webhook: Option<&WebhookName>, before: Option<&ReleaseId>, limit: u32) -> Result<Vec<Release>> {
        const LIST: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM releases WHERE ($1 IS NULL OR webhook = $1)
              AND ($2 IS NULL OR (created_at, id) < (SELECT created_at, id FROM releases WHERE id = $2))
              ORDER BY created_at DESC, id DESC LIMIT $3"
        );
        let rows = self.fetch_all(LIST, args![webhook.cloned(), before.cloned(), limit]).await?;
        rows.iter().map(read).collect()
    }

    /// The newest spec of the default branch as JSON, once it was readable there: where policy is read from.
    pub async fn release_policy_spec(&self, webhook: &WebhookName) -> Result<Option<String>> {
        const FETCH: &str = "SELECT runs.spec AS spec FROM runs
             JOIN webhooks ON webhooks.name = runs.webhook AND webhooks.repository = runs.repository
             JOIN repositories ON repositories.id = runs.repository
             WHERE runs.webhook = $1 AND runs.spec <> '' AND runs.reference = 'refs/heads/' || repositories.default_branch
             ORDER BY runs.id DESC LIMIT 1";
        self.fetch_optional(FETCH, args![webhook]).await?.map_or(Ok(None), |row| row.optional_text("spec"))
    }
}

fn read(row: &Row) -> Result<Release> {
    Ok(Release {
        id: row.parse("id")?,
        content: row.parse("content")?,
        webhook: row.parse("webhook")?,
        revision: row.parse("revision")?,
        commit: row.parse("commit_sha")?,
        run: row.parse("run")?,
        image: row.parse("image")?,
        spec: row.text("spec")?,
        created_at: row.instant("created_at")?,
    })
}
