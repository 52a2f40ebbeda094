//! The log of a stage: colours, times, a line to link to, search, download, and following it while it is written.

use axum::extract::State;
use hookwright_core::{LogCursor, LogLine, RunId, StageName, StageRun};
use serde::Serialize;

use super::lines::{From, LinesView, Unfolded, stretch, text_file};
use super::{Answer, Layout};
use crate::error::{Path, Problem, Query, Result};
use crate::run::find;
use crate::show::{Badge, Moment, Painter, took, visible};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// How many lines a search finds at most.
const FOUND: usize = 1_000;

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
    log: LinesView,
    empty: bool,
    /// Where the script, or whoever follows the link, goes on.
    more: Option<More>,
    find: String,
    found: Option<usize>,
    download: String,
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

#[derive(Serialize)]
struct More {
    /// For the script; it adds the line's number and look.
    lines: String,
    /// Where the script follows what is written.
    follow: String,
    /// How the next line looks.
    look: String,
    /// Without a script.
    page: String,
    next_line: u64,
    ended: bool,
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
            log: LinesView::sample(),
            empty: false,
            more: Some(More {
                lines: "/x".into(),
                follow: "/x".into(),
                look: "a-b".into(),
                page: "/y".into(),
                next_line: 12,
                ended: false,
            }),
            find: text(),
            found: Some(1),
            download: "/x".into(),
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
    let (log, more, found) = if from.find.is_empty() {
        let chunk = state.control.stage_log(stage.id, from.from).await?;
        let next_line = from.line + chunk.lines.len() as u64;
        let rest = !state.control.stage_log(stage.id, chunk.next).await?.lines.is_empty();
        let ended = stage.status.is_end();
        let mut painter = Painter::resume(&from.look);
        let log = LinesView::new(chunk.lines.iter(), from.line, &mut painter);
        let look = painter.look();
        let page = format!("{url}?attempt={}&from={}&line={next_line}&look={}", stage.attempt, chunk.next.0, look.replace(' ', "+"));
        let lines = urls::stage_lines(id, &name, stage.attempt, chunk.next.0);
        let follow = urls::stage_follow(id, &name, stage.attempt);
        let more = (rest || !ended).then_some(More { lines, follow, look, page, next_line, ended });
        let unfolded = match (ended, rest) {
            (false, _) => Unfolded::All,
            (true, false) => Unfolded::Last,
            (true, true) => Unfolded::Nothing,
        };
        (log.unfolding(unfolded), more, None)
    } else {
        let found = search(&state, &stage, &from.find).await?;
        (LinesView::picked(&found), None, Some(found.len()))
    };
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
        reason: stage.status_reason.as_deref().map(visible),
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
        empty: log.is_empty(),
        log,
        more,
        find: visible(&from.find),
        found,
        download: urls::stage_text(id, &name, stage.attempt),
        url,
    }))
}

/// The lines that contain a text, whatever their case, with their numbers.
async fn search(state: &WebState, stage: &StageRun, text: &str) -> Result<Vec<(u64, LogLine)>> {
    let (wanted, mut found, mut at, mut number) = (text.to_lowercase(), Vec::new(), LogCursor::default(), 1);
    loop {
        let chunk = state.control.stage_log(stage.id, at).await?;
        for line in &chunk.lines {
            if line.text.to_lowercase().contains(&wanted) {
                found.push((number, line.clone()));
            }
            number += 1;
            if found.len() == FOUND {
                return Ok(found);
            }
        }
        if chunk.next == at {
            return Ok(found);
        }
        at = chunk.next;
    }
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
