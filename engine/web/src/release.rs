//! `/releases`: what was built, newest first.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, CommitSha, Digest, Release, ReleaseId, RunId, Timestamp, WebhookName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Problem, Query, Result};
use crate::page::{Filling, Limit, Page};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(release_list))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReleaseQuery {
    /// Only of this webhook.
    #[param(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<ReleaseId>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// A release: what was built once and is promoted unchanged.
#[derive(Serialize, ToSchema)]
#[schema(as = Release)]
struct ReleaseView {
    /// `rel-` and 16 hexadecimal digits of its content.
    #[schema(value_type = String)]
    id: ReleaseId,
    #[schema(value_type = String)]
    webhook: WebhookName,
    #[schema(value_type = String)]
    commit: CommitSha,
    /// The image, by digest.
    #[schema(value_type = String)]
    image: Digest,
    /// The run that cut it first.
    #[schema(value_type = String)]
    run: RunId,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
}

impl From<Release> for ReleaseView {
    fn from(release: Release) -> Self {
        let Release { id, webhook, commit, image, run, created_at, .. } = release;
        Self { id, webhook, commit, image, run, created_at }
    }
}

/// What was built, newest first.
#[utoipa::path(get, path = "/releases", tag = "releases", params(ReleaseQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "A page of releases.", body = Page<ReleaseView>)))]
async fn release_list(State(state): State<WebState>, caller: Caller, Query(query): Query<ReleaseQuery>) -> Result<Json<Page<ReleaseView>>> {
    caller.must_for(Action::Read, query.webhook.as_ref())?;
    if let Some(cursor) = &query.cursor
        && state.store.release_fetch(cursor).await?.is_none()
    {
        return Err(Problem::bad_request(format!("the cursor `{cursor}` names no release; begin again without one")));
    }
    let mut page = Filling::new(query.cursor, query.limit, true);
    while let Some((before, limit)) = page.more() {
        let releases = state.store.release_list(query.webhook.as_ref(), before.as_ref(), limit).await?;
        page.add(releases, |release| release.id.clone(), |release| caller.sees(&release.webhook));
    }
    Ok(Json(page.page(ReleaseView::from)))
}
