//! `/repositories`: what is hosted and watched.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, Repository, RepositoryId, RepositoryKind, RepositoryName, Timestamp, WebhookName};
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

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(repository_list, repository_add)).routes(routes!(repository_remove))
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
}

impl From<Repository> for RepositoryView {
    fn from(repository: Repository) -> Self {
        let Repository { id, name, kind, default_branch, created_at, polled_at, poll_error } = repository;
        let url = match kind {
            RepositoryKind::Hosted => None,
            RepositoryKind::Remote { url } => Some(url),
        };
        Self { id, name, url, default_branch, created_at, polled_at, poll_error }
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
    Ok(Json(page.page(RepositoryView::from)))
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
    let (repository, is_new) = state.control.repository_add(&caller.actor, &new.name, &kind).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(repository.into())))
}

/// Forgets a repository. What it deployed stays.
#[utoipa::path(delete, path = "/repositories/{repository}", tag = "repositories", security(("bearer" = ["admin"])),
    responses((status = 204, description = "It is forgotten.")))]
async fn repository_remove(State(state): State<WebState>, caller: Caller, Path(name): Path<RepositoryName>) -> Result<StatusCode> {
    caller.must(Action::Administer)?;
    let missing = || Problem::not_found(format!("there is no repository `{name}`"));
    let repository = state.store.repository_fetch_by_name(&name).await?.ok_or_else(missing)?;
    let mut tx = state.store.begin().await?;
    if !tx.repository_delete(&repository.id).await? {
        return Err(missing());
    }
    let (user, action) = (caller.actor.user.as_str(), "repository.removed");
    tx.audit_append(NewAudit { user, action, webhook: None, environment: None, detail: name.as_str() }).await?;
    tx.commit("repository.deleted").await?;
    Ok(StatusCode::NO_CONTENT)
}
