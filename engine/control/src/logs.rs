//! Logs of stages, as their executor hands them out.

use hookwright_core::{Action, Actor, LogChunk, LogCursor, RunId, StageName, StageRunId};

use crate::{Control, Error, Result, rights};

/// Which log, and from where on.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// The run.
    pub run: RunId,
    /// The stage of it.
    pub stage: StageName,
    /// The attempt; `None` for the latest.
    pub attempt: Option<u32>,
    /// From here on.
    pub from: LogCursor,
}

impl Control {
    /// A stretch of a stage's log. `complete` once the stage has ended and nothing follows.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, or `Internal` when the executor cannot read it.
    pub async fn logs(&self, actor: &Actor, request: &LogRequest) -> Result<LogChunk> {
        let deps = self.deps();
        let missing = || Error::NotFound(format!("there is no stage `{}` in run {}", request.stage, request.run));
        let run = deps.store.run_fetch(request.run).await?.ok_or_else(missing)?;
        rights::allow(actor, Action::Read, "read the logs of", Some(&run.webhook), None)?;
        let records = deps.store.stage_run_list(request.run).await?;
        let of_stage = records.into_iter().map(|record| record.stage_run).filter(|stage_run| stage_run.stage == request.stage);
        let stage_run = match request.attempt {
            Some(attempt) => of_stage.into_iter().find(|stage_run| stage_run.attempt == attempt),
            None => of_stage.into_iter().max_by_key(|stage_run| stage_run.attempt),
        }
        .ok_or_else(missing)?;
        let mut chunk = deps.executor.logs(&stage_run.id, request.from).await?;
        chunk.complete = stage_run.status.is_end() && (chunk.complete || chunk.lines.is_empty());
        Ok(chunk)
    }

    /// A stretch of the log of one attempt, for whoever has asked for the rights already and reads on and on.
    ///
    /// # Errors
    /// `Internal` when the executor cannot read it.
    pub async fn stage_log(&self, id: StageRunId, from: LogCursor) -> Result<LogChunk> {
        Ok(self.deps().executor.logs(&id, from).await?)
    }
}
