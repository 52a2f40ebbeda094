//! What changed between two releases of a webhook.

use axum::extract::State;
use hookwright_core::{Action, ReleaseId, WebhookName};
use serde::{Deserialize, Serialize};

use super::release::{Change, ReleaseShown, changes};
use super::{Answer, Layout};
use crate::WebState;
use crate::error::{Path, Problem, Query};
use crate::template::{self, View};
use crate::urls;
use crate::visitor::Visitor;

/// Two releases side by side.
#[derive(Serialize)]
pub(crate) struct ComparePage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    before: ReleaseShown,
    after: ReleaseShown,
    changes: Vec<Change>,
}

impl View for ComparePage {
    const TEMPLATE: &'static str = "pages/compare.html";

    #[cfg(test)]
    fn sample() -> Self {
        let change = Change { what: "<b>hostile".into(), before: Some("<b>hostile".into()), after: None };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            before: ReleaseShown::sample(),
            after: ReleaseShown::sample(),
            changes: vec![change],
        }
    }
}

/// Which two.
#[derive(Deserialize)]
pub(super) struct Pair {
    before: ReleaseId,
    after: ReleaseId,
}

/// Shows what differs.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(name): Path<WebhookName>,
    Query(pair): Query<Pair>,
) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    let mut found = Vec::new();
    for id in [&pair.before, &pair.after] {
        let missing = || Problem::not_found(format!("`{name}` has no release {id}"));
        let release = state.store.release_fetch(id).await?.filter(|release| release.webhook == name).ok_or_else(missing)?;
        found.push((ReleaseShown::fetch(&state, id).await?.ok_or_else(missing)?, release));
    }
    let (Some((after, new)), Some((before, old))) = (found.pop(), found.pop()) else {
        return Err(Problem::bad_request("name two releases"));
    };
    let layout = Layout::new(&visitor, "board", format!("{} → {} · {name}", before.short, after.short));
    let changes = changes(Some(&old), &new);
    let (webhook, webhook_url) = (name.to_string(), urls::webhook(&name));
    Ok(template::page(&ComparePage { layout, webhook, webhook_url, before, after, changes }))
}
