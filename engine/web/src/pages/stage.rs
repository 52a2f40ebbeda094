//! The log of a stage: colours, times, a line to link to, search, download, and following it while it is written.

use axum::extract::State;
use hookwright_core::{RunId, StageName, StageRun};
use serde::Serialize;

use super::lines::{From, stretch, text_file};
use super::log_card::{LogCard, LogPlace};
use super::{Answer, Layout};
use crate::error::{Path, Problem, Query, Result};
use crate::run::find;
use crate::show::{Badge, Moment, took, visible_lines};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// The log of a stage.
#[derive(Serialize)]
pub(crate) struct StagePage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    run_number: u32,
    run_url: String,
    name: String,
    url: String,
    badge: Badge,
    reason: Option<String>,
    exit_code: Option<i32>,
    began: Option<Moment>,
    took: Option<String>,
    attempt: u32,
    attempts: Vec<Attempt>,
    siblings: Vec<Sibling>,
    cached_from: Option<String>,
    /// `run 2`.
    cached_run: String,
    log: LogCard,
}

#[derive(Serialize)]
struct Attempt {
    number: u32,
    url: String,
    badge: Badge,
}

#[derive(Serialize)]
struct Sibling {
    name: String,
    url: String,
    badge: Badge,
    here: bool,
}

impl View for StagePage {
    const TEMPLATE: &'static str = "pages/stage.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let badge = Badge::new("bad", "cross", "failed");
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            run_number: 7,
            run_url: "/runs/1".into(),
            name: text(),
            url: "/runs/1/stages/test".into(),
            badge: badge.clone(),
            reason: Some(text()),
            exit_code: Some(1),
            began: Some(Moment::sample()),
            took: Some("3 s".into()),
            attempt: 2,
            attempts: vec![Attempt { number: 1, url: "/x".into(), badge: badge.clone() }],
            siblings: vec![Sibling { name: text(), url: "/x".into(), badge, here: true }],
            cached_from: Some("/runs/2".into()),
            cached_run: text(),
            log: LogCard::sample(),
        }
    }
}

/// Every attempt at a stage of a run that the visitor sees.
async fn attempts(state: &WebState, visitor: &Visitor, run: RunId, stage: &StageName) -> Result<(hookwright_core::Run, Vec<StageRun>)> {
    let found = find(state, &visitor.caller, run).await?;
    Ok((
        found,
        state.store.stage_run_list(run).await?.into_iter().map(|record| record.stage_run).filter(|one| one.stage == *stage).collect(),
    ))
}

fn pick(attempts: &[StageRun], wanted: Option<u32>, stage: &StageName) -> Result<StageRun> {
    let found = match wanted {
        Some(number) => attempts.iter().find(|one| one.attempt == number),
        None => attempts.last(),
    };
    found.cloned().ok_or_else(|| Problem::not_found(format!("there is no such attempt at a stage `{stage}` in this run")))
}

/// Shows the log from its beginning, or what a search finds in it.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path((id, name)): Path<(RunId, StageName)>,
    Query(from): Query<From>,
) -> Answer {
    let (run, attempts) = attempts(&state, &visitor, id, &name).await?;
    let stage = pick(&attempts, from.attempt, &name)?;
    let now = state.clock.now();
    let url = urls::stage(id, &name);
    let place = LogPlace {
        heading: false,
        attempt: Some(stage.attempt),
        ended: stage.status.is_end(),
        whole: format!("{url}?attempt={}", stage.attempt),
        lines: |at| urls::stage_lines(id, &name, stage.attempt, at),
        follow: urls::stage_follow(id, &name, stage.attempt),
        download: urls::stage_text(id, &name, stage.attempt),
    };
    let log = LogCard::read(place, &from, async |at| Ok(state.control.stage_log(stage.id, at).await?)).await?;
    let siblings = state.store.stage_run_list(id).await?.into_iter().map(|record| record.stage_run);
    let mut newest: Vec<Sibling> = Vec::new();
    for one in siblings {
        let sibling =
            Sibling { name: one.stage.to_string(), url: urls::stage(id, &one.stage), badge: one.status.into(), here: one.stage == name };
        match newest.iter_mut().find(|known| known.name == sibling.name) {
            Some(known) => *known = sibling,
            None => newest.push(sibling),
        }
    }
    let older = attempts.iter().filter(|_| attempts.len() > 1).map(|one| Attempt {
        number: one.attempt,
        url: format!("{url}?attempt={}", one.attempt),
        badge: one.status.into(),
    });
    Ok(template::page(&StagePage {
        layout: Layout::new(&visitor, "runs", format!("{name} · {} #{}", run.webhook, run.number)),
        webhook: run.webhook.to_string(),
        webhook_url: urls::webhook(&run.webhook),
        run_number: run.number,
        run_url: urls::run(id),
        name: name.to_string(),
        badge: stage.status.into(),
        reason: stage.status_reason.as_deref().map(visible_lines),
        exit_code: stage.exit_code,
        began: stage.started_at.map(|at| Moment::new(at, now)),
        took: stage.started_at.map(|started| took(stage.ended_at.unwrap_or(now).since(started))),
        attempt: stage.attempt,
        attempts: older.collect(),
        siblings: newest,
        cached_run: match stage.cached_from {
            Some(origin) => {
                state.store.run_fetch(origin).await?.map_or_else(|| "an earlier run".to_owned(), |run| format!("run {}", run.number))
            }
            None => String::new(),
        },
        cached_from: stage.cached_from.map(urls::run),
        log,
        url,
    }))
}

/// The next stretch, for the script.
pub(super) async fn lines(
    State(state): State<WebState>,
    visitor: Visitor,
    Path((id, name)): Path<(RunId, StageName)>,
    Query(from): Query<From>,
) -> Answer {
    // Asked before the log is read: what was written until the end is there then.
    let (_, attempts) = attempts(&state, &visitor, id, &name).await?;
    let stage = pick(&attempts, from.attempt, &name)?;
    let chunk = state.control.stage_log(stage.id, from.from).await?;
    Ok(stretch(&chunk, &from, stage.status.is_end()))
}

/// What is written from a place on, for the script.
pub(super) async fn follow(
    State(state): State<WebState>,
    visitor: Visitor,
    Path((id, name)): Path<(RunId, StageName)>,
    Query(from): Query<From>,
) -> Answer {
    let news = state.control.changes();
    let (run, attempts) = attempts(&state, &visitor, id, &name).await?;
    let stage = pick(&attempts, from.attempt, &name)?;
    crate::stream::follow_stage(state, visitor.caller, (run.webhook, stage, news), &from)
}

/// The whole log as plain text, as it was written.
pub(super) async fn download(
    State(state): State<WebState>,
    visitor: Visitor,
    Path((id, name)): Path<(RunId, StageName)>,
    Query(from): Query<From>,
) -> Answer {
    let (run, attempts) = attempts(&state, &visitor, id, &name).await?;
    let stage = pick(&attempts, from.attempt, &name)?;
    let file = format!("{}-{}-{name}.txt", run.webhook, run.number);
    text_file(&file, move |at| {
        let (control, id) = (state.control.clone(), stage.id);
        async move { control.stage_log(id, at).await }
    })
}
