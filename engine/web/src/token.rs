//! `/tokens`: made, listed without themselves, revoked; by admins.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, Grant, Timestamp, TokenId};
use hookwright_store::{NewAudit, TokenInfo};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::grant::{Change, GrantView, Rights, check_holder, grants_text};
use crate::page::{Filling, Limit, Page};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(token_list, token_create)).routes(routes!(token_change, token_revoke))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TokenQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<TokenId>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// Whose it is, 1 to 128 characters; distinct approvers have distinct users.
    user: String,
    /// Teams of the user, as approvals name them.
    #[serde(default)]
    teams: Vec<String>,
    /// What it may do; at least one.
    grants: Vec<GrantView>,
}

/// What a token may do from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangedToken {
    /// Teams of the user, as approvals name them.
    #[serde(default)]
    teams: Vec<String>,
    /// What it may do; at least one.
    grants: Vec<GrantView>,
}

/// A token, which is shown this once.
#[derive(Serialize, ToSchema)]
struct MadeToken {
    #[schema(value_type = String)]
    id: TokenId,
    user: String,
    /// The token itself; it cannot be read again.
    token: String,
}

/// A token as it may be shown: without itself.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    #[schema(value_type = String)]
    id: TokenId,
    user: String,
    teams: Vec<String>,
    grants: Vec<GrantView>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    /// Since when it is worth nothing.
    #[schema(value_type = Option<i64>)]
    revoked_at: Option<Timestamp>,
}

impl From<TokenInfo> for TokenView {
    fn from(token: TokenInfo) -> Self {
        let TokenInfo { id, user, teams, grants, created_at, revoked_at } = token;
        Self { id, user, teams, grants: grants.into_iter().map(GrantView::from).collect(), created_at, revoked_at }
    }
}

/// Tokens, revoked ones too, oldest first.
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(TokenQuery), security(("bearer" = ["admin"])),
    responses((status = 200, description = "A page of tokens, without themselves.", body = Page<TokenView>)))]
async fn token_list(State(state): State<WebState>, caller: Caller, Query(query): Query<TokenQuery>) -> Result<Json<Page<TokenView>>> {
    caller.must(Action::Administer)?;
    let mut page = Filling::new(query.cursor, query.limit, true);
    while let Some((after, limit)) = page.more() {
        page.add(state.store.token_list(after, limit).await?, |token| token.id, |_| true);
    }
    Ok(Json(page.page(TokenView::from)))
}

/// Makes a token.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken, security(("bearer" = ["admin"])),
    responses((status = 201, description = "The token, this once.", body = MadeToken)))]
async fn token_create(State(state): State<WebState>, caller: Caller, Body(new): Body<NewToken>) -> Result<(StatusCode, Json<MadeToken>)> {
    let grants: Vec<Grant> = new.grants.into_iter().map(Grant::from).collect();
    let (id, token) = create(&state, &caller, (&new.user, &new.teams), &grants).await?;
    Ok((StatusCode::CREATED, Json(MadeToken { id, user: new.user, token })))
}

/// Makes a token for a user with these teams, for admins.
pub(crate) async fn create(
    state: &WebState,
    caller: &Caller,
    (user, teams): (&str, &[String]),
    grants: &[Grant],
) -> Result<(TokenId, String)> {
    caller.must(Action::Administer)?;
    check_holder(user, teams, grants)?;
    let mut tx = state.store.begin().await?;
    let (id, token) = tx.token_create(user, teams, grants).await?;
    let detail = format!("{id} for {user}: {}", grants_text(grants));
    let (user, action) = (caller.actor.user.as_str(), "token.created");
    tx.audit_append(NewAudit { user, action, webhook: None, environment: None, detail: &detail }).await?;
    tx.commit("token.created").await?;
    Ok((id, token))
}

/// Gives a token other teams and grants, which hold at once, also for whoever is signed in with it.
#[utoipa::path(put, path = "/tokens/{token}", tag = "tokens", request_body = ChangedToken, security(("bearer" = ["admin"])),
    responses((status = 204, description = "They hold.")))]
async fn token_change(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<TokenId>,
    Body(changed): Body<ChangedToken>,
) -> Result<StatusCode> {
    let grants = changed.grants.into_iter().map(Grant::from).collect();
    change(&state, &caller, &id, Change::To(Rights { teams: changed.teams, grants })).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes what a token may do, for admins.
pub(crate) async fn change(state: &WebState, caller: &Caller, id: &TokenId, change: Change) -> Result<()> {
    caller.must(Action::Administer)?;
    let mut tx = state.store.begin().await?;
    let TokenInfo { user, teams, grants, .. } = tx.token_lock(id).await?.ok_or_else(|| unknown(id))?;
    let before = Rights { teams, grants };
    let after = change.apply(&before)?;
    check_holder(&user, &after.teams, &after.grants)?;
    tx.token_change(id, &after.teams, &after.grants).await?;
    let (action, detail) = ("token.changed", after.instead_of(&before, &format!("{id} of {user}")));
    tx.audit_append(NewAudit { user: &caller.actor.user, action, webhook: None, environment: None, detail: &detail }).await?;
    tx.commit("token.changed").await?;
    Ok(())
}

fn unknown(id: &TokenId) -> Problem {
    Problem::not_found(format!("there is no valid token {id}"))
}

/// Makes a token worthless from now on; streams that it opened end within a minute.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "tokens", security(("bearer" = ["admin"])),
    responses((status = 204, description = "It is worth nothing.")))]
async fn token_revoke(State(state): State<WebState>, caller: Caller, Path(id): Path<TokenId>) -> Result<StatusCode> {
    revoke(&state, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a token worthless, for admins.
pub(crate) async fn revoke(state: &WebState, caller: &Caller, id: &TokenId) -> Result<()> {
    caller.must(Action::Administer)?;
    let mut tx = state.store.begin().await?;
    let holder = tx.token_revoke(id).await?.ok_or_else(|| unknown(id))?;
    let (user, action, detail) = (caller.actor.user.as_str(), "token.revoked", format!("{id} of {holder}"));
    tx.audit_append(NewAudit { user, action, webhook: None, environment: None, detail: &detail }).await?;
    tx.commit("token.revoked").await?;
    Ok(())
}
