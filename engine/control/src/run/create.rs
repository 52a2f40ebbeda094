//! Creating runs: the run, its stage runs and what it overtakes in one transaction, once for each (revision, webhook, occasion, plan).

use std::collections::HashMap;

use hookwright_core::status::{RunStatus, StageStatus};
use hookwright_core::{Digest, Revision, Run, RunId, RunReason, StageName, StageRun, StageRunId, Timestamp, WebhookName};
use hookwright_spec::{PipelineConcurrency, Plan, Spec};
use hookwright_store::{NewRunRecord, RunConcurrency, RunRecord, StageRecord, Tx};

use crate::{Deps, Error, Result};

/// What a run is created from.
pub(crate) struct NewRun<'a> {
    pub(crate) webhook: WebhookName,
    pub(crate) revision: &'a Revision,
    pub(crate) reason: RunReason,
    /// The validated spec and its plan, or why there is none.
    pub(crate) planned: std::result::Result<(&'a Spec, &'a Plan), String>,
    /// Stages that the run that is retried has done already.
    pub(crate) reuse: HashMap<StageName, StageRecord>,
}

/// Creates the run; `None` when it exists already.
pub(crate) async fn create_in(deps: &Deps, tx: &mut Tx, new: NewRun<'_>) -> Result<Option<RunId>> {
    let now = deps.clock.now();
    let id = RunId::new(deps.ids.as_ref());
    let occasion = match &new.reason {
        RunReason::Revision => "revision".to_owned(),
        RunReason::Manual { .. } => format!("manual:{id}"),
        RunReason::Retry { all: true, .. } => format!("again:{id}"),
        RunReason::Retry { of, .. } => format!("retry:{of}"),
    };
    let (plan, spec, plan_digest, concurrency) = match &new.planned {
        Ok((spec, plan)) => {
            let concurrency = match spec.pipeline.concurrency {
                PipelineConcurrency::Newest => RunConcurrency::Newest,
                PipelineConcurrency::All => RunConcurrency::All,
            };
            (json("plan", plan)?, json("spec", spec)?, Some(plan.digest()), concurrency)
        }
        Err(_) => (String::new(), String::new(), None, RunConcurrency::Newest),
    };
    let (status, status_reason) = match &new.planned {
        Err(problem) => (RunStatus::Failed, Some(problem.clone())),
        Ok((_, plan)) if plan.stages.is_empty() => (RunStatus::Skipped, Some("the plan has no stages".to_owned())),
        Ok(_) => (RunStatus::Queued, None),
    };
    let run = Run {
        id,
        number: 0,
        webhook: new.webhook,
        revision: new.revision.id,
        reason: new.reason,
        plan_digest,
        trusted: new.revision.trusted,
        status,
        status_reason,
        superseded_by: None,
        created_at: now,
        started_at: None,
        ended_at: status.is_end().then_some(now),
    };
    let stages = new.planned.as_ref().map(|(_, plan)| stages(deps, id, plan, &new.reuse, now)).unwrap_or_default();
    let record = RunRecord {
        run,
        repository: new.revision.repository,
        reference: new.revision.reference.clone(),
        commit: new.revision.commit.clone(),
        plan,
        spec,
        concurrency,
        stop: None,
    };
    let Some(number) = deps.store.run_create_in(tx, &NewRunRecord { record: &record, occasion: &occasion }).await? else { return Ok(None) };
    for stage in &stages {
        deps.store.stage_run_insert_in(tx, stage).await?;
    }
    if concurrency == RunConcurrency::Newest && !status.is_end() {
        deps.store.run_supersede_in(tx, &record, number).await?;
    }
    Ok(Some(id))
}

fn json<T: serde::Serialize>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| Error::internal(format!("write the {what} as JSON"), cause))
}

fn stages(deps: &Deps, run: RunId, plan: &Plan, reuse: &HashMap<StageName, StageRecord>, now: Timestamp) -> Vec<StageRecord> {
    let record = |position: usize, stage: &StageName, status: StageStatus, reason: Option<String>| StageRecord {
        stage_run: StageRun {
            id: StageRunId::new(deps.ids.as_ref()),
            run,
            stage: stage.clone(),
            attempt: 1,
            status,
            status_reason: reason,
            cache_key: None,
            cached_from: None,
            exit_code: None,
            queued_at: None,
            started_at: None,
            ended_at: status.is_end().then_some(now),
        },
        position: u32::try_from(position).unwrap_or(u32::MAX),
        outputs: None::<Digest>,
        image: None,
        promotion: None,
        tests: None,
    };
    let planned = plan.stages.iter().enumerate().map(|(position, stage)| match reuse.get(&stage.name) {
        None => record(position, &stage.name, StageStatus::Waiting, None),
        Some(old) => {
            let mut row = record(position, &stage.name, StageStatus::Cached, None);
            row.stage_run.cached_from = Some(old.stage_run.cached_from.unwrap_or(old.stage_run.run));
            row.stage_run.cache_key = old.stage_run.cache_key;
            row.outputs = old.outputs;
            row.image = old.image;
            row.tests.clone_from(&old.tests);
            row
        }
    });
    let left_out = plan
        .left_out
        .iter()
        .enumerate()
        .map(|(at, left)| record(plan.stages.len() + at, &left.stage, StageStatus::Skipped, Some(left.reason.clone())));
    planned.chain(left_out).collect()
}
