//! Going back to an older release: first what that would change, then the deed.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, EnvironmentName, ReleaseId, WebhookName};
use serde::{Deserialize, Serialize};

use super::release::{Change, ReleaseShown, changes};
use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Query};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// What going back would change.
#[derive(Serialize)]
pub(crate) struct RollbackPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    environment: String,
    environment_url: String,
    current: Option<ReleaseShown>,
    target: ReleaseShown,
    changes: Vec<Change>,
    go: String,
}

impl View for RollbackPage {
    const TEMPLATE: &'static str = "pages/rollback.html";

    #[cfg(test)]
    fn sample() -> Self {
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            environment: "production".into(),
            environment_url: "/x".into(),
            current: Some(ReleaseShown::sample()),
            target: ReleaseShown::sample(),
            changes: vec![Change { what: "<b>hostile".into(), before: None, after: None }],
            go: "/x".into(),
        }
    }
}

/// To which release.
#[derive(Deserialize)]
pub(super) struct Target {
    release: ReleaseId,
}

type Place = Path<(WebhookName, EnvironmentName)>;

/// Shows what would change.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path((webhook, environment)): Place,
    Query(Target { release: id }): Query<Target>,
) -> Answer {
    visitor.caller.must_in(Action::Develop, Some(&webhook), Some(&environment))?;
    let missing = || Problem::not_found(format!("`{webhook}` has no release {id}"));
    let target = state.store.release_fetch(&id).await?.filter(|release| release.webhook == webhook).ok_or_else(missing)?;
    let current = match state.store.deployment_current(&webhook, &environment).await? {
        Some(live) => state.store.release_fetch(&live.release).await?,
        None => None,
    };
    let page = RollbackPage {
        layout: Layout::new(&visitor, "board", format!("Roll back {webhook} in {environment}")),
        webhook: webhook.to_string(),
        webhook_url: urls::webhook(&webhook),
        environment: environment.to_string(),
        environment_url: urls::environment(&webhook, &environment),
        changes: changes(current.as_ref(), &target),
        current: match &current {
            Some(current) => ReleaseShown::fetch(&state, &current.id).await?,
            None => None,
        },
        target: ReleaseShown::fetch(&state, &id).await?.ok_or_else(missing)?,
        go: urls::rollback(&webhook, &environment),
    };
    Ok(template::page(&page))
}

/// Goes back, and holds the environment.
pub(super) async fn go(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<Target>) -> Answer {
    let Deed { visitor, form } = deed;
    let id = state.control.rollback(&visitor.caller.actor, &webhook, &environment, Some(&form.release)).await?;
    Ok(Redirect::to(&said(&urls::promotion(id), "rolled-back")).into_response())
}
