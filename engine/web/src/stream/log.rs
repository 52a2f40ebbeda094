//! `…/logs/stream`: the lines of a log as they are written, until whatever writes it has ended.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use hookwright_control::RunChanged;
use hookwright_core::status::StageStatus;
use hookwright_core::{
    Deployment, DeploymentId, EnvironmentName, LogChunk, LogCursor, RunId, StageName, StageRun, StageRunId, WebhookName,
};
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Found, Source, changed, event, last_event_id, nothing_more, open, strange_id};
use crate::WebState;
use crate::caller::Caller;
use crate::error::{Path, Problem, Query, Result};
use crate::log::{LogQuery, LogView, StageLogQuery};
use crate::pages::lines::{Followed, From};
use crate::run::find;
use crate::show::Painter;
use crate::webhook::newest_deployment;

/// How soon a log that has just grown is read again.
const SOON: Duration = Duration::from_millis(100);
/// How soon a quiet one is.
const LATE: Duration = Duration::from_secs(1);
/// What the id of the last event ends with.
const END: &str = ".end";

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(stage_log_stream)).routes(routes!(deployment_log_stream))
}

/// The data of the event `end`.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogEnd {
    /// How the stage run or the deployment ended.
    status: String,
    /// The attempt at the stage; `null` for a deployment.
    attempt: Option<u32>,
}

/// The log of a stage as it is written, until the attempt ends: server-sent events.
///
/// `log` (`LogChunk`) for every stretch of lines, then `end` (`LogEnd`). Every event has an id to go on from with `Last-Event-ID`; a client that
/// has seen the end gets 204. `refused` (`StreamRefused`) ends a stream whose token does not cover it any more.
#[utoipa::path(get, path = "/runs/{run}/stages/{stage}/logs/stream", tag = "runs", security(("bearer" = ["viewer"])),
    params(StageLogQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen.")),
    responses(
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The end has been seen."),
        (status = 503, description = "Too many event streams are open."),
    ))]
async fn stage_log_stream(
    State(state): State<WebState>,
    caller: Caller,
    Path((run, stage)): Path<(RunId, StageName)>,
    Query(query): Query<StageLogQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let news = state.control.changes();
    let found = find(&state, &caller, run).await?;
    let seen = last_event_id(&headers)?.map(Seen::<u32>::read).transpose()?;
    let attempt = seen.as_ref().map(|seen| seen.of).or(query.attempt);
    let attempts = state.store.stage_run_list(run).await?.into_iter().map(|record| record.stage_run);
    let mut attempts = attempts.filter(|stage_run| stage_run.stage == stage);
    let stage_run = match attempt {
        Some(attempt) => attempts.find(|stage_run| stage_run.attempt == attempt),
        None => attempts.next_back(),
    };
    let stage_run = stage_run.ok_or_else(|| Problem::not_found(format!("there is no such attempt at a stage `{stage}` in run {run}")))?;
    if seen.as_ref().is_some_and(|seen| seen.ended) && stage_run.status.is_end() {
        return Ok(nothing_more());
    }
    let StageRun { id, attempt, status, .. } = stage_run;
    let from = seen.map(|seen| seen.at).or(query.from).unwrap_or_default();
    let writer = Writer::Stage { id, attempt, status, run, news };
    open(state, caller, (found.webhook, None), Tail::new(writer, from))
}

/// The log of what was deployed last as it is written, until that deployment has ended: server-sent events.
///
/// The events are those of a stage's log. A newer deployment has a stream of its own: ask again after `end`, without `Last-Event-ID`.
#[utoipa::path(get, path = "/webhooks/{webhook}/environments/{environment}/logs/stream", tag = "webhooks", security(("bearer" = ["viewer"])),
    params(LogQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen.")),
    responses(
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The end has been seen."),
        (status = 503, description = "Too many event streams are open."),
    ))]
async fn deployment_log_stream(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.must_in(hookwright_core::Action::Read, Some(&webhook), Some(&environment))?;
    let seen = last_event_id(&headers)?.map(Seen::<DeploymentId>::read).transpose()?;
    let deployment = match &seen {
        None => newest_deployment(&state, &webhook, &environment).await?,
        Some(seen) => {
            let known = state.store.deployment_fetch(seen.of).await?;
            known.filter(|known| known.webhook == webhook && known.environment == environment).ok_or_else(strange_id)?
        }
    };
    if seen.as_ref().is_some_and(|seen| seen.ended) && deployment.status.is_end() {
        return Ok(nothing_more());
    }
    let from = seen.map(|seen| seen.at).or(query.from).unwrap_or_default();
    open(state, caller, (webhook, Some(environment)), Tail::new(Writer::Deployment { id: deployment.id }, from))
}

/// The log of an attempt at a stage from a place on, rendered for its page: `lines` for every stretch, then `end`.
pub(crate) fn follow_stage(
    state: WebState,
    caller: Caller,
    (webhook, stage_run, news): (WebhookName, StageRun, Receiver<RunChanged>),
    from: &From,
) -> Result<Response> {
    let StageRun { id, run, attempt, status, .. } = stage_run;
    open(state, caller, (webhook, None), Tail::new(Writer::Stage { id, attempt, status, run, news }, from.from).painted(from))
}

/// The same of a deployment.
pub(crate) fn follow_deployment(state: WebState, caller: Caller, deployment: &Deployment, from: &From) -> Result<Response> {
    let at = (deployment.webhook.clone(), Some(deployment.environment.clone()));
    open(state, caller, at, Tail::new(Writer::Deployment { id: deployment.id }, from.from).painted(from))
}

/// What an event's id says: `<attempt or deployment>.<cursor>`, and `.end` behind that of the last.
#[derive(Debug, PartialEq, Eq)]
struct Seen<T> {
    of: T,
    at: LogCursor,
    ended: bool,
}

impl<T: std::str::FromStr> Seen<T> {
    fn read(id: &str) -> Result<Self> {
        let (id, ended) = id.strip_suffix(END).map_or((id, false), |id| (id, true));
        let (of, at) = id.split_once('.').ok_or_else(strange_id)?;
        let at = at.parse().map(LogCursor).map_err(|_| strange_id())?;
        Ok(Self { of: of.parse().map_err(|_| strange_id())?, at, ended })
    }
}

/// Whoever writes the log.
enum Writer {
    Stage { id: StageRunId, attempt: u32, status: StageStatus, run: RunId, news: Receiver<RunChanged> },
    Deployment { id: DeploymentId },
}

struct Tail {
    writer: Writer,
    from: LogCursor,
    pause: Duration,
    /// Whether the writer may have moved on since it was last asked.
    stale: bool,
    over: bool,
    /// Rendered for a page: how the next line looks, and its number.
    painted: Option<(Painter, u64)>,
}

impl Tail {
    fn new(writer: Writer, from: LogCursor) -> Self {
        Self { writer, from, pause: SOON, stale: true, over: false, painted: None }
    }

    fn painted(self, from: &From) -> Self {
        Self { painted: Some((Painter::resume(&from.look), from.line)), ..self }
    }

    fn id(&self) -> String {
        match &self.writer {
            Writer::Stage { attempt, .. } => format!("{attempt}.{}", self.from.0),
            Writer::Deployment { id } => format!("{id}.{}", self.from.0),
        }
    }

    /// How the writer ended, if it has. Asked before the log is read: what it wrote until then is there.
    async fn ended(&mut self, state: &WebState) -> Result<Option<LogEnd>> {
        match &mut self.writer {
            Writer::Stage { id, attempt, status, .. } => {
                if std::mem::take(&mut self.stale) {
                    // A run that retention removed has ended long ago.
                    let record = state.store.stage_run_fetch(*id).await?;
                    *status = record.map_or(StageStatus::Canceled, |record| record.stage_run.status);
                }
                Ok(status.is_end().then(|| LogEnd { status: status.to_string(), attempt: Some(*attempt) }))
            }
            Writer::Deployment { id } => {
                let status = state.store.deployment_fetch(*id).await?.map(|deployment| deployment.status);
                let gone = || LogEnd { status: "gone".to_owned(), attempt: None };
                Ok(status
                    .map_or_else(|| Some(gone()), |status| status.is_end().then(|| LogEnd { status: status.to_string(), attempt: None })))
            }
        }
    }

    async fn read(&self, state: &WebState) -> Result<LogChunk> {
        match &self.writer {
            Writer::Stage { id, .. } => Ok(state.control.stage_log(*id, self.from).await?),
            Writer::Deployment { id } => Ok(state.runtime.logs(id, self.from).await?),
        }
    }
}

impl Source for Tail {
    async fn look(&mut self, state: &WebState) -> Result<Found> {
        if self.over {
            return Ok(Found::Over);
        }
        let end = self.ended(state).await?;
        loop {
            let chunk = self.read(state).await?;
            let moved = chunk.next != self.from;
            self.from = chunk.next;
            if !chunk.lines.is_empty() {
                self.pause = SOON;
                let id = Some(self.id());
                return Ok(Found::Event(match &mut self.painted {
                    None => event("log", id, &LogView::from(chunk)),
                    Some((painter, line)) => {
                        let followed = Followed::new(&chunk, *line, painter);
                        *line += chunk.lines.len() as u64;
                        event("lines", id, &followed)
                    }
                }));
            }
            if !moved {
                break;
            }
        }
        let Some(end) = end else { return Ok(Found::Nothing) };
        self.over = true;
        Ok(Found::Event(event("end", Some(format!("{}{END}", self.id())), &end)))
    }

    async fn wait(&mut self) {
        let pause = self.pause;
        self.pause = (pause * 2).min(LATE);
        // Also true when only the heartbeat ends the waiting: news may be lost.
        self.stale = true;
        match &mut self.writer {
            // Nothing is written before it begins: that is news of its run.
            Writer::Stage { status: StageStatus::Waiting | StageStatus::Queued, run, news, .. } => changed(news, *run).await,
            Writer::Stage { run, news, .. } => {
                tokio::select! {
                    () = changed(news, *run) => {}
                    () = tokio::time::sleep(pause) => self.stale = false,
                }
            }
            Writer::Deployment { .. } => tokio::time::sleep(pause).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_id_is_read_as_it_was_written() {
        let seen = Seen::<u32>::read("2.4711.end").expect("an id");
        assert_eq!(seen, Seen { of: 2, at: LogCursor(4711), ended: true });
        for id in ["", "2", "x.1", "1.-1", "1.1.end.end", "dep_1.5"] {
            assert!(Seen::<u32>::read(id).is_err(), "{id}");
        }
    }
}
