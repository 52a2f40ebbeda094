//! The releases of a webhook, newest first, page by page: what was built, what is where, and any two of them to compare.

use std::collections::BTreeMap;

use axum::extract::State;
use hookwright_core::{Action, Release, ReleaseId, WebhookName};
use serde::{Deserialize, Serialize};

use super::release::ReleaseShown;
use super::{Answer, Layout};
use crate::error::{Path, Problem, Query, Result};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// How many a page has.
const PAGE: usize = 50;

/// The list of releases.
#[derive(Serialize)]
pub(crate) struct ReleaseListPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    releases: Vec<ReleaseRow>,
    compare: String,
    /// The newest of this page, when it is not the first page.
    newest: Option<String>,
    older: Option<String>,
}

/// A release in a list.
#[derive(Serialize)]
pub(crate) struct ReleaseRow {
    release: ReleaseShown,
    run: String,
    image: String,
    live_in: Vec<String>,
}

impl ReleaseRow {
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self { release: ReleaseShown::sample(), run: "/runs/1".into(), image: "0123".into(), live_in: vec!["<b>hostile".into()] }
    }
}

impl View for ReleaseListPage {
    const TEMPLATE: &'static str = "pages/release_list.html";

    #[cfg(test)]
    fn sample() -> Self {
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            releases: vec![ReleaseRow::sample(), ReleaseRow::sample()],
            compare: "/x".into(),
            newest: Some("/x".into()),
            older: Some("/y".into()),
        }
    }
}

/// Releases of one webhook as rows, each with the environments that it is live in, as far as the visitor sees them.
pub(crate) async fn release_rows(state: &WebState, visitor: &Visitor, releases: Vec<Release>) -> Result<Vec<ReleaseRow>> {
    let mut live: BTreeMap<ReleaseId, Vec<String>> = BTreeMap::new();
    let webhook = releases.first().map(|release| release.webhook.clone());
    let deployments = match &webhook {
        Some(webhook) => state.store.deployment_list_live(webhook).await?,
        None => Vec::new(),
    };
    for deployment in deployments {
        if visitor.caller.sees_in(&deployment.webhook, &deployment.environment) {
            live.entry(deployment.release).or_default().push(deployment.environment.to_string());
        }
    }
    let mut rows = Vec::new();
    for Release { id, run, image, .. } in releases {
        let Some(release) = ReleaseShown::fetch(state, &id).await? else { continue };
        let live_in = live.remove(&id).unwrap_or_default();
        rows.push(ReleaseRow { release, run: urls::run(run), image: image.short(), live_in });
    }
    Ok(rows)
}

/// Which page.
#[derive(Deserialize)]
pub(super) struct Older {
    before: Option<ReleaseId>,
}

/// Shows them.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(name): Path<WebhookName>,
    Query(Older { before }): Query<Older>,
) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    state.store.webhook_fetch(&name).await?.ok_or_else(|| Problem::not_found(format!("there is no webhook `{name}`")))?;
    let mut found = state.store.release_list(Some(&name), before.as_ref(), PAGE as u32 + 1).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let older = found.last().filter(|_| more).map(|last| format!("{}?before={}", urls::releases(&name), last.id));
    Ok(template::page(&ReleaseListPage {
        layout: Layout::new(&visitor, "board", format!("Releases of {name}")),
        webhook: name.to_string(),
        webhook_url: urls::webhook(&name),
        releases: release_rows(&state, &visitor, found).await?,
        compare: urls::compare(&name),
        newest: before.map(|_| urls::releases(&name)),
        older,
    }))
}
