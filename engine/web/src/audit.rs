//! `/audit`: who did what, for admins.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use hookwright_core::{Action, AuditId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::Result;

/// A page's size when none is asked for.
const PAGE: u32 = 50;

pub(crate) fn routes() -> Router<WebState> {
    Router::new().route("/audit", get(list))
}

#[derive(Deserialize)]
struct Page {
    cursor: Option<AuditId>,
    limit: Option<u32>,
}

async fn list(State(state): State<WebState>, caller: Caller, Query(page): Query<Page>) -> Result<Json<Value>> {
    caller.must(Action::Administer)?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, 500);
    let entries = state.store.audit_list(page.cursor, limit).await?;
    let next = (entries.len() == limit as usize).then(|| entries.last().map(|entry| entry.id)).flatten();
    let items: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "id": entry.id, "at": entry.at, "user": entry.user, "action": entry.action, "webhook": entry.webhook,
                "environment": entry.environment, "detail": entry.detail,
            })
        })
        .collect();
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}
