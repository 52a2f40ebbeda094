//! `/triggers`: what starts webhooks, where events are received, and how that stands with the source.

use axum::Json;
use axum::extract::State;
use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{Action, EnvironmentName, Subscription, SubscriptionId, Timestamp, TriggerName, TriggerPlace, WebhookName};
use hookwright_store::{LastRefused, Refusals};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Query, Result};
use crate::event::must_exist;
use crate::{WebState, words};

/// What is refused is counted for so long, in milliseconds.
const DAY: i64 = 24 * 3_600_000;

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
    /// What was sent to the address and not taken; `null` when nothing is known of.
    pub(crate) refused: Option<RefusedView>,
}

/// What was sent to a trigger's address and not taken: it was not verified, too large, or no event. No body of it is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusedEvents)]
pub(crate) struct RefusedView {
    /// How many within the last day.
    pub(crate) last_day: u64,
    /// The same by what was answered.
    pub(crate) by_status: Vec<RefusedCount>,
    /// The last one, whenever it was.
    pub(crate) last: LastRefusedView,
}

/// How many were answered with a status.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefusedCount {
    /// The HTTP status: 401 is a missing or wrong signature, 413 too large.
    pub(crate) status: u16,
    pub(crate) count: u64,
}

/// The last thing that was not taken.
#[derive(Serialize, ToSchema)]
#[schema(as = LastRefusedEvent)]
pub(crate) struct LastRefusedView {
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    pub(crate) at: Timestamp,
    /// What was answered.
    pub(crate) status: u16,
    /// Why, as a sentence.
    pub(crate) reason: String,
    /// The address that it came from; only for developers.
    pub(crate) from: Option<String>,
}

impl RefusedView {
    fn new(refusals: Refusals, develops: bool) -> Self {
        let Refusals { counts, last: LastRefused { status, at, reason, from } } = refusals;
        Self {
            last_day: counts.iter().map(|(_, count)| count).sum(),
            by_status: counts.into_iter().map(|(status, count)| RefusedCount { status, count }).collect(),
            last: LastRefusedView { at, status, reason, from: from.filter(|_| develops) },
        }
    }
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
            items.push(view(&state, &caller, subscription).await?);
        }
    }
    Ok(Json(Triggers { items }))
}

/// What a caller is shown of a trigger: address and steps are for developers.
pub(crate) async fn view(state: &WebState, caller: &Caller, subscription: Subscription) -> Result<TriggerView> {
    let waiting = state.store.delivery_open_count(subscription.id).await?;
    let refusals = state.store.refusals_of(subscription.id, Timestamp::from_millis(state.clock.now().as_millis() - DAY)).await?;
    let Subscription { id, place, source, address, status, status_reason, last_event_at, expires_at, .. } = subscription;
    let TriggerPlace { webhook, environment, trigger: name } = place;
    let develops = caller.actor.may(Action::Develop, Some(&webhook), Some(&environment));
    let is_received = develops && status != SubscriptionStatus::Off && source != "schedule";
    let address = is_received.then(|| format!("/hooks/{address}"));
    let url = address.as_ref().filter(|_| !state.public_url.is_empty()).map(|path| format!("{}{path}", state.public_url));
    let told = url.as_ref().or(address.as_ref()).filter(|_| status == SubscriptionStatus::Manual);
    let steps = told.and_then(|address| state.control.event_steps(id, address));
    let refused = refusals.map(|refusals| RefusedView::new(refusals, develops));
    Ok(TriggerView {
        id,
        webhook,
        environment,
        name,
        source,
        address,
        url,
        steps,
        status,
        status_reason,
        last_event_at,
        expires_at,
        waiting,
        refused,
    })
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
