//! `/runs/{run}/events`: a run and its stages as they change, until it ends.

use std::collections::VecDeque;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use hookwright_control::RunChanged;
use hookwright_core::status::RunStatus;
use hookwright_core::{Digest, RunId};
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BURST, Found, Source, changed, event, last_event_id, nothing_more, open};
use crate::caller::Caller;
use crate::error::{Path, Result};
use crate::run::{RunView, StageView, find};
use crate::{WebState, words};

/// What the id of the last event ends with.
const END: &str = ".end";

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(run_events))
}

/// The data of the event `snapshot`.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunSnapshot {
    run: RunView,
    stages: Vec<StageView>,
}

/// The data of the event `end`.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunEnd {
    #[schema(value_type = words::RunState)]
    status: RunStatus,
}

/// A run as it changes, until it ends: server-sent events.
///
/// First `snapshot` (`RunSnapshot`), then `stage` (`StageRun`) for each attempt that changed, `run` (`Run`) when the run itself did, and `end`
/// (`RunEnd`). The last of what changed together has an id; a client that gives it as `Last-Event-ID` gets a snapshot only when it missed something,
/// and 204 when it has seen the end. `refused` (`StreamRefused`) ends a stream whose token does not cover it any more.
#[utoipa::path(get, path = "/runs/{run}/events", tag = "runs", security(("bearer" = ["viewer"])),
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen.")),
    responses(
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The end has been seen."),
        (status = 503, description = "Too many event streams are open."),
    ))]
async fn run_events(State(state): State<WebState>, caller: Caller, Path(id): Path<RunId>, headers: HeaderMap) -> Result<Response> {
    let news = state.control.changes();
    let run = find(&state, &caller, id).await?;
    let seen = last_event_id(&headers)?.map(str::to_owned);
    if run.status.is_end() && seen.as_ref().is_some_and(|seen| seen.ends_with(END)) {
        return Ok(nothing_more());
    }
    let events = RunEvents { run: id, news, seen, known: None, pending: VecDeque::new(), stale: true, ended: false };
    open(state, caller, (run.webhook, None), events)
}

struct RunEvents {
    run: RunId,
    news: Receiver<RunChanged>,
    /// What the client says it saw last, until it was compared.
    seen: Option<String>,
    known: Option<RunSnapshot>,
    /// At most one event an attempt of a stage: the next look comes after they are sent.
    pending: VecDeque<Event>,
    stale: bool,
    ended: bool,
}

impl Source for RunEvents {
    async fn look(&mut self, state: &WebState) -> Result<Found> {
        if self.pending.is_empty() && self.stale {
            self.stale = false;
            let Some(run) = state.store.run_fetch(self.run).await? else { return Ok(Found::Over) };
            let stages = state.store.stage_run_list(self.run).await?.into_iter().map(StageView::from).collect();
            self.compare(RunSnapshot { run: run.into(), stages });
        }
        Ok(match self.pending.pop_front() {
            Some(event) => Found::Event(event),
            None if self.ended => Found::Over,
            None => Found::Nothing,
        })
    }

    async fn wait(&mut self) {
        // Also true when only the heartbeat ends the waiting: news may be lost, and then that look finds what they were about.
        self.stale = true;
        changed(&mut self.news, self.run).await;
        tokio::time::sleep(BURST).await;
    }
}

impl RunEvents {
    /// Puts into line what is new, and what it ends with.
    fn compare(&mut self, now: RunSnapshot) {
        let id = fingerprint(&now);
        match (&self.known, self.seen.take()) {
            (None, Some(seen)) if seen == id => {}
            (None, _) => self.pending.push_back(event("snapshot", Some(id.clone()), &now)),
            (Some(known), _) => {
                let mut fresh: Vec<(&'static str, serde_json::Value)> = Vec::new();
                let stages = now.stages.iter().filter(|stage| !known.stages.contains(stage));
                fresh.extend(stages.filter_map(|stage| Some(("stage", serde_json::to_value(stage).ok()?))));
                if known.run != now.run {
                    fresh.extend(serde_json::to_value(&now.run).ok().map(|run| ("run", run)));
                }
                let last = fresh.len();
                let events = fresh.into_iter().enumerate().map(|(at, (name, data))| {
                    let id = (at + 1 == last).then(|| id.clone());
                    event(name, id, &data)
                });
                self.pending.extend(events);
            }
        }
        if now.run.status.is_end() {
            self.pending.push_back(event("end", Some(format!("{id}{END}")), &RunEnd { status: now.run.status }));
            self.ended = true;
        }
        self.known = Some(now);
    }
}

/// What two equal states have in common.
fn fingerprint(snapshot: &RunSnapshot) -> String {
    Digest::of(serde_json::to_vec(snapshot).unwrap_or_default()).short()
}
