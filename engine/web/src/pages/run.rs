//! A run: its stages as a drawing and as a list, why it ended, what it left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_control::TestCounts;
use hookwright_core::status::StageStatus;
use hookwright_core::{Action, RunId, Timestamp};
use hookwright_spec::Plan;
use hookwright_store::StageRecord;
use serde::{Deserialize, Serialize};

use super::run_list::RunRow;
use super::test_list::{self, CaseShown};
use super::{Answer, Layout, said};
use crate::error::{Path, Result};
use crate::run::find;
use crate::show::{Badge, Graph, Stage, bytes, took, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// A run.
#[derive(Serialize)]
pub(crate) struct RunPage {
    layout: Layout,
    run: RunRow,
    over: bool,
    trusted: bool,
    superseded_by: Option<String>,
    retry_of: Option<String>,
    graph: Option<Graph>,
    stages: Vec<StageRow>,
    left_out: Vec<LeftOut>,
    artifacts: Vec<ArtifactRow>,
    tests: Option<Tests>,
    tests_url: String,
    failed_tests: Vec<CaseShown>,
    retry: Option<String>,
    cancel: Option<String>,
}

#[derive(Serialize)]
struct StageRow {
    name: String,
    url: String,
    badge: Badge,
    attempt: u32,
    reason: Option<String>,
    took: Option<String>,
    cached_from: Option<String>,
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
        let stage = Stage { name: text(), needs: vec![], badge: badge.clone(), note: text(), url: "/x".into(), critical: true };
        let tests = Tests { passed: 3, failed: 1, skipped: 0 };
        let row = StageRow {
            name: text(),
            url: "/x".into(),
            badge,
            attempt: 2,
            reason: Some(text()),
            took: Some("2 s".into()),
            cached_from: Some("/runs/2".into()),
            promotion: Some("/promotions/1".into()),
            tests: Some(tests),
        };
        Self {
            layout: Layout::sample(),
            run: RunRow::sample(),
            over: false,
            trusted: false,
            superseded_by: Some("/runs/2".into()),
            retry_of: Some("/runs/3".into()),
            graph: Some(Graph::draw(vec![stage])),
            stages: vec![row],
            left_out: vec![LeftOut { stage: "deploy".into(), reason: text() }],
            artifacts: vec![ArtifactRow { name: text(), stage: text(), size: "1 KiB".into(), url: "/x".into() }],
            tests: Some(tests),
            tests_url: "/runs/1/tests".into(),
            failed_tests: vec![CaseShown::sample()],
            retry: Some("/runs/1/retry".into()),
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
    let rows: Vec<StageRow> = newest.values().map(|record| row(record, now)).collect();
    let stage_of: BTreeMap<_, _> = records.iter().map(|record| (record.stage_run.id, record.stage_run.stage.to_string())).collect();
    let artifacts = state.store.artifact_list(id).await?.into_iter().map(|artifact| ArtifactRow {
        name: visible(&artifact.name),
        stage: stage_of.get(&artifact.stage_run).cloned().unwrap_or_default(),
        size: bytes(artifact.size),
        url: urls::artifact(artifact.id),
    });
    let may = visitor.caller.actor.may(Action::Develop, Some(&run.webhook), None);
    let retry_of = match &run.reason {
        hookwright_core::RunReason::Retry { of, .. } => Some(urls::run(*of)),
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
    let page = RunPage {
        layout: Layout::new(&visitor, "runs", format!("{} #{}", run.webhook, run.number)),
        over,
        trusted: run.trusted,
        superseded_by: run.superseded_by.map(urls::run),
        retry_of,
        graph: plan.as_ref().filter(|plan| !plan.stages.is_empty()).map(|plan| draw(plan, &newest, run.id, now)),
        left_out,
        artifacts: artifacts.collect(),
        tests,
        tests_url: urls::run_tests(id),
        failed_tests,
        stages: rows,
        retry: (may && failed && plan.is_some()).then(|| urls::run_retry(id)),
        cancel: (may && !over).then(|| urls::run_cancel(id)),
        run: RunRow::new(&state, run, now).await?,
    };
    Ok(template::page(&page))
}

/// The newest attempt at each stage, in the order of the plan.
fn newest(records: &[StageRecord]) -> BTreeMap<(u32, String), &StageRecord> {
    // Records are ordered by attempt, so that later ones replace earlier ones.
    records.iter().map(|record| ((record.position, record.stage_run.stage.to_string()), record)).collect()
}

fn spent(record: &StageRecord, now: Timestamp) -> Option<Duration> {
    record.stage_run.started_at.map(|started| record.stage_run.ended_at.unwrap_or(now).since(started))
}

fn row(record: &StageRecord, now: Timestamp) -> StageRow {
    let stage = &record.stage_run;
    let tests = record.tests.as_deref().and_then(|tests| serde_json::from_str::<TestCounts>(tests).ok());
    StageRow {
        name: stage.stage.to_string(),
        url: urls::stage(stage.run, &stage.stage),
        badge: stage.status.into(),
        attempt: stage.attempt,
        reason: stage.status_reason.as_deref().map(visible),
        took: spent(record, now).map(took),
        cached_from: stage.cached_from.map(urls::run),
        promotion: record.promotion.map(urls::promotion),
        tests: tests.map(Tests::from),
    }
}

fn sum(rows: &[StageRow]) -> Option<Tests> {
    rows.iter().filter_map(|row| row.tests).reduce(|sum, more| Tests {
        passed: sum.passed + more.passed,
        failed: sum.failed + more.failed,
        skipped: sum.skipped + more.skipped,
    })
}

fn draw(plan: &Plan, newest: &BTreeMap<(u32, String), &StageRecord>, run: RunId, now: Timestamp) -> Graph {
    let records: BTreeMap<&str, &StageRecord> = newest.iter().map(|((_, name), record)| (name.as_str(), *record)).collect();
    let critical = critical(plan, &records, now);
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
            needs: stage.needs.iter().map(ToString::to_string).collect(),
            badge: status.into(),
            note,
            url: urls::stage(run, &stage.name),
            critical: critical.contains(stage.name.as_str()),
        }
    });
    Graph::draw(stages.collect())
}

/// The stages that the run's length hangs on: back from the one that ended last, each time to the need that ended last.
fn critical(plan: &Plan, records: &BTreeMap<&str, &StageRecord>, now: Timestamp) -> BTreeSet<String> {
    let end = |name: &str| {
        let stage = &records.get(name)?.stage_run;
        stage.started_at?;
        Some(stage.ended_at.unwrap_or(now))
    };
    let mut path = BTreeSet::new();
    let mut at =
        plan.stages.iter().filter_map(|stage| Some((end(stage.name.as_str())?, stage))).max_by_key(|(end, _)| *end).map(|(_, stage)| stage);
    while let Some(stage) = at {
        if !path.insert(stage.name.to_string()) {
            break;
        }
        let last = stage.needs.iter().filter_map(|need| Some((end(need.as_str())?, need))).max_by_key(|(end, _)| *end);
        at = last.and_then(|(_, need)| plan.stage(need));
    }
    // A path of one says nothing.
    if path.len() < 2 { BTreeSet::new() } else { path }
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Does the run again from where it ended.
pub(super) async fn retry(State(state): State<WebState>, Path(id): Path<RunId>, deed: Deed<Nothing>) -> Answer {
    find(&state, &deed.visitor.caller, id).await?;
    let new = state.control.run_retry(&deed.visitor.caller.actor, id).await?;
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
