//! `/webhooks`: what runs where, and what waits.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use hookwright_core::{Action, EnvironmentName, LogChunk, LogCursor, WebhookName};
use hookwright_spec::{Environment, Spec};
use hookwright_store::{PromotionFilter, RunFilter, WebhookRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Problem, Result};
use crate::{promotion, run};

pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route("/webhooks", get(list))
        .route("/webhooks/{webhook}", get(show))
        .route("/webhooks/{webhook}/environments/{environment}/logs", get(logs))
}

async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>> {
    caller.must(Action::Read)?;
    let mut items = Vec::new();
    for record in state.store.webhook_list().await?.iter().filter(|record| caller.sees(&record.name)) {
        items.push(view(&state, record).await?);
    }
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

async fn show(State(state): State<WebState>, caller: Caller, Path(name): Path<WebhookName>) -> Result<Json<Value>> {
    caller.must_for(Action::Read, Some(&name))?;
    let missing = || Problem::not_found(format!("there is no webhook `{name}`; push a repository with its webhook.yaml"));
    let record = state.store.webhook_fetch(&name).await?.ok_or_else(missing)?;
    view(&state, &record).await.map(Json)
}

async fn view(state: &WebState, record: &WebhookRecord) -> Result<Value> {
    let spec = state.store.webhook_spec_fetch(&record.name).await?;
    let spec: Option<Spec> = spec.and_then(|spec| serde_json::from_str(&spec.spec).ok());
    let newest = RunFilter { webhook: Some(record.name.clone()), status: None, before: None, limit: 1 };
    let last_run = state.store.run_list(&newest).await?.first().map(run::view);
    let mut environments = Vec::new();
    for environment in spec.iter().flat_map(|spec| &spec.environments) {
        environments.push(environment_view(state, &record.name, environment).await?);
    }
    Ok(json!({
        "name": record.name,
        "title": spec.as_ref().and_then(|spec| spec.title.clone()),
        "repository": record.repository,
        "folder": record.folder,
        "environments": environments,
        "last_run": last_run,
    }))
}

async fn environment_view(state: &WebState, webhook: &WebhookName, environment: &Environment) -> Result<Value> {
    let name = &environment.name;
    let live = state.store.deployment_current(webhook, name).await?;
    let observed = match &live {
        Some(live) => state.runtime.observe(&live.id).await?.unwrap_or_default().instances,
        None => Vec::new(),
    };
    let open = PromotionFilter { webhook: Some(webhook.clone()), environment: Some(name.clone()), open: true, before: None, limit: 20 };
    let waiting: Vec<Value> = state.store.promotion_list(&open).await?.iter().map(promotion::view).collect();
    let hold = state.store.hold_fetch(webhook, name).await?;
    let commit = match &live {
        Some(live) => state.store.release_fetch(&live.release).await?.map(|release| release.commit),
        None => None,
    };
    Ok(json!({
        "name": name,
        "address": format!("/w/{webhook}/{name}/"),
        "release": live.as_ref().map(|live| &live.release),
        "image": live.as_ref().map(|live| live.image),
        "commit": commit,
        "status": live.as_ref().map(|live| live.status),
        "instances": observed,
        "promotions": waiting,
        "hold": hold,
    }))
}

#[derive(Deserialize)]
struct LogQuery {
    from: Option<LogCursor>,
}

async fn logs(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogChunk>> {
    caller.must_in(Action::Read, Some(&webhook), Some(&environment))?;
    let missing = || Problem::not_found(format!("nothing of `{webhook}` was deployed to `{environment}` yet"));
    let newest = state.store.deployment_list(&webhook, Some(&environment), 1).await?;
    let newest = newest.first().ok_or_else(missing)?;
    Ok(Json(state.runtime.logs(&newest.id, query.from.unwrap_or_default()).await?))
}
