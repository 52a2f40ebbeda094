//! `/promotions`, and what people do with them under `/webhooks/{webhook}/environments/{environment}/…`.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use hookwright_core::{Action, EnvironmentName, Promotion, PromotionId, ReleaseId, WebhookName};
use hookwright_store::PromotionFilter;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Problem, Result};

/// A page's size when none is asked for.
const PAGE: u32 = 50;

pub(crate) fn routes() -> Router<WebState> {
    Router::new().route("/promotions", get(list)).route("/webhooks/{webhook}/environments/{environment}/{action}", post(act))
}

#[derive(Deserialize)]
struct Filter {
    webhook: Option<WebhookName>,
    environment: Option<EnvironmentName>,
    #[serde(default)]
    open: bool,
    cursor: Option<PromotionId>,
    limit: Option<u32>,
}

pub(crate) fn view(promotion: &Promotion) -> Value {
    json!({
        "id": promotion.id, "webhook": promotion.webhook, "environment": promotion.environment, "release": promotion.release,
        "origin": promotion.origin, "status": promotion.status, "status_reason": promotion.status_reason,
        "verdicts": promotion.verdicts, "deployment": promotion.deployment, "created_at": promotion.created_at,
        "ended_at": promotion.ended_at,
    })
}

async fn list(State(state): State<WebState>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Value>> {
    caller.must_for(Action::Read, filter.webhook.as_ref())?;
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, 500);
    let Filter { webhook, environment, open, cursor, .. } = filter;
    let promotions = state.store.promotion_list(&PromotionFilter { webhook, environment, open, before: cursor, limit }).await?;
    let next = (promotions.len() == limit as usize).then(|| promotions.last().map(|promotion| promotion.id)).flatten();
    let items: Vec<Value> = promotions.iter().filter(|promotion| caller.sees(&promotion.webhook)).map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    release: Option<ReleaseId>,
    reason: Option<String>,
}

async fn act(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment, action)): Path<(WebhookName, EnvironmentName, String)>,
    Body(wish): Body<Wish>,
) -> Result<Json<Value>> {
    let (control, actor, release) = (&state.control, &caller.0, wish.release.as_ref());
    let id = match action.as_str() {
        "promote" => control.promote(actor, &webhook, &environment, release).await?,
        "approve" => control.approve(actor, &webhook, &environment, release, wish.reason).await?,
        "reject" => control.reject(actor, &webhook, &environment, release, wish.reason).await?,
        "override" => control.override_gates(actor, &webhook, &environment, release, wish.reason.unwrap_or_default()).await?,
        "rollback" => control.rollback(actor, &webhook, &environment, release).await?,
        other => return Err(Problem::not_found(format!("`{other}` is none of promote, approve, reject, override, rollback"))),
    };
    let missing = || Problem::not_found(format!("the promotion {id} is gone"));
    Ok(Json(view(&state.store.promotion_fetch(id).await?.ok_or_else(missing)?)))
}
