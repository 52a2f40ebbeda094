//! What the board shows of every webhook at once, in a few statements whatever the number of webhooks.

use std::collections::BTreeMap;

use hookwright_core::status::RunStatus;
use hookwright_core::{CommitInfo, CommitSha, Hold, ReleaseId, RunId, Timestamp, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store};

/// A release with what people want to know of its commit.
#[derive(Clone, Debug)]
pub struct ReleaseInfo {
    /// Which.
    pub id: ReleaseId,
    /// What it was built from.
    pub commit: CommitSha,
    /// The commit's first line, author and time; hostile until escaped. `None` when its revision is gone.
    pub info: Option<CommitInfo>,
    /// When it was first cut.
    pub created_at: Timestamp,
}

/// The newest run of a webhook.
#[derive(Clone, Copy, Debug)]
pub struct NewestRun {
    /// Which.
    pub id: RunId,
    /// Its number.
    pub number: u32,
    /// Where it stands.
    pub status: RunStatus,
}

const RELEASES: &str =
    "SELECT releases.id AS id, releases.commit_sha AS commit_sha, revisions.info AS info, releases.created_at AS created_at
    FROM releases LEFT JOIN revisions ON revisions.id = releases.revision
    WHERE releases.id IN (SELECT release_id FROM deployments WHERE status IN ('pending', 'starting', 'live', 'draining')
        UNION SELECT release_id FROM promotions WHERE status IN ('waiting', 'deploying'))";
const RELEASE: &str =
    "SELECT releases.id AS id, releases.commit_sha AS commit_sha, revisions.info AS info, releases.created_at AS created_at
    FROM releases LEFT JOIN revisions ON revisions.id = releases.revision WHERE releases.id = $1";
const HOLDS: &str = "SELECT webhook, environment, release_id, actor, reason, since FROM holds";
const SPECS: &str = "SELECT webhook, spec FROM webhook_specs";
const NEWEST_RUNS: &str = "SELECT runs.webhook AS webhook, runs.id AS id, runs.number AS number, runs.status AS status FROM webhooks JOIN runs ON runs.webhook = webhooks.name
    AND runs.number = (SELECT MAX(newest.number) FROM runs AS newest WHERE newest.webhook = webhooks.name)";

impl Store {
    /// Every release that is deployed or on its way somewhere.
    pub async fn board_releases(&self) -> Result<BTreeMap<ReleaseId, ReleaseInfo>> {
        let rows = self.fetch_all(RELEASES, args![]).await?;
        rows.iter().map(|row| read(row).map(|release| (release.id.clone(), release))).collect()
    }

    /// One release with its commit.
    pub async fn release_info(&self, id: &ReleaseId) -> Result<Option<ReleaseInfo>> {
        self.fetch_optional(RELEASE, args![id]).await?.as_ref().map(read).transpose()
    }

    /// Every hold.
    pub async fn hold_list(&self) -> Result<Vec<Hold>> {
        self.fetch_all(HOLDS, args![]).await?.iter().map(crate::hold::read).collect()
    }

    /// The spec of every webhook as its default branch has it, as JSON.
    pub async fn board_specs(&self) -> Result<BTreeMap<WebhookName, String>> {
        let rows = self.fetch_all(SPECS, args![]).await?;
        rows.iter().map(|row| Ok((row.parse("webhook")?, row.text("spec")?))).collect()
    }

    /// The newest run of every webhook.
    pub async fn board_runs(&self) -> Result<BTreeMap<WebhookName, NewestRun>> {
        let rows = self.fetch_all(NEWEST_RUNS, args![]).await?;
        let run = |row: &Row| {
            Ok::<_, crate::Error>(NewestRun { id: row.parse("id")?, number: row.number("number")?, status: row.parse("status")? })
        };
        rows.iter().map(|row| Ok((row.parse("webhook")?, run(row)?))).collect()
    }
}

fn read(row: &Row) -> Result<ReleaseInfo> {
    let info = row.optional_text("info")?.and_then(|info| serde_json::from_str(&info).ok());
    Ok(ReleaseInfo { id: row.parse("id")?, commit: row.parse("commit_sha")?, info, created_at: row.instant("created_at")? })
}
