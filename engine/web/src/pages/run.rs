//! A run: its stages as a drawing and as a list, why it ended, what it left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_control::TestCounts;
use hookwright_core::status::StageStatus;
use hookwright_core::{Action, RunId, StageName, Timestamp};
use hookwright_spec::Plan;
use hookwright_store::{PromotionFilter, StageRecord};
use serde::{Deserialize, Serialize};

use super::run_list::RunRow;
use super::test_list::{self, CaseShown};
use super::{Answer, Layout, said};
use crate::error::{Path, Result};
use crate::run::find;
use crate::show::{Badge, Graph, Moment, Stage, bytes, took, visible, visible_lines};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// Among so many of a webhook's newest promotions those of a run's release are sought.
const PROMOTIONS: u32 = 500;

/// So many overtaken runs are named.
const OVERTAKEN: u32 = 20;

/// A run.
#[derive(Serialize)]
pub(crate) struct RunPage {
    layout: Layout,
    run: RunRow,
    /// Why it ended, with all its lines.
    reason: Option<String>,
    /// Where its file is shown with what is wrong in it, of one that could not be planned.
    spec_url: Option<String>,
    over: bool,
    trusted: bool,
    superseded_by: Option<String>,
    /// The runs that it overtook.
    superseded: Vec<Link>,
    retry_of: Option<Link>,
    /// Whether it repeats all of that run.
    all_again: bool,
    graph: Option<Graph>,
    /// The stages that the run's length hangs on, from the first to the last, and how long they took together.
    longest: Vec<Link>,
    longest_took: Option<String>,
    parts: Vec<Part>,
    /// The release that it cut, by its short digest, and where that is or waits.
    release: Option<String>,
    went: Vec<Went>,
    left_out: Vec<LeftOut>,
    artifacts: Vec<ArtifactRow>,
    tests: Option<Tests>,
    tests_url: String,
    failed_tests: Vec<CaseShown>,
    retry: Option<String>,
    /// Where all of it is done again.
    again: Option<String>,
    cancel: Option<String>,
}

/// The newest promotion of a run's release into an environment.
#[derive(Serialize)]
struct Went {
    environment: String,
    environment_url: String,
    promotion: String,
    badge: Badge,
    reason: Option<String>,
    at: Moment,
    deployment: Option<String>,
    /// Whether it is what runs there now.
    live: bool,
}

#[derive(Serialize)]
struct Link {
    text: String,
    url: String,
}

/// Stages in a row of the list; those of a large matrix that went well are folded away, so that what did not is seen.
#[derive(Serialize)]
struct Part {
    /// What they are together, when they are folded: `58 of unit succeeded`.
    label: Option<String>,
    rows: Vec<StageRow>,
}

#[derive(Serialize)]
struct StageRow {
    name: String,
    url: String,
    badge: Badge,
    attempt: u32,
    reason: Option<String>,
    took: Option<String>,
    cached_from: Option<Link>,
    promotion: Option<String>,
    tests: Option<Tests>,
}

#[derive(Clone, Copy, Serialize)]
struct Tests {
    passed: u64,
    failed: u64,
    skipped: u64,
}

#[derive(Serialize)]
struct LeftOut {
    stage: String,
    reason: String,
}

#[derive(Serialize)]
struct ArtifactRow {
    name: String,
    stage: String,
    size: String,
    url: String,
}

impl View for RunPage {
    const TEMPLATE: &'static str = "pages/run.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let badge = Badge::from(StageStatus::Cached);
        let stage = |name: String| Stage {
            name,
            base: text(),
            needs: vec![],
            badge: badge.clone(),
            note: text(),
            url: "/x".into(),
            critical: true,
        };
        let alone = Stage { base: "alone".into(), ..stage(text()) };
        let stages = std::iter::once(alone).chain((0..6).map(|number| stage(format!("<b>hostile-{number}<b>hostile"))));
        let graph = Some(Graph::draw(stages.collect()));
        let tests = Tests { passed: 3, failed: 1, skipped: 0 };
        let row = || StageRow {
            name: text(),
            url: "/x".into(),
            badge: badge.clone(),
            attempt: 2,
            reason: Some(text()),
            took: Some("2 s".into()),
            cached_from: Some(Link { text: text(), url: "/runs/2".into() }),
            promotion: Some("/promotions/1".into()),
            tests: Some(tests),
        };
        Self {
            layout: Layout::sample(),
            run: RunRow::sample(),
            reason: Some("<b>hostile\n  ^".into()),
            spec_url: Some("/x".into()),
            over: false,
            trusted: false,
            superseded_by: Some("/runs/2".into()),
            superseded: vec![Link { text: text(), url: "/runs/1".into() }],
            retry_of: Some(Link { text: text(), url: "/runs/3".into() }),
            all_again: true,
            graph,
            longest: vec![Link { text: text(), url: "/x".into() }],
            longest_took: Some("3 s".into()),
            parts: vec![Part { label: None, rows: vec![row()] }, Part { label: Some(text()), rows: vec![row()] }],
            release: Some("0123456789ab".into()),
            went: vec![Went {
                environment: text(),
                environment_url: "/x".into(),
                promotion: "/x".into(),
                badge: badge.clone(),
                reason: Some(text()),
                at: Moment::sample(),
                deployment: Some("/x".into()),
                live: true,
            }],
            left_out: vec![LeftOut { stage: "deploy".into(), reason: text() }],
            artifacts: vec![ArtifactRow { name: text(), stage: text(), size: "1 KiB".into(), url: "/x".into() }],
            tests: Some(tests),
            tests_url: "/runs/1/tests".into(),
            failed_tests: vec![CaseShown::sample()],
            retry: Some("/runs/1/retry".into()),
            again: Some("/runs/1/retry".into()),
            cancel: Some("/runs/1/cancel".into()),
        }
    }
}

impl From<TestCounts> for Tests {
    fn from(TestCounts { tests, failures, errors, skipped }: TestCounts) -> Self {
        let failed = failures + errors;
        Self { passed: tests.saturating_sub(failed + skipped), failed, skipped }
    }
}

/// Shows a run.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path(id): Path<RunId>) -> Answer {
    let run = find(&state, &visitor.caller, id).await?;
    let now = state.clock.now();
    let plan: Option<Plan> = state.store.run_load(id).await?.and_then(|record| serde_json::from_str(&record.plan).ok());
    let records = state.store.stage_run_list(id).await?;
    let newest = newest(&records);
    let origins = origins(&state, &records).await?;
    let rows: Vec<StageRow> = newest.values().map(|record| row(record, &origins, now)).collect();
    let stage_of: BTreeMap<_, _> = records.iter().map(|record| (record.stage_run.id, record.stage_run.stage.to_string())).collect();
    let artifacts = state.store.artifact_list(id).await?.into_iter().map(|artifact| ArtifactRow {
        name: visible(&artifact.name),
        stage: stage_of.get(&artifact.stage_run).cloned().unwrap_or_default(),
        size: bytes(artifact.size),
        url: urls::artifact(artifact.id),
    });
    let may = visitor.caller.actor.may(Action::Develop, Some(&run.webhook), None);
    let all_again = matches!(run.reason, hookwright_core::RunReason::Retry { all: true, .. });
    let retry_of = match &run.reason {
        hookwright_core::RunReason::Retry { of, .. } => {
            let text = state.store.run_fetch(*of).await?.map_or_else(|| "an earlier run".to_owned(), |run| format!("run {}", run.number));
            Some(Link { text, url: urls::run(*of) })
        }
        _ => None,
    };
    let over = run.status.is_end();
    let failed = over && !matches!(run.status, hookwright_core::status::RunStatus::Succeeded);
    // Those that stand in the list of stages as skipped say why there.
    let listed = |stage: &str| rows.iter().any(|row| row.name == stage);
    let left_out: Vec<LeftOut> = plan
        .iter()
        .flat_map(|plan| &plan.left_out)
        .filter(|left| !listed(left.stage.as_str()))
        .map(|left| LeftOut { stage: left.stage.to_string(), reason: visible(&left.reason) })
        .collect();
    let tests = sum(&rows);
    let failed_tests = if tests.is_some_and(|tests| tests.failed > 0) { test_list::failed(&state, id).await? } else { Vec::new() };
    let records: BTreeMap<&str, &StageRecord> = newest.iter().map(|((_, name), record)| (name.as_str(), *record)).collect();
    let longest = plan.as_ref().map(|plan| critical(plan, &records, now)).unwrap_or_default();
    let span = longest_span(&longest, &records, now).map(took);
    let (release, went) = went(&state, &visitor, &newest).await?;
    let overtaken = state.store.run_list_superseded(id, OVERTAKEN).await?;
    let page = RunPage {
        superseded: overtaken.iter().map(|run| Link { text: format!("#{}", run.number), url: urls::run(run.id) }).collect(),
        graph: plan.as_ref().filter(|plan| !plan.stages.is_empty()).map(|plan| draw(plan, &records, (run.id, now), &longest)),
        longest: longest.iter().map(|name| Link { text: name.to_string(), url: urls::stage(id, name) }).collect(),
        longest_took: span,
        layout: Layout::new(&visitor, "runs", format!("{} #{}", run.webhook, run.number)),
        reason: run.status_reason.as_deref().map(visible_lines),
        spec_url: (run.plan_digest.is_none() && failed).then(|| urls::spec_of(&run.webhook, id)),
        over,
        trusted: run.trusted,
        superseded_by: run.superseded_by.map(urls::run),
        retry_of,
        all_again,
        release,
        went,
        left_out,
        artifacts: artifacts.collect(),
        tests,
        tests_url: urls::run_tests(id),
        failed_tests,
        parts: parts(rows, plan.as_ref()),
        retry: (may && failed && plan.is_some()).then(|| urls::run_retry(id)),
        again: (may && over && plan.is_some()).then(|| urls::run_retry(id)),
        cancel: (may && !over).then(|| urls::run_cancel(id)),
        run: RunRow::new(&state, run, now).await?,
    };
    Ok(template::page(&page))
}

/// Where the release is that a run cut: one line for each environment that it was promoted into, as far as the newest promotions tell.
async fn went(state: &WebState, visitor: &Visitor, newest: &BTreeMap<(u32, String), &StageRecord>) -> Result<(Option<String>, Vec<Went>)> {
    let Some(own) = newest.values().find_map(|record| record.promotion) else { return Ok((None, Vec::new())) };
    let Some(own) = state.store.promotion_fetch(own).await? else { return Ok((None, Vec::new())) };
    let filter = PromotionFilter { webhook: Some(own.webhook.clone()), limit: PROMOTIONS, ..PromotionFilter::default() };
    let mut promotions = state.store.promotion_list(&filter).await?;
    promotions.retain(|one| one.release == own.release);
    if promotions.is_empty() {
        promotions.push(own.clone());
    }
    let mut seen = BTreeSet::new();
    promotions.retain(|one| seen.insert(one.environment.clone()) && visitor.caller.sees_in(&one.webhook, &one.environment));
    promotions.reverse();
    let (live, now) = (state.store.deployment_list_live(&own.webhook).await?, state.clock.now());
    let lines = promotions.into_iter().map(|one| Went {
        live: live.iter().any(|live| live.environment == one.environment && live.release == one.release),
        environment_url: urls::environment(&one.webhook, &one.environment),
        environment: one.environment.to_string(),
        promotion: urls::promotion(one.id),
        badge: one.status.into(),
        reason: one.status_reason.as_deref().map(visible),
        at: Moment::new(one.created_at, now),
        deployment: one.deployment.map(urls::deployment),
    });
    let lines = lines.collect();
    let image = state.store.release_fetch(&own.release).await?.map(|release| release.image.short());
    Ok((image, lines))
}

/// The newest attempt at each stage, in the order of the plan.
fn newest(records: &[StageRecord]) -> BTreeMap<(u32, String), &StageRecord> {
    // Records are ordered by attempt, so that later ones replace earlier ones.
    records.iter().map(|record| ((record.position, record.stage_run.stage.to_string()), record)).collect()
}

/// The numbers of the runs that outputs were taken from; one that is not kept any more has none.
async fn origins(state: &WebState, records: &[StageRecord]) -> Result<BTreeMap<RunId, u32>> {
    let mut numbers = BTreeMap::new();
    for id in records.iter().filter_map(|record| record.stage_run.cached_from).collect::<BTreeSet<_>>() {
        if let Some(run) = state.store.run_fetch(id).await? {
            numbers.insert(id, run.number);
        }
    }
    Ok(numbers)
}

fn spent(record: &StageRecord, now: Timestamp) -> Option<Duration> {
    record.stage_run.started_at.map(|started| record.stage_run.ended_at.unwrap_or(now).since(started))
}

fn row(record: &StageRecord, origins: &BTreeMap<RunId, u32>, now: Timestamp) -> StageRow {
    let stage = &record.stage_run;
    let tests = record.tests.as_deref().and_then(|tests| serde_json::from_str::<TestCounts>(tests).ok());
    StageRow {
        name: stage.stage.to_string(),
        url: urls::stage(stage.run, &stage.stage),
        badge: stage.status.into(),
        attempt: stage.attempt,
        reason: stage.status_reason.as_deref().map(visible),
        took: spent(record, now).map(took),
        cached_from: stage.cached_from.map(|run| Link {
            text: origins.get(&run).map_or_else(|| "an earlier run".to_owned(), |number| format!("run {number}")),
            url: urls::run(run),
        }),
        promotion: record.promotion.map(urls::promotion),
        tests: tests.map(Tests::from),
    }
}

/// So many of a matrix that went well are folded.
const MANY: usize = 9;

/// The list of stages, in its order; what is folded stands where its first stage would.
fn parts(rows: Vec<StageRow>, plan: Option<&Plan>) -> Vec<Part> {
    let stages = plan.into_iter().flat_map(|plan| &plan.stages);
    let base_of: BTreeMap<&str, &str> = stages.map(|stage| (stage.name.as_str(), stage.base.as_str())).collect();
    let base = |row: &StageRow| base_of.get(row.name.as_str()).filter(|_| row.badge.tone == "good").map(|base| (*base).to_owned());
    let mut well: BTreeMap<String, usize> = BTreeMap::new();
    rows.iter().filter_map(base).for_each(|base| *well.entry(base).or_default() += 1);
    let mut parts: Vec<Part> = Vec::new();
    for row in rows {
        let folded =
            base(&row).and_then(|base| well.get(&base).filter(|count| **count >= MANY).map(|count| format!("{count} of {base} went well")));
        let known = match &folded {
            Some(_) => parts.iter_mut().find(|part| part.label == folded),
            None => parts.last_mut().filter(|part| part.label.is_none()),
        };
        match known {
            Some(part) => part.rows.push(row),
            None => parts.push(Part { label: folded, rows: vec![row] }),
        }
    }
    parts
}

fn sum(rows: &[StageRow]) -> Option<Tests> {
    rows.iter().filter_map(|row| row.tests).reduce(|sum, more| Tests {
        passed: sum.passed + more.passed,
        failed: sum.failed + more.failed,
        skipped: sum.skipped + more.skipped,
    })
}

fn draw(plan: &Plan, records: &BTreeMap<&str, &StageRecord>, (run, now): (RunId, Timestamp), longest: &[StageName]) -> Graph {
    let stages = plan.stages.iter().map(|stage| {
        let record = records.get(stage.name.as_str());
        let status = record.map_or(StageStatus::Waiting, |record| record.stage_run.status);
        let time = record.and_then(|record| spent(record, now)).map(took);
        let note = match (status, time) {
            (StageStatus::Cached, _) => "from the cache".to_owned(),
            (StageStatus::Succeeded, Some(time)) => time,
            (status, Some(time)) => format!("{} · {time}", Badge::from(status).word),
            (status, None) => Badge::from(status).word,
        };
        Stage {
            name: stage.name.to_string(),
            base: stage.base.to_string(),
            needs: stage.needs.iter().map(ToString::to_string).collect(),
            badge: status.into(),
            note,
            url: urls::stage(run, &stage.name),
            critical: longest.contains(&stage.name),
        }
    });
    Graph::draw(stages.collect())
}

/// The stages that the run's length hangs on, from the first to the last: back from the one that ended last, each time to the need that
/// ended last.
fn critical(plan: &Plan, records: &BTreeMap<&str, &StageRecord>, now: Timestamp) -> Vec<StageName> {
    let end = |name: &str| {
        let stage = &records.get(name)?.stage_run;
        stage.started_at?;
        Some(stage.ended_at.unwrap_or(now))
    };
    let mut path: Vec<StageName> = Vec::new();
    let mut at =
        plan.stages.iter().filter_map(|stage| Some((end(stage.name.as_str())?, stage))).max_by_key(|(end, _)| *end).map(|(_, stage)| stage);
    while let Some(stage) = at {
        if path.contains(&stage.name) {
            break;
        }
        path.push(stage.name.clone());
        let last = stage.needs.iter().filter_map(|need| Some((end(need.as_str())?, need))).max_by_key(|(end, _)| *end);
        at = last.and_then(|(_, need)| plan.stage(need));
    }
    path.reverse();
    // A path of one says nothing.
    if path.len() < 2 { Vec::new() } else { path }
}

/// From the beginning of the first to the end of the last of these.
fn longest_span(longest: &[StageName], records: &BTreeMap<&str, &StageRecord>, now: Timestamp) -> Option<Duration> {
    let stage = |name: &StageName| Some(&records.get(name.as_str())?.stage_run);
    let (first, last) = (stage(longest.first()?)?, stage(longest.last()?)?);
    Some(last.ended_at.unwrap_or(now).since(first.started_at?))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// How much of a run is done again.
#[derive(Deserialize)]
pub(super) struct Again {
    #[serde(default)]
    all: bool,
}

/// Does the run again, from where it ended or all of it.
pub(super) async fn retry(State(state): State<WebState>, Path(id): Path<RunId>, deed: Deed<Again>) -> Answer {
    find(&state, &deed.visitor.caller, id).await?;
    let new = state.control.run_retry(&deed.visitor.caller.actor, id, deed.form.all).await?;
    Ok(Redirect::to(&said(&urls::run(new), "retried")).into_response())
}

/// Stops the run.
pub(super) async fn cancel(State(state): State<WebState>, Path(id): Path<RunId>, deed: Deed<Nothing>) -> Answer {
    find(&state, &deed.visitor.caller, id).await?;
    state.control.run_cancel(&deed.visitor.caller.actor, id).await?;
    Ok(Redirect::to(&said(&urls::run(id), "canceled")).into_response())
}

/// Newest runs of a webhook, for its page.
pub(crate) async fn rows_of(state: &WebState, filter: &hookwright_store::RunFilter) -> Result<Vec<RunRow>> {
    let now = state.clock.now();
    let mut rows = Vec::new();
    for run in state.store.run_list(filter).await? {
        rows.push(RunRow::new(state, run, now).await?);
    }
    Ok(rows)
}
