//! `/webhooks/{webhook}/environments/{environment}/hold`: set with a reason, ended without promoting anything.

use axum::Json;
use axum::extract::State;
use hookwright_core::{EnvironmentName, Hold, ReleaseId, Timestamp, WebhookName};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Path, Result};
use crate::promotion::check_reason;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(hold_set, hold_end))
}

/// An environment that automation leaves alone.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldView {
    #[schema(value_type = String)]
    webhook: WebhookName,
    #[schema(value_type = String)]
    environment: EnvironmentName,
    /// What it was rolled back to; `null` of a hold that somebody set by hand.
    #[schema(value_type = Option<String>)]
    release: Option<ReleaseId>,
    /// Who holds it.
    actor: String,
    /// Why.
    reason: String,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    since: Timestamp,
}

impl From<Hold> for HoldView {
    fn from(Hold { webhook, environment, release, actor, reason, since }: Hold) -> Self {
        Self { webhook, environment, release, actor, reason, since }
    }
}

/// Why an environment is to be held.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewHold {
    /// What everybody reads whose release waits.
    reason: String,
}

type Place = Path<(WebhookName, EnvironmentName)>;

/// Holds an environment: what arrives waits until somebody promotes, or ends the hold.
#[utoipa::path(put, path = "/webhooks/{webhook}/environments/{environment}/hold", tag = "promotions", request_body = NewHold,
    security(("bearer" = ["developer"])), responses(
        (status = 200, description = "The hold.", body = HoldView),
        (status = 409, description = "Somebody holds it already."),
    ))]
async fn hold_set(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Place,
    Body(NewHold { reason }): Body<NewHold>,
) -> Result<Json<HoldView>> {
    check_reason(Some(&reason))?;
    Ok(Json(state.control.hold_set(&caller.actor, &webhook, &environment, reason).await?.into()))
}

/// Ends a hold and promotes nothing: what waits goes on as its other gates say.
#[utoipa::path(delete, path = "/webhooks/{webhook}/environments/{environment}/hold", tag = "promotions",
    security(("bearer" = ["developer"])), responses((status = 204, description = "Nobody holds it any more.")))]
async fn hold_end(State(state): State<WebState>, caller: Caller, Path((webhook, environment)): Place) -> Result<StatusCode> {
    state.control.hold_end(&caller.actor, &webhook, &environment).await?;
    Ok(StatusCode::NO_CONTENT)
}
