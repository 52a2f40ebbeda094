//! Stage runs: written only by the scheduler, and only from the status it knows.

use hookwright_core::status::StageStatus;
use hookwright_core::{Digest, PromotionId, RunId, StageRun, StageRunId};

use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

/// A stage run with what it left behind.
#[derive(Clone, Debug)]
pub struct StageRecord {
    /// The stage run.
    pub stage_run: StageRun,
    /// Its place in the plan.
    pub position: u32,
    /// The archive of its outputs.
    pub outputs: Option<Digest>,
    /// The image it made.
    pub image: Option<Digest>,
    /// The promotion it is held by.
    pub promotion: Option<PromotionId>,
    /// Counts of its reports as JSON.
    pub tests: Option<String>,
}

macro_rules! select_stage_runs {
    ($rest:literal) => {
        concat!(
            "SELECT id, run, stage, position, attempt, status, status_reason, cache_key, cached_from, exit_code, outputs, image, promotion, \
             tests, queued_at, started_at, ended_at FROM stage_runs ",
            $rest
        )
    };
}

const STAGE_RUN_INSERT: &str = "INSERT INTO stage_runs (id, run, stage, position, attempt, status, status_reason, cache_key, cached_from, \
    exit_code, outputs, image, promotion, tests, queued_at, started_at, ended_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
const STAGE_RUN_UPDATE: &str = "UPDATE stage_runs SET status = $1, status_reason = $2, cache_key = $3, cached_from = $4, exit_code = $5, \
    outputs = $6, image = $7, promotion = $8, tests = $9, queued_at = $10, started_at = $11, ended_at = $12 WHERE id = $13 AND status = $14";
const STAGE_RUN_LIST: &str = select_stage_runs!("WHERE run = $1 ORDER BY position, attempt");
const STAGE_RUN_FETCH: &str = select_stage_runs!("WHERE id = $1");

impl Store {
    /// Stores a new attempt.
    pub async fn stage_run_insert_in(&self, tx: &mut Tx, record: &StageRecord) -> Result<()> {
        let stage_run = &record.stage_run;
        let values = args![
            stage_run.id,
            stage_run.run,
            stage_run.stage,
            record.position,
            stage_run.attempt,
            stage_run.status,
            stage_run.status_reason,
            stage_run.cache_key,
            stage_run.cached_from,
            stage_run.exit_code,
            record.outputs,
            record.image,
            record.promotion,
            record.tests,
            stage_run.queued_at,
            stage_run.started_at,
            stage_run.ended_at,
        ];
        tx.execute(STAGE_RUN_INSERT, values).await.map(drop)
    }

    /// Writes an attempt; `false` when the stored status is not `from`.
    pub async fn stage_run_update_in(&self, tx: &mut Tx, from: StageStatus, record: &StageRecord) -> Result<bool> {
        let stage_run = &record.stage_run;
        let values = args![
            stage_run.status,
            stage_run.status_reason,
            stage_run.cache_key,
            stage_run.cached_from,
            stage_run.exit_code,
            record.outputs,
            record.image,
            record.promotion,
            record.tests,
            stage_run.queued_at,
            stage_run.started_at,
            stage_run.ended_at,
            stage_run.id,
            from,
        ];
        Ok(tx.execute(STAGE_RUN_UPDATE, values).await? == 1)
    }

    /// Every attempt at every stage of a run, in the order of the plan.
    pub async fn stage_run_list(&self, run: RunId) -> Result<Vec<StageRecord>> {
        self.fetch_all(STAGE_RUN_LIST, args![run]).await?.iter().map(record).collect()
    }

    /// One attempt.
    pub async fn stage_run_fetch(&self, id: StageRunId) -> Result<Option<StageRecord>> {
        self.fetch_optional(STAGE_RUN_FETCH, args![id]).await?.map(|row| record(&row)).transpose()
    }
}

fn record(row: &Row) -> Result<StageRecord> {
    let exit_code = row.optional_integer("exit_code")?.map(i32::try_from).transpose();
    Ok(StageRecord {
        stage_run: StageRun {
            id: row.parse("id")?,
            run: row.parse("run")?,
            stage: row.parse("stage")?,
            attempt: row.number("attempt")?,
            status: row.parse("status")?,
            status_reason: row.optional_text("status_reason")?,
            cache_key: row.optional_parse("cache_key")?,
            cached_from: row.optional_parse("cached_from")?,
            exit_code: exit_code.map_err(|error| Error::Corrupt { column: "exit_code", message: error.to_string() })?,
            queued_at: row.optional_instant("queued_at")?,
            started_at: row.optional_instant("started_at")?,
            ended_at: row.optional_instant("ended_at")?,
        },
        position: row.number("position")?,
        outputs: row.optional_parse::<Digest>("outputs")?,
        image: row.optional_parse::<Digest>("image")?,
        promotion: row.optional_parse::<PromotionId>("promotion")?,
        tests: row.optional_text("tests")?,
    })
}
