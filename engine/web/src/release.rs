//! `/releases`: what was built, newest first.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use hookwright_core::{Action, Release, ReleaseId, WebhookName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::Result;

/// A page's size when none is asked for.
const PAGE: u32 = 50;

pub(crate) fn routes() -> Router<WebState> {
    Router::new().route("/releases", get(list))
}

#[derive(Deserialize)]
struct Filter {
    webhook: Option<WebhookName>,
    cursor: Option<ReleaseId>,
    limit: Option<u32>,
}

pub(crate) fn view(release: &Release) -> Value {
    json!({
        "id": release.id, "webhook": release.webhook, "commit": release.commit, "image": release.image, "run": release.run,
        "created_at": release.created_at,
    })
}

async fn list(State(state): State<WebState>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Value>> {
    caller.must_for(Action::Read, filter.webhook.as_ref())?;
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, 500);
    let releases = state.store.release_list(filter.webhook.as_ref(), filter.cursor.as_ref(), limit).await?;
    let next = (releases.len() == limit as usize).then(|| releases.last().map(|release| release.id.clone())).flatten();
    let items: Vec<Value> = releases.iter().filter(|release| caller.sees(&release.webhook)).map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}
