//! Taking webhooks out of service: `/webhooks/{webhook}/environments/{environment}/undeploy`, and `DELETE /webhooks/{webhook}`.

use axum::Json;
use axum::extract::State;
use hookwright_control::{RemovedWebhook, Undeployed};
use hookwright_core::{EnvironmentName, ReleaseId, RepositoryName, WebhookName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Path, Result};
use crate::promotion::check_reason;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(undeploy)).routes(routes!(webhook_remove))
}

/// Why something is undeployed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Undeploy {
    /// Kept in the history.
    reason: Option<String>,
}

/// What was taken out of service.
#[derive(Serialize, ToSchema)]
#[schema(as = Undeployed)]
struct UndeployedView {
    /// What was live, or on its way to be.
    #[schema(value_type = Vec<String>)]
    releases: Vec<ReleaseId>,
    /// How many promotions were canceled.
    promotions_canceled: usize,
    /// Whether a hold was ended.
    hold_ended: bool,
}

impl From<Undeployed> for UndeployedView {
    fn from(Undeployed { deployments, promotions, was_held }: Undeployed) -> Self {
        let releases = deployments.into_iter().map(|deployment| deployment.release).collect();
        Self { releases, promotions_canceled: promotions, hold_ended: was_held }
    }
}

/// What was done when a webhook was removed.
#[derive(Serialize, ToSchema)]
#[schema(as = RemovedWebhook)]
struct RemovedView {
    /// Where it was undeployed.
    #[schema(value_type = Vec<String>)]
    environments: Vec<EnvironmentName>,
    /// How many runs are being stopped.
    runs_stopped: u64,
    promotions_canceled: usize,
    secrets_deleted: u64,
    /// How many events were still to be delivered.
    deliveries_canceled: u64,
    /// The repository whose next push brings it back while `file` is there; `null` when it was removed before.
    #[schema(value_type = Option<String>)]
    repository: Option<RepositoryName>,
    /// The path of its `webhook.yaml`.
    file: String,
}

impl From<RemovedWebhook> for RemovedView {
    fn from(removed: RemovedWebhook) -> Self {
        let RemovedWebhook { environments, runs, promotions, secrets, deliveries, repository, file } = removed;
        Self {
            environments,
            runs_stopped: runs,
            promotions_canceled: promotions,
            secrets_deleted: secrets,
            deliveries_canceled: deliveries,
            repository,
            file,
        }
    }
}

/// Takes what is live in an environment out of service, cancels what is on its way there, and ends a hold.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/undeploy", tag = "promotions", request_body = Undeploy,
    security(("bearer" = ["developer"])), responses((status = 200, description = "What was taken out of service.", body = UndeployedView)))]
async fn undeploy(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
    Body(Undeploy { reason }): Body<Undeploy>,
) -> Result<Json<UndeployedView>> {
    check_reason(reason.as_deref())?;
    Ok(Json(state.control.undeploy(&caller.actor, &webhook, &environment, reason.as_deref()).await?.into()))
}

/// Removes a webhook: its runs stop, it is undeployed everywhere, its secrets, releases and approvals are deleted, and its name is free. Runs,
/// events and the audit log stay.
#[utoipa::path(delete, path = "/webhooks/{webhook}", tag = "webhooks", security(("bearer" = ["admin"])),
    responses((status = 200, description = "What was done.", body = RemovedView)))]
async fn webhook_remove(State(state): State<WebState>, caller: Caller, Path(name): Path<WebhookName>) -> Result<Json<RemovedView>> {
    Ok(Json(state.control.webhook_remove(&caller.actor, &name).await?.into()))
}
