//! Runs: created once for what they are about, listed for people, and the few that have not ended for the scheduler.

use hookwright_core::status::{RunStatus, StageStatus};
use hookwright_core::{CommitSha, Digest, RefName, RepositoryId, RevisionId, Run, RunId, RunReason, Timestamp, WebhookName};

use crate::sql::{Row, args, json_text};
use crate::{Result, Store, Tx};

/// Whether a newer run of a branch overtakes an older one, or waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunConcurrency {
    /// The newer one stops the older one.
    Newest,
    /// They run one after the other.
    All,
}

impl RunConcurrency {
    /// The text that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::All => "all",
        }
    }
}

/// A request to stop a run: what its unfinished stages become, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStop {
    /// `Canceled` or `Superseded`.
    pub status: StageStatus,
    /// A sentence.
    pub reason: String,
}

/// A run with everything that its execution needs.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The run.
    pub run: Run,
    /// Where its revision is.
    pub repository: RepositoryId,
    /// Its revision's ref.
    pub reference: RefName,
    /// Its revision's commit.
    pub commit: CommitSha,
    /// `spec::Plan` as JSON; empty when the spec could not be planned.
    pub plan: String,
    /// `spec::Spec` as JSON; empty when it could not be read.
    pub spec: String,
    /// Newest or all.
    pub concurrency: RunConcurrency,
    /// Set when it is to stop.
    pub stop: Option<RunStop>,
}

/// A run that has not ended.
#[derive(Clone, Debug)]
pub struct OpenRun {
    /// Which.
    pub id: RunId,
    /// Set when it is to stop.
    pub stop: Option<RunStop>,
}

/// Which runs are listed, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this webhook.
    pub webhook: Option<WebhookName>,
    /// Only in this status.
    pub status: Option<RunStatus>,
    /// Only older than this run: the last of the page before.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

/// What a run is stored from.
#[derive(Clone, Copy, Debug)]
pub struct NewRunRecord<'a> {
    /// The run and what its execution needs; the store gives it its number.
    pub record: &'a RunRecord,
    /// With revision, webhook and plan it makes the run the only one.
    pub occasion: &'a str,
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, webhook, revision, reason, plan_digest, trusted, status, status_reason, superseded_by, created_at, \
             started_at, ended_at, repository, reference, commit_sha, concurrency, stop_status, stop_reason ",
            $rest
        )
    };
}

const RUN_CREATE: &str = "INSERT INTO runs (id, number, webhook, revision, repository, reference, commit_sha, reason, occasion, plan_digest, \
    plan, spec, trusted, concurrency, status, status_reason, created_at, ended_at) \
    SELECT $1, COALESCE((SELECT MAX(number) FROM runs WHERE webhook = $2), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
    $15, $16, $17 WHERE 1 = 1 ON CONFLICT (revision, webhook, occasion, plan_digest) DO NOTHING RETURNING number";
const RUN_FETCH: &str = select_runs!("FROM runs WHERE id = $1");
const RUN_LOAD: &str = select_runs!(", plan, spec FROM runs WHERE id = $1");
const RUN_LIST: &str = select_runs!(
    "FROM runs WHERE ($1 = '' OR webhook = $1) AND ($2 = '' OR status = $2) AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4"
);
const RUN_LIST_OF_WEBHOOK: &str =
    select_runs!("FROM runs WHERE webhook = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4");
const RUN_LIST_SUPERSEDED: &str = select_runs!("FROM runs WHERE superseded_by = $1 ORDER BY id DESC LIMIT $2");
// Without an order: SQLite would walk all of history along the primary key for it.
const RUN_OPEN: &str = "SELECT id, stop_status, stop_reason FROM runs WHERE ended_at IS NULL";
const RUN_UPDATE: &str = "UPDATE runs SET status = $1, status_reason = $2, started_at = $3, ended_at = $4 WHERE id = $5 AND status = $6";
const RUN_STOP: &str = "UPDATE runs SET stop_status = $1, stop_reason = $2 WHERE id = $3 AND ended_at IS NULL AND stop_status IS NULL";
const RUN_SUPERSEDE: &str = "UPDATE runs SET stop_status = 'superseded', stop_reason = $1, superseded_by = $2 \
    WHERE webhook = $3 AND reference = $4 AND number < $5 AND ended_at IS NULL AND stop_status IS NULL";
const RUN_GIVE_UP: &str = "UPDATE runs SET status = 'errored', status_reason = $1, ended_at = $2 WHERE id = $3 AND ended_at IS NULL";
const RUN_GIVE_UP_STAGES: &str = "UPDATE stage_runs SET status = 'canceled', status_reason = $1, ended_at = $2 \
    WHERE run = $3 AND ended_at IS NULL";
const RUN_LAST_SUCCESS: &str = "SELECT commit_sha FROM runs WHERE webhook = $1 AND reference = $2 AND repository = $3 AND status = 'succeeded' \
    ORDER BY number DESC LIMIT 1";
const REVISION_LATEST: &str = "SELECT id FROM revisions WHERE repository = $1 AND reference = $2 AND commit_sha = $3 \
    ORDER BY sequence DESC LIMIT 1";
const RUN_LIST_EXPIRED: &str = "SELECT id FROM runs WHERE ended_at < $1 AND number + $2 <= \
    (SELECT MAX(number) FROM runs AS latest WHERE latest.webhook = runs.webhook) ORDER BY ended_at, id LIMIT $3";
const RUN_REMOVE: &str = "DELETE FROM runs WHERE id = $1";

impl Store {
    /// Stores a new run and gives it its number; `None` when it exists already.
    pub async fn run_create_in(&self, tx: &mut Tx, new: &NewRunRecord<'_>) -> Result<Option<u32>> {
        let RunRecord { run, repository, reference, commit, plan, spec, concurrency, .. } = new.record;
        let values = args![
            run.id,
            run.webhook,
            run.revision,
            repository,
            reference,
            commit,
            json_text(&run.reason),
            new.occasion,
            run.plan_digest.map(|digest| digest.to_string()).unwrap_or_default(),
            plan,
            spec,
            run.trusted,
            concurrency.as_str(),
            run.status,
            run.status_reason,
            run.created_at,
            run.ended_at,
        ];
        tx.fetch_optional(RUN_CREATE, values).await?.map(|row| row.number("number")).transpose()
    }

    /// A run.
    pub async fn run_fetch(&self, id: RunId) -> Result<Option<Run>> {
        self.fetch_optional(RUN_FETCH, args![id]).await?.map(|row| run(&row)).transpose()
    }

    /// A run with everything that its execution needs.
    pub async fn run_load(&self, id: RunId) -> Result<Option<RunRecord>> {
        self.fetch_optional(RUN_LOAD, args![id]).await?.map(|row| record(&row)).transpose()
    }

    /// Runs, newest first.
    pub async fn run_list(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        let statement = if filter.webhook.is_some() { RUN_LIST_OF_WEBHOOK } else { RUN_LIST };
        let webhook = filter.webhook.as_ref().map(ToString::to_string).unwrap_or_default();
        let status = filter.status.map(|status| status.to_string()).unwrap_or_default();
        let before = filter.before.map(|id| id.to_string()).unwrap_or_default();
        self.fetch_all(statement, args![webhook, status, before, filter.limit]).await?.iter().map(run).collect()
    }

    /// The runs that this one overtook, newest first.
    pub async fn run_list_superseded(&self, by: RunId, limit: u32) -> Result<Vec<Run>> {
        self.fetch_all(RUN_LIST_SUPERSEDED, args![by, limit]).await?.iter().map(run).collect()
    }

    /// Every run that has not ended, oldest first.
    pub async fn run_open(&self) -> Result<Vec<OpenRun>> {
        let rows = self.fetch_all(RUN_OPEN, Vec::new()).await?;
        let open = rows.iter().map(|row| Ok(OpenRun { id: row.parse("id")?, stop: stop(row)? }));
        let mut open = open.collect::<Result<Vec<_>>>()?;
        open.sort_unstable_by_key(|run| run.id);
        Ok(open)
    }

    /// Writes a run's status; `false` when the stored one is not `from`.
    pub async fn run_update_in(&self, tx: &mut Tx, from: RunStatus, run: &Run) -> Result<bool> {
        let values = args![run.status, run.status_reason, run.started_at, run.ended_at, run.id, from];
        Ok(tx.execute(RUN_UPDATE, values).await? == 1)
    }

    /// Asks a run to stop; `false` when it has ended or is stopping already.
    pub async fn run_stop_in(&self, tx: &mut Tx, id: RunId, stop: &RunStop) -> Result<bool> {
        Ok(tx.execute(RUN_STOP, args![stop.status, stop.reason, id]).await? == 1)
    }

    /// Asks every older run of the webhook and branch that has not ended to stop, because `by` overtakes it.
    pub async fn run_supersede_in(&self, tx: &mut Tx, by: &RunRecord, number: u32) -> Result<u64> {
        let reason = format!("overtaken by run {number} of commit {}", by.commit.short());
        tx.execute(RUN_SUPERSEDE, args![reason, by.run.id, by.run.webhook, by.reference, number]).await
    }

    /// Ends a run that cannot be executed at all, and its stage runs.
    pub async fn run_give_up_in(&self, tx: &mut Tx, id: RunId, reason: &str) -> Result<()> {
        let now = tx.clock.now();
        tx.execute(RUN_GIVE_UP_STAGES, args![reason, now, id]).await?;
        tx.execute(RUN_GIVE_UP, args![reason, now, id]).await.map(drop)
    }

    /// The commit of the webhook's last run on the ref that succeeded.
    pub async fn run_last_success(
        &self,
        webhook: &WebhookName,
        repository: RepositoryId,
        reference: &RefName,
    ) -> Result<Option<CommitSha>> {
        let row = self.fetch_optional(RUN_LAST_SUCCESS, args![webhook, reference, repository]).await?;
        row.map(|row| row.parse("commit_sha")).transpose()
    }

    /// The latest revision of a commit on a ref: what a run that somebody starts is about.
    pub async fn revision_latest(&self, repository: RepositoryId, reference: &RefName, commit: &CommitSha) -> Result<Option<RevisionId>> {
        let row = self.fetch_optional(REVISION_LATEST, args![repository, reference, commit]).await?;
        row.map(|row| row.parse("id")).transpose()
    }

    /// Runs that ended before `before`, less the `keep` latest of each webhook.
    pub async fn run_list_expired(&self, before: Timestamp, keep: u32, limit: u32) -> Result<Vec<RunId>> {
        self.fetch_all(RUN_LIST_EXPIRED, args![before, keep, limit]).await?.iter().map(|row| row.parse("id")).collect()
    }

    /// Removes a run with its stage runs and artifacts.
    pub async fn run_remove_in(&self, tx: &mut Tx, id: RunId) -> Result<()> {
        tx.execute(RUN_REMOVE, args![id]).await.map(drop)
    }
}

fn run(row: &Row) -> Result<Run> {
    let plan_digest = row.text("plan_digest")?;
    Ok(Run {
        id: row.parse("id")?,
        number: row.number("number")?,
        webhook: row.parse("webhook")?,
        revision: row.parse::<RevisionId>("revision")?,
        reason: row.json::<RunReason>("reason")?,
        plan_digest: if plan_digest.is_empty() { None } else { Some(row.parse::<Digest>("plan_digest")?) },
        trusted: row.flag("trusted")?,
        status: row.parse("status")?,
        status_reason: row.optional_text("status_reason")?,
        superseded_by: row.optional_parse("superseded_by")?,
        created_at: row.instant("created_at")?,
        started_at: row.optional_instant("started_at")?,
        ended_at: row.optional_instant("ended_at")?,
    })
}

fn record(row: &Row) -> Result<RunRecord> {
    Ok(RunRecord {
        run: run(row)?,
        repository: row.parse("repository")?,
        reference: row.parse("reference")?,
        commit: row.parse("commit_sha")?,
        plan: row.text("plan")?,
        spec: row.text("spec")?,
        concurrency: if row.text("concurrency")? == "all" { RunConcurrency::All } else { RunConcurrency::Newest },
        stop: stop(row)?,
    })
}

fn stop(row: &Row) -> Result<Option<RunStop>> {
    let Some(status) = row.optional_parse::<StageStatus>("stop_status")? else { return Ok(None) };
    Ok(Some(RunStop { status, reason: row.optional_text("stop_reason")?.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookwright_core::{Clock, IdSource, Timestamp};

    use super::RUN_OPEN;
    use crate::promotion::OPEN;
    use crate::{SecretKey, Store, StoreOptions};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1)
        }

        fn monotonic(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    impl IdSource for Fixed {
        fn uuid(&self) -> uuid::Uuid {
            uuid::Uuid::nil()
        }
    }

    #[tokio::test]
    async fn what_is_asked_every_few_seconds_reads_what_is_open_and_never_all_of_history() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = SecretKey::load_or_create(&folder.path().join("key")).expect("a key");
        let url = format!("sqlite://{}", folder.path().join("db").display());
        let options = StoreOptions { url, clock: Arc::new(Fixed), ids: Arc::new(Fixed), key, failpoint: None };
        let store = Store::open(options).await.expect("a store");
        // Either of two holds the open promotions alone.
        let expected: [(&str, &[&str]); 3] = [
            (RUN_OPEN, &["runs_open"]),
            (OPEN, &["promotions_open", "promotions_unfinished"]),
            (crate::tally::DEPLOYMENTS, &["deployments_status (status=?)"]),
        ];
        for (statement, indices) in expected {
            let explain = Box::leak(format!("EXPLAIN QUERY PLAN {statement}").into_boxed_str());
            let plan = store.fetch_all(explain, Vec::new()).await.expect("a plan");
            let first = plan[0].text("detail").expect("a text");
            assert!(indices.iter().any(|index| first.ends_with(index)), "{statement}: {first}");
        }
        store.close().await;
    }
}
