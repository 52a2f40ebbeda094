//! The tests of a run by name, out of the reports that its stages left: failures first, with message and stack.

use axum::extract::State;
use futures_util::StreamExt;
use hookwright_control::{TestCase, TestEnding, read_report};
use hookwright_core::{Artifact, ArtifactKind, Digest, RunId, StageRunId};
use serde::{Deserialize, Serialize};

use super::{Answer, Layout};
use crate::error::{Path, Query, Result};
use crate::run::find;
use crate::show::{Badge, visible, visible_lines};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// What is read of reports for a page, in bytes; one alone may have half of it.
const READ: u64 = 32 << 20;

/// What is read for the run's own page, which is looked at again and again.
const READ_OFTEN: u64 = 1 << 20;

/// So many tests that failed are shown with their stacks on the page of tests, and on that of the run.
const FAILED: usize = 200;
const FAILED_OFTEN: usize = 20;

/// So many others are named.
const OTHERS: usize = 3_000;

/// The tests of a run.
#[derive(Serialize)]
pub(crate) struct TestListPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    run_number: u32,
    run_url: String,
    url: String,
    find: String,
    reports: Vec<ReportShown>,
}

/// The report of a stage.
#[derive(Serialize)]
struct ReportShown {
    stage: String,
    name: String,
    download: String,
    failed: Vec<CaseShown>,
    others: Vec<CaseShown>,
    /// How many are not shown.
    left_out: usize,
    total: usize,
    /// Whether it was too large to be read.
    too_large: bool,
}

/// A test.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CaseShown {
    name: String,
    class: String,
    badge: Badge,
    took: Option<String>,
    message: String,
    details: String,
}

impl CaseShown {
    fn new(case: &TestCase) -> Self {
        let badge = match case.ending {
            TestEnding::Passed => Badge::new("good", "check", "passed"),
            TestEnding::Skipped => Badge::new("off", "skip", "skipped"),
            TestEnding::Failed => Badge::new("bad", "cross", "failed"),
            TestEnding::Broken => Badge::new("bad", "alert", "broke"),
        };
        Self {
            name: visible(&case.name),
            class: visible(&case.class),
            badge,
            took: case.seconds.as_deref().map(|seconds| format!("{} s", visible(seconds))),
            message: visible(&case.message),
            details: visible_lines(&case.details),
        }
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let badge = Badge::new("bad", "cross", "failed");
        Self { name: text(), class: text(), badge, took: Some("0.1 s".into()), message: text(), details: text() }
    }

    /// Whether every word is somewhere in it.
    fn matches(&self, words: &str) -> bool {
        let haystack = format!("{} {} {} {}", self.name, self.class, self.message, self.badge.word).to_lowercase();
        words.to_lowercase().split_whitespace().all(|word| haystack.contains(word))
    }
}

impl View for TestListPage {
    const TEMPLATE: &'static str = "pages/test_list.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let report = ReportShown {
            stage: text(),
            name: text(),
            download: "/x".into(),
            failed: vec![CaseShown::sample()],
            others: vec![CaseShown::sample()],
            left_out: 4,
            total: 9,
            too_large: true,
        };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/x".into(),
            run_number: 7,
            run_url: "/x".into(),
            url: "/x".into(),
            find: text(),
            reports: vec![report],
        }
    }
}

/// The filter.
#[derive(Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    find: String,
}

/// Shows them.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path(id): Path<RunId>, Query(filter): Query<Filter>) -> Answer {
    let run = find(&state, &visitor.caller, id).await?;
    let records = state.store.stage_run_list(id).await?;
    let mut left = READ;
    let mut reports = Vec::new();
    for artifact in newest(&state, id).await? {
        let stage = records.iter().find(|record| record.stage_run.id == artifact.stage_run);
        let cases = cases(&state, &artifact, left.min(READ / 2)).await?;
        left = left.saturating_sub(artifact.size);
        let too_large = cases.is_none();
        let cases = cases.unwrap_or_default();
        let shown: Vec<CaseShown> = cases.iter().map(CaseShown::new).filter(|case| case.matches(&filter.find)).collect();
        let (mut failed, mut others): (Vec<_>, Vec<_>) = shown.into_iter().partition(|case| case.badge.tone == "bad");
        let found = failed.len() + others.len();
        failed.truncate(FAILED);
        others.truncate(OTHERS);
        reports.push(ReportShown {
            stage: stage.map(|record| record.stage_run.stage.to_string()).unwrap_or_default(),
            name: visible(&artifact.name),
            download: urls::artifact(artifact.id),
            left_out: found - failed.len() - others.len(),
            failed,
            others,
            total: cases.len(),
            too_large,
        });
    }
    Ok(template::page(&TestListPage {
        layout: Layout::new(&visitor, "runs", format!("Tests of {} #{}", run.webhook, run.number)),
        webhook: run.webhook.to_string(),
        webhook_url: urls::webhook(&run.webhook),
        run_number: run.number,
        run_url: urls::run(id),
        url: urls::run_tests(id),
        find: visible(&filter.find),
        reports,
    }))
}

/// The first tests of a run that failed, for its own page; none when its reports are too large to be read that often.
pub(crate) async fn failed(state: &WebState, run: RunId) -> Result<Vec<CaseShown>> {
    let mut left = READ_OFTEN;
    let mut found = Vec::new();
    for artifact in newest(state, run).await? {
        let cases = cases(state, &artifact, left).await?.unwrap_or_default();
        left = left.saturating_sub(artifact.size);
        found.extend(cases.iter().filter(|case| case.ending >= TestEnding::Failed).take(FAILED_OFTEN - found.len()).map(CaseShown::new));
    }
    Ok(found)
}

/// The reports of the newest attempt at each stage that left some.
async fn newest(state: &WebState, run: RunId) -> Result<Vec<Artifact>> {
    let mut last: std::collections::BTreeMap<String, StageRunId> = std::collections::BTreeMap::new();
    // Records are ordered by attempt, so that later ones replace earlier ones.
    for record in state.store.stage_run_list(run).await? {
        last.insert(record.stage_run.stage.to_string(), record.stage_run.id);
    }
    let mut reports = state.store.artifact_list(run).await?;
    reports.retain(|artifact| artifact.kind == ArtifactKind::Report && last.values().any(|id| *id == artifact.stage_run));
    Ok(reports)
}

/// The tests of a report; `None` when it is larger than `limit` bytes.
async fn cases(state: &WebState, artifact: &Artifact, limit: u64) -> Result<Option<Vec<TestCase>>> {
    if artifact.size > limit {
        return Ok(None);
    }
    let Some(content) = content(state, &artifact.digest).await? else { return Ok(Some(Vec::new())) };
    let read = tokio::task::spawn_blocking(move || read_report(&String::from_utf8_lossy(&content))).await;
    // Reading has no reason to panic; a report that makes it do so is shown as empty.
    Ok(Some(read.unwrap_or_default()))
}

async fn content(state: &WebState, blob: &Digest) -> Result<Option<Vec<u8>>> {
    let Some((_, mut stream)) = state.artifacts.open(blob).await? else { return Ok(None) };
    let mut content = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => content.extend_from_slice(&chunk),
            Err(error) => return Err(hookwright_core::PortError::errored("a report cannot be read").because(error).into()),
        }
    }
    Ok(Some(content))
}
