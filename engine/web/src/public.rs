//! What anybody may know of webhooks that an admin made public: whether each environment works, and how many requests went well. Nothing
//! else of the daemon is in it. It is read at most every few seconds, however many ask.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Action, EnvironmentName, Timestamp, WebhookName};
use hookwright_store::NewAudit;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Result};
use crate::pages::board::health;
use crate::show::{Badge, Moment, visible};

/// How long what was read is good.
const FRESH: Duration = Duration::from_secs(5);
/// The requests of so many days are told.
const DAYS: i64 = 30;
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A webhook that anybody may see.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PublicWebhook {
    #[serde(skip)]
    pub(crate) name: WebhookName,
    pub(crate) title: String,
    pub(crate) places: Vec<PublicPlace>,
}

/// How it is in an environment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PublicPlace {
    pub(crate) environment: String,
    pub(crate) badge: Badge,
    /// Since when this release is live.
    pub(crate) since: Option<Moment>,
    /// Of the requests of the last days: `99.97 %`; `None` without requests.
    pub(crate) well: Option<String>,
}

/// What was read, and when on the monotonic clock.
type Read = Option<(Duration, Arc<Vec<PublicWebhook>>)>;

/// What anybody may know, as it was read a moment ago.
#[derive(Default)]
pub(crate) struct PublicStatus {
    read: Mutex<Read>,
}

impl PublicStatus {
    /// All public webhooks by name.
    pub(crate) async fn all(&self, state: &WebState) -> Result<Arc<Vec<PublicWebhook>>> {
        let now = state.clock.monotonic();
        let mut read = self.read.lock().await;
        if let Some((at, known)) = read.as_ref()
            && now < *at + FRESH
        {
            return Ok(Arc::clone(known));
        }
        let mut found = Vec::new();
        for name in state.store.webhook_list_public().await? {
            found.push(webhook(state, name).await?);
        }
        let found = Arc::new(found);
        *read = Some((now, Arc::clone(&found)));
        Ok(found)
    }

    /// Has the next look read again: somebody changed what is public.
    async fn forget(&self) {
        *self.read.lock().await = None;
    }
}

async fn webhook(state: &WebState, name: WebhookName) -> Result<PublicWebhook> {
    let spec = crate::pages::webhook::spec_of(state, &name).await?;
    let now = state.clock.now();
    let since = Timestamp::from_millis(now.as_millis() - DAYS * DAY);
    let mut places = Vec::new();
    for environment in spec.iter().flat_map(|spec| &spec.environments).map(|environment| &environment.name) {
        let Some(deployment) = state.store.deployment_current(&name, environment).await? else { continue };
        if deployment.status != DeploymentStatus::Live {
            continue;
        }
        let badge = match health(state, &deployment).await?.0.tone {
            "good" => Badge::new("good", "check", "operational"),
            "warn" => Badge::new("warn", "alert", "degraded"),
            _ => Badge::new("bad", "cross", "down"),
        };
        let (all, wrong) = state.store.traffic_sum((&name, environment), since).await?;
        let since = deployment.live_at.map(|at| Moment::new(at, now));
        places.push(PublicPlace { environment: environment.to_string(), badge, since, well: well(all, wrong) });
    }
    let title = spec.and_then(|spec| spec.title).map_or_else(|| name.to_string(), |title| visible(&title));
    Ok(PublicWebhook { name, title, places })
}

/// The share of requests that went well, rounded down: one error in a million is not 100 %.
fn well(all: u64, wrong: u64) -> Option<String> {
    let hundredths = (all.checked_sub(wrong)? * 10_000).checked_div(all)?;
    Some(format!("{}.{:02} %", hundredths / 100, hundredths % 100))
}

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(public_status_set))
}

/// Whether anybody may see a webhook's status.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PublicStatusWish {
    public: bool,
}

/// Makes the status of a webhook public at `/status`, or hides it again.
#[utoipa::path(put, path = "/webhooks/{webhook}/public-status", tag = "webhooks", request_body = PublicStatusWish,
    security(("bearer" = ["admin"])), responses((status = 204, description = "It is as wished.")))]
async fn public_status_set(
    State(state): State<WebState>,
    caller: Caller,
    Path(webhook): Path<WebhookName>,
    Body(wish): Body<PublicStatusWish>,
) -> Result<StatusCode> {
    set(&state, &caller, &webhook, wish.public).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the status of a webhook public or hides it, for its admins.
pub(crate) async fn set(state: &WebState, caller: &Caller, webhook: &WebhookName, public: bool) -> Result<()> {
    caller.must_for(Action::Administer, Some(webhook))?;
    let mut tx = state.store.begin().await?;
    if !tx.webhook_set_public(webhook, public).await? {
        return Err(Problem::not_found(format!("there is no webhook `{webhook}`")));
    }
    let action = if public { "status.published" } else { "status.hidden" };
    let entry = NewAudit { user: &caller.actor.user, action, webhook: Some(webhook), environment: None, detail: "" };
    tx.audit_append(entry).await?;
    tx.commit("webhook.changed").await?;
    state.public.forget().await;
    Ok(())
}

/// The place of that name, when its webhook is public.
pub(crate) async fn place(state: &WebState, webhook: &str, environment: &EnvironmentName) -> Result<Option<PublicPlace>> {
    let all = state.public.all(state).await?;
    let known = all.iter().find(|known| known.name.as_str() == webhook);
    Ok(known.and_then(|known| known.places.iter().find(|place| place.environment == environment.as_str())).cloned())
}

#[cfg(test)]
mod tests {
    use super::well;

    #[test]
    fn only_without_an_error_everything_went_well() {
        assert_eq!(well(0, 0), None);
        assert_eq!(well(1_000_000, 0).as_deref(), Some("100.00 %"));
        assert_eq!(well(1_000_000, 1).as_deref(), Some("99.99 %"));
        assert_eq!(well(2, 1).as_deref(), Some("50.00 %"));
    }
}
