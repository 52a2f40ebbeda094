//! What the board shows of every webhook at once, in a few statements whatever the number of webhooks.

use std::collections::BTreeMap;

use hookwright_core::status::RunStatus;
use hookwright_core::{CommitInfo, CommitSha, DeploymentId, EnvironmentName, Hold, ReleaseId, RunId, Timestamp, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store};

/// A release with what people want to know of its commit.
#[derive(Clone, Debug)]
pub struct ReleaseInfo {
    /// Which.
    pub id: ReleaseId,
    /// What it was built from.
    pub commit: CommitSha,
    /// The run that cut it.
    pub run: RunId,
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

/// The newest deployment of a place, when it came to nothing.
#[derive(Clone, Debug)]
pub struct FailedDeployment {
    /// Which.
    pub id: DeploymentId,
    /// Whose.
    pub webhook: WebhookName,
    /// Where.
    pub environment: EnvironmentName,
    /// What was deployed.
    pub release: ReleaseId,
    /// Why it came to nothing, as a sentence; hostile until escaped.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

const RELEASES: &str =
    "SELECT releases.id AS id, releases.commit_sha AS commit_sha, releases.run AS run, revisions.info AS info, releases.created_at AS created_at
    FROM releases LEFT JOIN revisions ON revisions.id = releases.revision
    WHERE releases.id IN (SELECT release_id FROM deployments WHERE status IN ('pending', 'starting', 'live', 'draining')
        UNION SELECT release_id FROM promotions WHERE status IN ('waiting', 'deploying')
        UNION SELECT release_id FROM deployments AS failed WHERE status IN ('failed', 'errored') AND generation = (SELECT MAX(newest.generation)
            FROM deployments AS newest WHERE newest.webhook = failed.webhook AND newest.environment = failed.environment))";
const FAILED: &str = "SELECT id, webhook, environment, release_id, status_reason, created_at FROM deployments AS failed
    WHERE status IN ('failed', 'errored') AND ($1 = '' OR webhook = $1) AND ($2 = '' OR environment = $2) AND generation = (SELECT MAX(newest.generation)
        FROM deployments AS newest WHERE newest.webhook = failed.webhook AND newest.environment = failed.environment)";
const RELEASE: &str =
    "SELECT releases.id AS id, releases.commit_sha AS commit_sha, releases.run AS run, revisions.info AS info, releases.created_at AS created_at
    FROM releases LEFT JOIN revisions ON revisions.id = releases.revision WHERE releases.id = $1";
const HOLDS: &str = "SELECT webhook, environment, release_id, actor, reason, since FROM holds";
const SPECS: &str = "SELECT webhook, spec FROM webhook_specs";
const NEWEST_RUNS: &str = "SELECT runs.webhook AS webhook, runs.id AS id, runs.number AS number, runs.status AS status FROM webhooks CROSS JOIN runs
    WHERE runs.webhook = webhooks.name AND runs.number = (SELECT MAX(newest.number) FROM runs AS newest WHERE newest.webhook = webhooks.name)";

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

    /// The newest deployment of every place, or of one, where that came to nothing.
    pub async fn board_failures(&self, place: Option<(&WebhookName, &EnvironmentName)>) -> Result<Vec<FailedDeployment>> {
        let (webhook, environment) = place.map(|(webhook, environment)| (webhook.to_string(), environment.to_string())).unwrap_or_default();
        self.fetch_all(FAILED, args![webhook, environment]).await?.iter().map(failed).collect()
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

fn failed(row: &Row) -> Result<FailedDeployment> {
    Ok(FailedDeployment {
        id: row.parse("id")?,
        webhook: row.parse("webhook")?,
        environment: row.parse("environment")?,
        release: row.parse("release_id")?,
        reason: row.optional_text("status_reason")?,
        created_at: row.instant("created_at")?,
    })
}

fn read(row: &Row) -> Result<ReleaseInfo> {
    let info = row.optional_text("info")?.and_then(|info| serde_json::from_str(&info).ok());
    Ok(ReleaseInfo {
        id: row.parse("id")?,
        commit: row.parse("commit_sha")?,
        run: row.parse("run")?,
        info,
        created_at: row.instant("created_at")?,
    })
}
