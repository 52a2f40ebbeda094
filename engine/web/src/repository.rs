//! `/repositories`: what is hosted and watched. A credential can be set and removed; it is never shown, only its kind.

use std::fmt;

use axum::Json;
use axum::extract::State;
use hookwright_control::RepositoryWatch;
use hookwright_core::{
    Action, EnvironmentName, RemoteCredential, Repository, RepositoryId, RepositoryKind, RepositoryName, SecretValue, Timestamp,
    WebhookName,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::page::{Filling, Limit, Page};
use crate::{WebState, words};

/// Who a token belongs to when nobody says; forges take any name with a token.
const USERNAME: &str = "git";

/// Longest user name, and longest password or key, in bytes.
const USERNAME_LIMIT: usize = 256;
const VALUE_LIMIT: usize = 64 << 10;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new()
        .routes(routes!(repository_list, repository_add))
        .routes(routes!(repository_remove))
        .routes(routes!(repository_default_branch_set))
        .routes(routes!(repository_credential_set, repository_credential_remove))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RepositoryQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<RepositoryName>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// A repository to host or watch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRepository {
    /// A DNS label.
    #[schema(value_type = String)]
    name: RepositoryName,
    /// `https://`, `ssh://` or, for admins, `file://`; left out for one that is hosted here.
    url: Option<String>,
    /// What opens it, when it is private.
    credential: Option<NewCredential>,
}

/// A password with or without user name, or an ssh key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCredential {
    /// Whose password it is; forges take any name with a token.
    username: Option<String>,
    /// A password or token.
    #[schema(value_type = Option<String>)]
    password: Option<Hidden>,
    /// A private key without passphrase, as `ssh-keygen` writes it.
    #[schema(value_type = Option<String>)]
    ssh_key: Option<Hidden>,
}

/// A text whose value is in no error.
struct Hidden(SecretValue);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Hidden;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Hidden, E> {
                Ok(Hidden(SecretValue::new(text)))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl NewCredential {
    fn check(self) -> Result<RemoteCredential> {
        let credential = match self {
            Self { username, password: Some(Hidden(password)), ssh_key: None } => {
                RemoteCredential::Password { username: username.unwrap_or_else(|| USERNAME.to_owned()), password }
            }
            Self { username: None, password: None, ssh_key: Some(Hidden(key)) } => RemoteCredential::SshKey(key),
            _ => return Err(no_credential()),
        };
        check_credential(&credential)?;
        Ok(credential)
    }
}

fn no_credential() -> Problem {
    Problem::invalid(format!("a credential is `password` with or without `username`, or `ssh_key`, of 1 to {VALUE_LIMIT} bytes"))
}

/// Refuses a credential that cannot be one.
pub(crate) fn check_credential(credential: &RemoteCredential) -> Result<()> {
    let (RemoteCredential::Password { password: value, .. } | RemoteCredential::SshKey(value)) = credential;
    if !(1..=VALUE_LIMIT).contains(&value.expose().len()) || value.expose().contains('\0') {
        return Err(no_credential());
    }
    match credential {
        RemoteCredential::Password { username, .. } if username.len() > USERNAME_LIMIT => {
            Err(Problem::invalid(format!("a user name has at most {USERNAME_LIMIT} bytes")))
        }
        _ => Ok(()),
    }
}

/// How the forge of a watched repository tells the daemon of what happens in it.
#[derive(Serialize, ToSchema)]
#[schema(as = RepositoryHook)]
struct HookView {
    /// The forge, as an event source.
    source: String,
    #[schema(value_type = words::HookWord)]
    status: &'static str,
    /// Why, and what to do.
    status_reason: Option<String>,
    /// When the last verified event came, in milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    last_event_at: Option<Timestamp>,
    /// Whether it is relied on: then the refs are read at `git.hooked_interval`.
    alive: bool,
}

impl From<RepositoryWatch> for HookView {
    fn from(watch: RepositoryWatch) -> Self {
        let RepositoryWatch { source, state, reason, heard_at, is_alive } = watch;
        Self { source, status: state.as_str(), status_reason: reason, last_event_at: heard_at, alive: is_alive }
    }
}

/// A repository that is hosted or watched.
#[derive(Serialize, ToSchema)]
#[schema(as = Repository)]
struct RepositoryView {
    #[schema(value_type = String)]
    id: RepositoryId,
    #[schema(value_type = String)]
    name: RepositoryName,
    /// Where it is watched; `null` when it is hosted here.
    url: Option<String>,
    /// The kind of its credential: `password` or `ssh_key`; `null` without one.
    credential: Option<String>,
    /// `null` until something was pushed.
    default_branch: Option<String>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    /// When its refs were last read.
    #[schema(value_type = Option<i64>)]
    polled_at: Option<Timestamp>,
    /// What went wrong then.
    poll_error: Option<String>,
    /// `null` for what is hosted here, and for a remote on no forge that is known.
    hook: Option<HookView>,
}

impl RepositoryView {
    fn new(repository: Repository, credential: Option<String>, watch: Option<RepositoryWatch>) -> Self {
        let Repository { id, name, kind, default_branch, created_at, polled_at, poll_error, pull_requests_known: _ } = repository;
        let url = match kind {
            RepositoryKind::Hosted => None,
            RepositoryKind::Remote { url } => Some(url),
        };
        Self { id, name, url, credential, default_branch, created_at, polled_at, poll_error, hook: watch.map(HookView::from) }
    }
}

/// Repositories by name, those whose webhook the caller reads.
#[utoipa::path(get, path = "/repositories", tag = "repositories", params(RepositoryQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "A page of repositories.", body = Page<RepositoryView>)))]
async fn repository_list(
    State(state): State<WebState>,
    caller: Caller,
    Query(query): Query<RepositoryQuery>,
) -> Result<Json<Page<RepositoryView>>> {
    caller.must(Action::Read)?;
    // A grant for a webhook is one for the repository of that name, as for git.
    let sees = |repository: &Repository| WebhookName::new(repository.name.as_str()).is_ok_and(|webhook| caller.sees(&webhook));
    let mut page = Filling::new(query.cursor, query.limit, false);
    while let Some((after, limit)) = page.more() {
        page.add(state.store.repository_page(after.as_ref(), limit).await?, |repository| repository.name.clone(), sees);
    }
    let kinds = state.store.remote_credential_kinds().await?;
    let watches = state.control.repository_watches().await?;
    Ok(Json(page.page(|repository| {
        let (credential, watch) = (kinds.get(&repository.id).cloned(), watches.of(&repository));
        RepositoryView::new(repository, credential, watch)
    })))
}

/// Hosts or watches a repository. The same one again is no mistake.
#[utoipa::path(post, path = "/repositories", tag = "repositories", request_body = NewRepository, security(("bearer" = ["developer"])),
    responses(
        (status = 200, description = "It was there already, with this address.", body = RepositoryView),
        (status = 201, description = "It is new.", body = RepositoryView),
        (status = 409, description = "The name belongs to a repository with another address."),
    ))]
async fn repository_add(
    State(state): State<WebState>,
    caller: Caller,
    Body(new): Body<NewRepository>,
) -> Result<(StatusCode, Json<RepositoryView>)> {
    let kind = new.url.map_or(RepositoryKind::Hosted, |url| RepositoryKind::Remote { url });
    let credential = new.credential.map(NewCredential::check).transpose()?;
    let (repository, is_new) = state.control.repository_add(&caller.actor, &new.name, &kind, credential.as_ref()).await?;
    let credential = state.store.remote_credential_kinds().await?.get(&repository.id).cloned();
    let watch = state.control.repository_watches().await?.of(&repository);
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(RepositoryView::new(repository, credential, watch))))
}

/// What stays of a repository that was forgotten: its webhooks keep their names, and what is live of them runs on.
#[derive(Serialize, ToSchema)]
#[schema(as = ForgottenRepository)]
struct ForgottenView {
    webhooks: Vec<LeftView>,
}

/// A webhook whose repository was forgotten.
#[derive(Serialize, ToSchema)]
#[schema(as = LeftWebhook)]
struct LeftView {
    #[schema(value_type = String)]
    name: WebhookName,
    /// Where something of it is live.
    #[schema(value_type = Vec<String>)]
    environments: Vec<EnvironmentName>,
}

/// Forgets a repository. What it deployed stays until it is undeployed, and its webhooks keep their names until they are removed.
#[utoipa::path(delete, path = "/repositories/{repository}", tag = "repositories", security(("bearer" = ["admin"])),
    responses((status = 200, description = "It is forgotten; this is what stays.", body = ForgottenView)))]
async fn repository_remove(State(state): State<WebState>, caller: Caller, Path(name): Path<RepositoryName>) -> Result<Json<ForgottenView>> {
    let repository = state.control.repository_remove(&caller.actor, &name).await?;
    let mut webhooks = Vec::new();
    for record in state.store.webhook_list_of(&repository).await? {
        let live = state.store.deployment_list_live(&record.name).await?;
        webhooks.push(LeftView { name: record.name, environments: live.into_iter().map(|live| live.environment).collect() });
    }
    Ok(Json(ForgottenView { webhooks }))
}

/// A branch of a hosted repository.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DefaultBranch {
    /// Its name, without `refs/heads/`.
    branch: String,
}

/// What came of another default branch.
#[derive(Serialize, ToSchema)]
#[schema(as = DefaultBranchNews)]
struct DefaultBranchView {
    default_branch: String,
    /// Of each webhook in it, in a sentence: the run that began, or why nothing is built.
    news: Vec<String>,
}

/// Makes another branch of a hosted repository its default branch: the one that clones check out, whose spec decides gates, and that is deployed.
/// Its tip is built as if it had just been pushed. The default branch of a watched remote is what `HEAD` names there.
#[utoipa::path(put, path = "/repositories/{repository}/default-branch", tag = "repositories", request_body = DefaultBranch,
    security(("bearer" = ["admin"])), responses(
        (status = 200, description = "It is the default branch from now on.", body = DefaultBranchView),
        (status = 409, description = "Nothing was pushed yet."),
        (status = 422, description = "There is no such branch, or the repository is watched elsewhere."),
    ))]
async fn repository_default_branch_set(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<RepositoryName>,
    Body(DefaultBranch { branch }): Body<DefaultBranch>,
) -> Result<Json<DefaultBranchView>> {
    let news = state.control.repository_default_branch_set(&caller.actor, &name, &branch).await?;
    Ok(Json(DefaultBranchView { default_branch: branch, news: news.into_iter().map(|one| one.text).collect() }))
}

/// Gives a watched remote another credential. It is tried out first; the one before stays when it does not work.
#[utoipa::path(put, path = "/repositories/{repository}/credential", tag = "repositories", request_body = NewCredential,
    security(("bearer" = ["developer"])), responses((status = 204, description = "The repository is read with it from now on.")))]
async fn repository_credential_set(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<RepositoryName>,
    Body(new): Body<NewCredential>,
) -> Result<StatusCode> {
    state.control.repository_credential_set(&caller.actor, &name, &new.check()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the credential of a watched remote.
#[utoipa::path(delete, path = "/repositories/{repository}/credential", tag = "repositories", security(("bearer" = ["developer"])),
    responses((status = 204, description = "It is removed.")))]
async fn repository_credential_remove(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<RepositoryName>,
) -> Result<StatusCode> {
    state.control.repository_credential_remove(&caller.actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
