//! Runs, newest first, of all webhooks or one.

use axum::extract::State;
use hookwright_core::status::RunStatus;
use hookwright_core::{Action, Run, RunId, RunReason, Timestamp, WebhookName};
use hookwright_store::RunFilter;
use serde::{Deserialize, Serialize};

use super::release::short;
use super::{Answer, Layout};
use crate::error::{Problem, Query, Result};
use crate::page::Filling;
use crate::show::{Badge, Moment, took, visible};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// The list of runs.
#[derive(Serialize)]
pub(crate) struct RunListPage {
    layout: Layout,
    webhook: String,
    status: String,
    statuses: Vec<&'static str>,
    runs: Vec<RunRow>,
    /// Where older ones are.
    older: Option<String>,
}

/// A run in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunRow {
    pub(crate) number: u32,
    pub(crate) webhook: String,
    pub(crate) webhook_url: String,
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) reason: Option<String>,
    pub(crate) commit: String,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) cause: String,
    pub(crate) reference: String,
    pub(crate) created: Moment,
    pub(crate) took: Option<String>,
}

impl View for RunListPage {
    const TEMPLATE: &'static str = "pages/run_list.html";

    #[cfg(test)]
    fn sample() -> Self {
        let statuses = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
        Self {
            layout: Layout::sample(),
            webhook: "<b>hostile".into(),
            status: "failed".into(),
            statuses,
            runs: vec![RunRow::sample()],
            older: Some("/runs?before=1".into()),
        }
    }
}

impl RunRow {
    /// A run with what its revision says.
    pub(crate) async fn new(state: &WebState, run: Run, now: Timestamp) -> Result<Self> {
        let revision = state.store.revision_fetch(&run.revision).await?;
        let (commit, title, author, reference) = revision.map_or_else(
            || (String::new(), "(its commit is not known any more)".to_owned(), String::new(), String::new()),
            |revision| {
                (
                    short(&revision.commit),
                    visible(&revision.info.title),
                    visible(&revision.info.author),
                    visible(revision.reference.short()),
                )
            },
        );
        Ok(Self {
            number: run.number,
            webhook_url: urls::webhook(&run.webhook),
            webhook: run.webhook.to_string(),
            url: urls::run(run.id),
            badge: run.status.into(),
            reason: run.status_reason.as_deref().and_then(|reason| reason.lines().next()).map(visible),
            commit,
            title,
            author,
            reference,
            cause: cause(&run.reason),
            created: Moment::new(run.created_at, now),
            took: run.started_at.map(|started| took(run.ended_at.unwrap_or(now).since(started))),
        })
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = "<b>hostile".to_owned();
        Self {
            number: 7,
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            url: "/runs/1".into(),
            badge: RunStatus::Failed.into(),
            reason: Some(text.clone()),
            commit: "0123456".into(),
            title: text.clone(),
            author: text.clone(),
            cause: text.clone(),
            reference: text,
            created: Moment::sample(),
            took: Some("3 s".into()),
        }
    }
}

/// Why a run exists, in words.
fn cause(reason: &RunReason) -> String {
    match reason {
        RunReason::Revision => "pushed".to_owned(),
        RunReason::Manual { actor } => format!("started by {}", visible(actor)),
        RunReason::Retry { actor, all: true, .. } => format!("done again by {}", visible(actor)),
        RunReason::Retry { actor, .. } => format!("retried by {}", visible(actor)),
    }
}

/// The filter; fields left empty are any.
#[derive(Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    webhook: String,
    #[serde(default)]
    status: String,
    before: Option<RunId>,
}

/// Shows runs.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Query(filter): Query<Filter>) -> Answer {
    let webhook = match filter.webhook.trim() {
        "" => None,
        name => Some(WebhookName::new(name).map_err(Problem::invalid)?),
    };
    visitor.caller.must_for(Action::Read, webhook.as_ref())?;
    let status = RunStatus::ALL.iter().copied().find(|status| status.as_str() == filter.status);
    let mut wanted = RunFilter { webhook, status, ..RunFilter::default() };
    let mut page = Filling::new(filter.before, None, true);
    while let Some((before, limit)) = page.more() {
        (wanted.before, wanted.limit) = (before, limit);
        page.add(state.store.run_list(&wanted).await?, |run| run.id, |run| visitor.caller.sees(&run.webhook));
    }
    let (found, next) = page.end();
    let now = state.clock.now();
    let mut runs = Vec::new();
    for run in found {
        runs.push(RunRow::new(&state, run, now).await?);
    }
    let older = next.map(|next| {
        let pairs = [("webhook", filter.webhook.as_str()), ("status", filter.status.as_str()), ("before", next.as_str())];
        format!("{}?{}", urls::RUNS, serde_urlencoded::to_string(pairs).unwrap_or_default())
    });
    let statuses = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
    let (webhook, layout) = (visible(&filter.webhook), Layout::new(&visitor, "runs", "Runs"));
    Ok(template::page(&RunListPage { layout, webhook, status: visible(&filter.status), statuses, runs, older }))
}
