//! `/users`: people who sign in with a password here, or at the provider; added, changed, linked and removed by admins. A user's name is the
//! identity that approvals count: a token made for the same name is the same person.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, Grant, SecretValue, Timestamp};
use hookwright_store::{NewAudit, Tx, User};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::grant::{Change, GrantView, Rights, check_holder, check_name, grants_text};
use crate::page::{Filling, Limit, Page};
use crate::password::Passwords;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new()
        .routes(routes!(user_list, user_create))
        .routes(routes!(user_change, user_remove))
        .routes(routes!(user_set_password))
        .routes(routes!(user_link))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// Somebody to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// 1 to 128 characters, unique; what approvals name as `user:rosa`.
    name: String,
    /// 12 to 256 characters.
    #[schema(write_only)]
    password: String,
    /// Teams, as approvals name them.
    #[serde(default)]
    teams: Vec<String>,
    /// What the user may do; at least one.
    grants: Vec<GrantView>,
}

/// What somebody may do from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangedUser {
    /// Teams, as approvals name them.
    #[serde(default)]
    teams: Vec<String>,
    /// What the user may do; at least one.
    grants: Vec<GrantView>,
}

/// A password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// 12 to 256 characters.
    #[schema(write_only)]
    password: String,
}

/// Somebody whom the provider knows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KnownAs {
    /// What the provider calls them, `sub` in its tokens: 1 to 255 characters. Whoever is refused because of the name is told it.
    subject: String,
}

/// Somebody who signs in.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserView {
    name: String,
    teams: Vec<String>,
    grants: Vec<GrantView>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    /// When the user signed in last.
    #[schema(value_type = Option<i64>)]
    signed_in_at: Option<Timestamp>,
    /// The provider that knows the user, by its issuer; null for a user with a password.
    issuer: Option<String>,
    /// What that provider calls the user.
    subject: Option<String>,
    /// Since when somebody whom a provider knows is removed.
    #[schema(value_type = Option<i64>)]
    removed_at: Option<Timestamp>,
}

impl From<User> for UserView {
    fn from(User { name, teams, grants, created_at, signed_in_at, issuer, subject, removed_at, .. }: User) -> Self {
        let grants = grants.into_iter().map(GrantView::from).collect();
        Self { name, teams, grants, created_at, signed_in_at, issuer, subject, removed_at }
    }
}

/// People by name.
#[utoipa::path(get, path = "/users", tag = "users", params(UserQuery), security(("bearer" = ["admin"])),
    responses((status = 200, description = "A page of users, without passwords.", body = Page<UserView>)))]
async fn user_list(State(state): State<WebState>, caller: Caller, Query(query): Query<UserQuery>) -> Result<Json<Page<UserView>>> {
    caller.must(Action::Administer)?;
    let mut page = Filling::new(query.cursor, query.limit, true);
    while let Some((after, limit)) = page.more() {
        page.add(state.store.user_list(after.as_deref(), limit).await?, |user| user.name.clone(), |_| true);
    }
    Ok(Json(page.page(UserView::from)))
}

/// Adds somebody.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser, security(("bearer" = ["admin"])),
    responses(
        (status = 201, description = "The user may sign in."),
        (status = 409, description = "The name is somebody's."),
    ))]
async fn user_create(State(state): State<WebState>, caller: Caller, Body(new): Body<NewUser>) -> Result<StatusCode> {
    let grants: Vec<Grant> = new.grants.into_iter().map(Grant::from).collect();
    create(&state, &caller, (&new.name, SecretValue::new(new.password)), &new.teams, &grants).await?;
    Ok(StatusCode::CREATED)
}

/// Adds somebody, for admins.
pub(crate) async fn create(
    state: &WebState,
    caller: &Caller,
    (name, password): (&str, SecretValue),
    teams: &[String],
    grants: &[Grant],
) -> Result<()> {
    caller.must(Action::Administer)?;
    check_holder(name, teams, grants)?;
    Passwords::check(name, &password)?;
    let hash = state.passwords.hash(password).await?;
    let mut tx = state.store.begin().await?;
    tx.user_create(name, Some(&hash), teams, grants).await?;
    audit(&mut tx, caller, "user.created", &described(name, grants)).await?;
    tx.commit("user.created").await?;
    Ok(())
}

/// Gives somebody with a password other teams and grants, which hold at once, also for whoever is signed in.
#[utoipa::path(put, path = "/users/{user}", tag = "users", request_body = ChangedUser, security(("bearer" = ["admin"])),
    responses((status = 204, description = "They hold.")))]
async fn user_change(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<String>,
    Body(changed): Body<ChangedUser>,
) -> Result<StatusCode> {
    let grants = changed.grants.into_iter().map(Grant::from).collect();
    change(&state, &caller, &name, Change::To(Rights { teams: changed.teams, grants })).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes what somebody with a password may do, for admins.
pub(crate) async fn change(state: &WebState, caller: &Caller, name: &str, change: Change) -> Result<()> {
    caller.must(Action::Administer)?;
    let mut tx = state.store.begin().await?;
    let User { teams, grants, .. } = tx.user_lock(name).await?.ok_or_else(|| unknown(name))?;
    let before = Rights { teams, grants };
    let after = change.apply(&before)?;
    check_holder(name, &after.teams, &after.grants)?;
    tx.user_change(name, &after.teams, &after.grants).await?;
    audit(&mut tx, caller, "user.changed", &after.instead_of(&before, name)).await?;
    tx.commit("user.changed").await?;
    Ok(())
}

/// Removes somebody and ends every session; tokens stay. Whom the provider knows stays outside until they are linked again.
#[utoipa::path(delete, path = "/users/{user}", tag = "users", security(("bearer" = ["admin"])),
    responses((status = 204, description = "Nobody signs in by that name.")))]
async fn user_remove(State(state): State<WebState>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode> {
    remove(&state, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes somebody, for admins.
pub(crate) async fn remove(state: &WebState, caller: &Caller, name: &str) -> Result<()> {
    caller.must(Action::Administer)?;
    let mut tx = state.store.begin().await?;
    if !tx.user_delete(name).await? {
        return Err(unknown(name));
    }
    audit(&mut tx, caller, "user.removed", name).await?;
    tx.commit("user.removed").await?;
    Ok(())
}

/// Sets somebody's password and ends every session of the user. People change their own on the page, where they give the one before.
#[utoipa::path(put, path = "/users/{user}/password", tag = "users", request_body = NewPassword, security(("bearer" = ["admin"])),
    responses((status = 204, description = "It is set.")))]
async fn user_set_password(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode> {
    caller.must(Action::Administer)?;
    set_password(&state, &caller, &name, SecretValue::new(new.password)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets a password; the caller has been asked for the right to do so.
pub(crate) async fn set_password(state: &WebState, caller: &Caller, name: &str, password: SecretValue) -> Result<()> {
    Passwords::check(name, &password)?;
    let hash = state.passwords.hash(password).await?;
    let mut tx = state.store.begin().await?;
    if !tx.user_set_password(name, &hash).await? {
        return Err(unknown(name));
    }
    audit(&mut tx, caller, "user.password", name).await?;
    tx.commit("user.changed").await?;
    Ok(())
}

/// Makes a name that of somebody whom the provider knows. A password of the name is gone then, and its sessions are over.
#[utoipa::path(put, path = "/users/{user}/identity", tag = "users", request_body = KnownAs, security(("bearer" = ["admin"])),
    responses(
        (status = 204, description = "They are one."),
        (status = 409, description = "No provider is set up, or that somebody has another name here."),
    ))]
async fn user_link(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<String>,
    Body(known): Body<KnownAs>,
) -> Result<StatusCode> {
    link(&state, &caller, &name, &known.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Links somebody, for admins.
pub(crate) async fn link(state: &WebState, caller: &Caller, name: &str, subject: &str) -> Result<()> {
    caller.must(Action::Administer)?;
    let Some(openid) = &state.openid else {
        let text = "nobody signs in at a provider here; set `openid.issuer` in the settings first";
        return Err(Problem::new(StatusCode::CONFLICT, text));
    };
    check_name(name)?;
    if subject.is_empty() || subject.len() > 255 || subject.trim() != subject || subject.chars().any(char::is_control) {
        return Err(Problem::invalid("a subject has 1 to 255 characters, without spaces around them"));
    }
    let mut tx = state.store.begin().await?;
    tx.identity_link(name, &openid.issuer, subject).await?;
    audit(&mut tx, caller, "user.linked", &format!("{name}: subject {subject} at {}", openid.issuer)).await?;
    tx.commit("user.linked").await?;
    Ok(())
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no user `{}` with a password here", crate::show::visible(name)))
}

fn described(name: &str, grants: &[Grant]) -> String {
    format!("{name}: {}", grants_text(grants))
}

async fn audit(tx: &mut Tx, caller: &Caller, action: &str, detail: &str) -> Result<()> {
    tx.audit_append(NewAudit { user: &caller.actor.user, action, webhook: None, environment: None, detail }).await?;
    Ok(())
}
