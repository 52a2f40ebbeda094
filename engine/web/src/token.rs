//! `/tokens`: made, listed without themselves, revoked; by admins.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, EnvironmentName, Grant, Role, Scope, Timestamp, TokenId, WebhookName};
use hookwright_store::{NewAudit, TokenInfo};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::page::{Filling, Limit, Page};
use crate::{WebState, words};

/// The longest name of a user or team, in characters.
const NAME: usize = 128;
/// The most teams or grants of a token.
const MANY: usize = 64;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(token_list, token_create)).routes(routes!(token_revoke))
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

/// A role within a scope.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Grant)]
struct GrantView {
    #[schema(value_type = words::RoleName)]
    role: Role,
    scope: ScopeView,
}

/// Where a grant holds; what is left out means everywhere.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Scope)]
struct ScopeView {
    #[schema(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
}

impl From<Grant> for GrantView {
    fn from(Grant { role, scope: Scope { webhook, environment } }: Grant) -> Self {
        Self { role, scope: ScopeView { webhook, environment } }
    }
}

impl From<GrantView> for Grant {
    fn from(GrantView { role, scope: ScopeView { webhook, environment } }: GrantView) -> Self {
        Self { role, scope: Scope { webhook, environment } }
    }
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
    for name in std::iter::once(user).chain(teams.iter().map(String::as_str)) {
        check_name(name)?;
    }
    if grants.is_empty() || grants.len() > MANY || teams.len() > MANY {
        return Err(Problem::invalid(format!("a token has 1 to {MANY} grants and at most {MANY} teams")));
    }
    let mut tx = state.store.begin().await?;
    let (id, token) = tx.token_create(user, teams, grants).await?;
    let detail = format!("{id} for {user}: {}", grants.iter().map(grant_text).collect::<Vec<_>>().join(", "));
    let (user, action) = (caller.actor.user.as_str(), "token.created");
    tx.audit_append(NewAudit { user, action, webhook: None, environment: None, detail: &detail }).await?;
    tx.commit("token.created").await?;
    Ok((id, token))
}

/// Names are compared when approvals are counted and read by people: what a screen does not show has no place in them.
fn check_name(name: &str) -> Result<()> {
    let unseen =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if name.trim().is_empty() || name.trim() != name || name.chars().count() > NAME || name.contains(unseen) {
        return Err(Problem::invalid(format!("a user or team has 1 to {NAME} visible characters, without spaces around them")));
    }
    Ok(())
}

/// A grant in words.
pub(crate) fn grant_text(grant: &Grant) -> String {
    let Scope { webhook, environment } = &grant.scope;
    let webhook = webhook.as_ref().map_or("every webhook", WebhookName::as_str);
    let environment = environment.as_ref().map_or("every environment", EnvironmentName::as_str);
    format!("{} of {webhook} in {environment}", format!("{:?}", grant.role).to_lowercase())
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
    let Some(holder) = tx.token_revoke(id).await? else {
        return Err(Problem::not_found(format!("there is no valid token {id}")));
    };
    let (user, action, detail) = (caller.actor.user.as_str(), "token.revoked", format!("{id} of {holder}"));
    tx.audit_append(NewAudit { user, action, webhook: None, environment: None, detail: &detail }).await?;
    tx.commit("token.revoked").await?;
    Ok(())
}
