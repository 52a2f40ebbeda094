//! `/repositories`: what is hosted and watched.

use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use hookwright_core::{Action, Repository, RepositoryKind, RepositoryName};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Problem, Result};

pub(crate) fn routes() -> Router<WebState> {
    Router::new().route("/repositories", get(list).post(add)).route("/repositories/{name}", delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRepository {
    name: RepositoryName,
    /// Left out for a hosted one.
    url: Option<String>,
}

fn view(repository: &Repository) -> Value {
    let url = match &repository.kind {
        RepositoryKind::Hosted => None,
        RepositoryKind::Remote { url } => Some(url),
    };
    json!({
        "id": repository.id, "name": repository.name, "url": url, "default_branch": repository.default_branch,
        "created_at": repository.created_at, "polled_at": repository.polled_at, "poll_error": repository.poll_error,
    })
}

async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>> {
    caller.must(Action::Read)?;
    let items: Vec<Value> = state.store.repository_list().await?.iter().map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

async fn add(State(state): State<WebState>, caller: Caller, Body(new): Body<NewRepository>) -> Result<(StatusCode, Json<Value>)> {
    let kind = new.url.map_or(RepositoryKind::Hosted, |url| RepositoryKind::Remote { url });
    let repository = state.control.repository_add(&caller.0, &new.name, &kind).await?;
    Ok((StatusCode::CREATED, Json(view(&repository))))
}

async fn remove(State(state): State<WebState>, caller: Caller, Path(name): Path<RepositoryName>) -> Result<StatusCode> {
    caller.must(Action::Administer)?;
    let missing = || Problem::not_found(format!("there is no repository `{name}`"));
    let repository = state.store.repository_fetch_by_name(&name).await?.ok_or_else(missing)?;
    state.store.repository_delete(&repository.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
