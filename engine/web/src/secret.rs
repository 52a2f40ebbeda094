//! `/webhooks/{webhook}/environments/{environment}/secrets`: set and removed; names are listed, values never.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, ConfigName, EnvironmentName, SecretValue, WebhookName};
use hookwright_store::NewAudit;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::page::{Filling, Limit, Page};

/// How long the value before may be accepted.
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// The largest value, in bytes: an environment variable must hold it.
const VALUE_LIMIT: usize = 64 << 10;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(secret_list)).routes(routes!(secret_set, secret_remove))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SecretQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<ConfigName>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// A secret that is set.
#[derive(Serialize, ToSchema)]
struct SecretName {
    #[schema(value_type = String)]
    name: ConfigName,
}

/// A secret's value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    /// 1 to 65536 bytes, none of them zero.
    #[schema(write_only)]
    value: String,
    /// For so many seconds signatures made with the value before it are accepted too, up to 30 days; left out, not at all.
    previous_seconds: Option<u32>,
}

/// The names of the secrets that are set; `build` is the environment of build secrets.
#[utoipa::path(get, path = "/webhooks/{webhook}/environments/{environment}/secrets", tag = "secrets", params(SecretQuery),
    security(("bearer" = ["viewer"])), responses((status = 200, description = "A page of names.", body = Page<SecretName>)))]
async fn secret_list(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
    Query(query): Query<SecretQuery>,
) -> Result<Json<Page<SecretName>>> {
    caller.must_in(Action::Read, Some(&webhook), Some(&environment))?;
    let mut page = Filling::new(query.cursor, query.limit, false);
    while let Some((after, limit)) = page.more() {
        page.add(state.store.secret_page(&webhook, &environment, after.as_ref(), limit).await?, ConfigName::clone, |_| true);
    }
    Ok(Json(page.page(|name| SecretName { name })))
}

/// Sets a secret; what is live there is deployed again with it.
#[utoipa::path(put, path = "/webhooks/{webhook}/environments/{environment}/secrets/{secret}", tag = "secrets", request_body = NewSecret,
    security(("bearer" = ["developer"])), responses(
        (status = 204, description = "It is set."),
    ))]
async fn secret_set(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment, name)): Path<(WebhookName, EnvironmentName, ConfigName)>,
    Body(new): Body<NewSecret>,
) -> Result<StatusCode> {
    caller.must_in(Action::Develop, Some(&webhook), Some(&environment))?;
    check_value(&new.value)?;
    let previous = new.previous_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    if previous.is_some_and(|time| time > LONGEST_OVERLAP) {
        return Err(Problem::invalid("a value before is accepted for 30 days at most"));
    }
    state.control.secret_set(&caller.actor, (&webhook, &environment), &name, (&SecretValue::new(new.value), previous)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a secret. What is live keeps it until the next deployment.
#[utoipa::path(delete, path = "/webhooks/{webhook}/environments/{environment}/secrets/{secret}", tag = "secrets",
    security(("bearer" = ["developer"])), responses((status = 204, description = "It is removed.")))]
async fn secret_remove(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment, name)): Path<(WebhookName, EnvironmentName, ConfigName)>,
) -> Result<StatusCode> {
    remove(&state, &caller, (&webhook, &environment), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a secret, for developers of the place.
pub(crate) async fn remove(state: &WebState, caller: &Caller, at: (&WebhookName, &EnvironmentName), name: &ConfigName) -> Result<()> {
    let (webhook, environment) = at;
    caller.must_in(Action::Develop, Some(webhook), Some(environment))?;
    let mut tx = state.store.begin().await?;
    if !state.store.secret_delete_in(&mut tx, at, name).await? {
        return Err(Problem::not_found(format!("`{name}` is not set")));
    }
    let (user, action) = (caller.actor.user.as_str(), "secret.removed");
    let entry = NewAudit { user, action, webhook: Some(webhook), environment: Some(environment), detail: name.as_str() };
    tx.audit_append(entry).await?;
    tx.commit("secret.removed").await?;
    Ok(())
}

/// Refuses a value that no environment variable holds.
pub(crate) fn check_value(value: &str) -> Result<()> {
    if value.is_empty() || value.len() > VALUE_LIMIT || value.contains('\0') {
        return Err(Problem::invalid(format!("a secret has 1 to {VALUE_LIMIT} bytes, none of them zero")));
    }
    Ok(())
}
