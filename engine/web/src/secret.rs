//! `/webhooks/{webhook}/environments/{environment}/secrets`: set and removed; names are listed, values never.

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use hookwright_core::{Action, ConfigName, EnvironmentName, SecretValue, WebhookName};
use hookwright_store::NewAudit;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Problem, Result};

/// The largest value, in bytes: an environment variable must hold it.
const VALUE_LIMIT: usize = 64 << 10;

pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route("/webhooks/{webhook}/environments/{environment}/secrets", get(list))
        .route("/webhooks/{webhook}/environments/{environment}/secrets/{name}", put(set).delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewValue {
    value: String,
}

async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
) -> Result<Json<Value>> {
    caller.must_in(Action::Read, Some(&webhook), Some(&environment))?;
    let names = state.store.secret_names(&webhook, &environment).await?;
    let items: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

async fn set(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment, name)): Path<(WebhookName, EnvironmentName, ConfigName)>,
    Body(new): Body<NewValue>,
) -> Result<StatusCode> {
    caller.must_in(Action::Develop, Some(&webhook), Some(&environment))?;
    if new.value.is_empty() || new.value.len() > VALUE_LIMIT || new.value.contains('\0') {
        return Err(Problem::invalid(format!("a secret has 1 to {VALUE_LIMIT} bytes, none of them zero")));
    }
    state.control.secret_set(&caller.0, (&webhook, &environment), &name, &SecretValue::new(new.value)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment, name)): Path<(WebhookName, EnvironmentName, ConfigName)>,
) -> Result<StatusCode> {
    caller.must_in(Action::Develop, Some(&webhook), Some(&environment))?;
    let mut tx = state.store.begin().await?;
    let removed = state.store.secret_delete_in(&mut tx, (&webhook, &environment), &name).await?;
    tx.audit_append(audit(&caller, "secret.removed", (&webhook, &environment), name.as_str())).await?;
    tx.commit("secret.removed").await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(format!("`{name}` is not set"))) }
}

fn audit<'a>(caller: &'a Caller, action: &'a str, at: (&'a WebhookName, &'a EnvironmentName), name: &'a str) -> NewAudit<'a> {
    NewAudit { user: &caller.0.user, action, webhook: Some(at.0), environment: Some(at.1), detail: name }
}
