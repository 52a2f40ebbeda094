//! `/tokens`: made, listed without themselves, revoked; by admins.

use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use hookwright_core::{Action, Grant, TokenId};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Problem, Result};

pub(crate) fn routes() -> Router<WebState> {
    Router::new().route("/tokens", get(list).post(create)).route("/tokens/{id}", delete(revoke))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    user: String,
    #[serde(default)]
    teams: Vec<String>,
    grants: Vec<Grant>,
}

async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>> {
    caller.must(Action::Administer)?;
    let view = |token: &hookwright_store::TokenInfo| {
        json!({
            "id": token.id, "user": token.user, "teams": token.teams, "grants": token.grants, "created_at": token.created_at,
            "revoked_at": token.revoked_at,
        })
    };
    let items: Vec<Value> = state.store.token_list().await?.iter().map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

async fn create(State(state): State<WebState>, caller: Caller, Body(new): Body<NewToken>) -> Result<(StatusCode, Json<Value>)> {
    caller.must(Action::Administer)?;
    if new.user.trim().is_empty() || new.user.len() > 128 || new.grants.is_empty() {
        return Err(Problem::invalid("a token needs a user of 1 to 128 characters and at least one grant"));
    }
    let (id, token) = state.store.token_create(&new.user, new.teams, new.grants).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "user": new.user, "token": token }))))
}

async fn revoke(State(state): State<WebState>, caller: Caller, Path(id): Path<TokenId>) -> Result<StatusCode> {
    caller.must(Action::Administer)?;
    if state.store.token_revoke(&id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(format!("there is no valid token {id}")))
    }
}
