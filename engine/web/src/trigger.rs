//! `/triggers`: what starts webhooks, where events are received, and how that stands with the source.

use axum::Json;
use axum::extract::State;
use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{Action, EnvironmentName, Subscription, SubscriptionId, Timestamp, TriggerName, TriggerPlace, WebhookName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Query, Result};
use crate::event::must_exist;
use crate::{WebState, words};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(trigger_list)).routes(routes!(trigger_sample))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TriggerQuery {
    /// Only of this webhook.
    #[param(value_type = Option<String>)]
    webhook: Option<WebhookName>,
}

/// A trigger in an environment.
#[derive(Serialize, ToSchema)]
#[schema(as = Trigger)]
pub(crate) struct TriggerView {
    #[schema(value_type = String)]
    pub(crate) id: SubscriptionId,
    #[schema(value_type = String)]
    pub(crate) webhook: WebhookName,
    #[schema(value_type = String)]
    pub(crate) environment: EnvironmentName,
    #[schema(value_type = String)]
    pub(crate) name: TriggerName,
    /// The event source.
    pub(crate) source: String,
    /// The path at which events are received; only for developers, because it is half of what a sender needs.
    pub(crate) address: Option<String>,
    /// The whole address, where the daemon knows under which one the outside reaches it (`public_url`).
    pub(crate) url: Option<String>,
    /// What is to be done at the source, as long as that is up to a person; only for developers.
    pub(crate) steps: Option<String>,
    #[schema(value_type = words::SubscriptionState)]
    pub(crate) status: SubscriptionStatus,
    /// Why, and what to do, as a sentence.
    pub(crate) status_reason: Option<String>,
    /// When the last event came, in milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    pub(crate) last_event_at: Option<Timestamp>,
    /// When it ends at the source unless it is renewed.
    #[schema(value_type = Option<i64>)]
    pub(crate) expires_at: Option<Timestamp>,
    /// Deliveries that wait to be made.
    pub(crate) waiting: u64,
}

/// A list that has one page.
#[derive(Serialize, ToSchema)]
struct Triggers {
    items: Vec<TriggerView>,
}

/// Triggers of what is deployed, by webhook, environment and name.
#[utoipa::path(get, path = "/triggers", tag = "events", params(TriggerQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The triggers.", body = Triggers), (status = 404, description = "There is no such webhook.")))]
async fn trigger_list(State(state): State<WebState>, caller: Caller, Query(query): Query<TriggerQuery>) -> Result<Json<Triggers>> {
    let known = match &query.webhook {
        Some(webhook) => {
            caller.must_for(Action::Read, Some(webhook))?;
            must_exist(&state, webhook).await?;
            state.store.subscription_list(webhook, None).await?
        }
        None => state.store.subscription_list_all().await?,
    };
    let mut items = Vec::new();
    for subscription in known {
        if caller.sees_in(&subscription.place.webhook, &subscription.place.environment) {
            let waiting = state.store.delivery_open_count(subscription.id).await?;
            items.push(view(&state, &caller, (subscription, waiting)));
        }
    }
    Ok(Json(Triggers { items }))
}

/// What a caller is shown of a trigger: address and steps are for developers.
pub(crate) fn view(state: &WebState, caller: &Caller, (subscription, waiting): (Subscription, u64)) -> TriggerView {
    let Subscription { id, place, source, address, status, status_reason, last_event_at, expires_at, .. } = subscription;
    let TriggerPlace { webhook, environment, trigger: name } = place;
    let develops = caller.actor.may(Action::Develop, Some(&webhook), Some(&environment));
    let is_received = develops && status != SubscriptionStatus::Off && source != "schedule";
    let address = is_received.then(|| format!("/hooks/{address}"));
    let url = address.as_ref().filter(|_| !state.public_url.is_empty()).map(|path| format!("{}{path}", state.public_url));
    let told = url.as_ref().or(address.as_ref()).filter(|_| status == SubscriptionStatus::Manual);
    let steps = told.and_then(|address| state.control.event_steps(id, address));
    TriggerView { id, webhook, environment, name, source, address, url, steps, status, status_reason, last_event_at, expires_at, waiting }
}

/// Which example is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SampleWish {
    /// The type of the event; the source's first one when left out.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Fields to put in: the path with dots, and the value as JSON or as plain text.
    #[serde(default)]
    set: std::collections::BTreeMap<String, String>,
}

/// An event as its source would send it.
#[derive(Serialize, ToSchema)]
#[schema(as = SampleEvent)]
struct SampleView {
    /// Where it is to be sent, by POST.
    path: String,
    /// Its headers, the signature among them.
    headers: std::collections::BTreeMap<String, String>,
    body: String,
}

/// An example event, signed with the trigger's secret. Nothing is sent: whoever asked sends it to `path`.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/triggers/{trigger}/sample", tag = "events", request_body = SampleWish,
    security(("bearer" = ["developer"])),
    responses((status = 200, description = "The event.", body = SampleView), (status = 409, description = "The trigger is not deployed there.")))]
async fn trigger_sample(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment, trigger)): Path<(WebhookName, EnvironmentName, TriggerName)>,
    Body(wish): Body<SampleWish>,
) -> Result<Json<SampleView>> {
    let place = TriggerPlace { webhook, environment, trigger };
    let sets: Vec<(String, String)> = wish.set.into_iter().collect();
    let sample = state.control.event_sample(&caller.actor, &place, (wish.kind.as_deref(), &sets)).await?;
    Ok(Json(SampleView { path: sample.path, headers: sample.headers.into_iter().collect(), body: sample.body }))
}
