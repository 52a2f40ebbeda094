//! `/events`: what was received, what was delivered of it, and delivering it again.

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookwright_core::status::DeliveryStatus;
use hookwright_core::{
    Action, Attempt, Delivery, DeliveryId, EnvironmentName, Event, EventId, FieldPath, Timestamp, TriggerName, TriggerPlace, WebhookName,
};
use hookwright_store::DeliveryFilter;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::page::{Filling, Limit, Page};
use crate::{WebState, words};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new()
        .routes(routes!(event_list))
        .routes(routes!(event_show))
        .routes(routes!(event_replay))
        .routes(routes!(event_replay_all))
        .routes(routes!(delivery_cancel))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// Only of this webhook.
    #[param(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    /// Only of this environment.
    #[param(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// Only of this trigger.
    #[param(value_type = Option<String>)]
    trigger: Option<TriggerName>,
    /// Only of this type; `issues.*` is every type below `issues`.
    r#type: Option<String>,
    /// Only in this status.
    #[param(value_type = Option<words::DeliveryState>)]
    status: Option<DeliveryStatus>,
    /// Only accepted at this time or later, in milliseconds since 1970.
    #[param(value_type = Option<i64>)]
    since: Option<Timestamp>,
    /// Only accepted before this time, in milliseconds since 1970.
    #[param(value_type = Option<i64>)]
    until: Option<Timestamp>,
    /// Only events whose payload has this: `issue.number=7`, the path with dots, compared with the field as text.
    payload: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<u64>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// An event on its way to a handler. A replay is one of its own.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryView {
    #[schema(value_type = String)]
    id: DeliveryId,
    #[schema(value_type = String)]
    event: EventId,
    #[schema(value_type = String)]
    webhook: WebhookName,
    #[schema(value_type = String)]
    environment: EnvironmentName,
    #[schema(value_type = String)]
    trigger: TriggerName,
    /// The event's type in the words of its source.
    r#type: String,
    #[schema(value_type = words::DeliveryState)]
    status: DeliveryStatus,
    /// Why, as a sentence.
    status_reason: Option<String>,
    /// Attempts that have ended.
    attempts: u32,
    /// Whether someone asked for it again.
    replay: bool,
    /// What its order is kept by.
    order_key: Option<String>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    /// When the next attempt may be made; `null` once it has ended.
    #[schema(value_type = Option<i64>)]
    due_at: Option<Timestamp>,
    #[schema(value_type = Option<i64>)]
    ended_at: Option<Timestamp>,
    /// What whoever asked for a replay is to know; said in the answer to that alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let Delivery { id, event, place, kind, status, status_reason, attempts, replay, order_key, created_at, due_at, ended_at, .. } =
            delivery;
        let TriggerPlace { webhook, environment, trigger } = place;
        let due_at = (!status.is_end()).then_some(due_at);
        Self {
            id,
            event,
            webhook,
            environment,
            trigger,
            r#type: kind,
            status,
            status_reason,
            attempts,
            replay,
            order_key,
            created_at,
            due_at,
            ended_at,
            note: None,
        }
    }
}

/// A header of a request or an answer.
#[derive(Serialize, ToSchema)]
struct Header {
    name: String,
    value: String,
}

fn headers(list: Vec<(String, String)>) -> Vec<Header> {
    list.into_iter().map(|(name, value)| Header { value: shown_value(&name, value), name }).collect()
}

/// Headers whose values open something, wherever they come from. The trigger's own secret is not stored to begin with.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// The value of a header as anybody is shown it.
pub(crate) fn shown_value(name: &str, value: String) -> String {
    let opens = CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential));
    if opens { "[hidden]".to_owned() } else { value }
}

/// One try to give an event to a handler.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptView {
    /// From 1 on.
    number: u32,
    #[schema(value_type = i64)]
    started_at: Timestamp,
    duration_ms: u64,
    /// The HTTP status of the answer; `null` without one.
    status: Option<u16>,
    /// Why there is no answer.
    error: Option<String>,
    headers: Vec<Header>,
    /// The beginning of the answer's body.
    body: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let Attempt { number, started_at, duration_ms, answer, error, .. } = attempt;
        let status = answer.as_ref().map(|answer| answer.status);
        let (list, body) = answer.map(|answer| (headers(answer.headers), Some(answer.body))).unwrap_or_default();
        Self { number, started_at, duration_ms, status, error, headers: list, body }
    }
}

/// A delivery with its attempts.
#[derive(Serialize, ToSchema)]
struct DeliveryWithAttempts {
    delivery: DeliveryView,
    attempts: Vec<AttemptView>,
}

/// An event as it was received, and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct EventView {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    webhook: WebhookName,
    #[schema(value_type = String)]
    environment: EnvironmentName,
    #[schema(value_type = String)]
    trigger: TriggerName,
    source: String,
    r#type: String,
    /// What the source calls it.
    source_id: Option<String>,
    /// Whether its signature or token was checked.
    verified: bool,
    #[schema(value_type = i64)]
    received_at: Timestamp,
    headers: Vec<Header>,
    /// The body as text, without what its trigger redacts; `null` when it is none.
    body: Option<String>,
    /// The fields that nobody is shown.
    #[schema(value_type = Vec<String>)]
    redact: Vec<FieldPath>,
    /// Whether the stored body has lost them, so that a replay is sent without them.
    redacted: bool,
    /// The body in base64 when it is no text.
    body_base64: Option<String>,
    deliveries: Vec<DeliveryWithAttempts>,
}

/// Deliveries, the newest first.
#[utoipa::path(get, path = "/events", tag = "events", params(EventQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "A page of deliveries.", body = Page<DeliveryView>), (status = 404, description = "There is no such webhook.")))]
async fn event_list(State(state): State<WebState>, caller: Caller, Query(query): Query<EventQuery>) -> Result<Json<Page<DeliveryView>>> {
    if let Some(webhook) = &query.webhook {
        caller.must_for(Action::Read, Some(webhook))?;
        must_exist(&state, webhook).await?;
    }
    let sought = Sought { field: query.payload.as_deref().map(PayloadField::read).transpose()?, text: String::new() };
    let filter = DeliveryFilter {
        webhook: query.webhook,
        environment: query.environment,
        trigger: query.trigger.map(|trigger| trigger.to_string()),
        kind: query.r#type,
        status: query.status,
        since: query.since,
        until: query.until,
    };
    let page = find_page(&state, &caller, (&filter, &sought), Filling::new(query.cursor, query.limit, true)).await?;
    Ok(Json(page.page(DeliveryView::from)))
}

/// A name that was mistyped is said; an empty list would look like a webhook without events.
pub(crate) async fn must_exist(state: &WebState, webhook: &WebhookName) -> Result<()> {
    let known = state.store.webhook_fetch(webhook).await?;
    known.map(drop).ok_or_else(|| Problem::not_found(format!("there is no webhook `{webhook}`")))
}

/// Fills a page with the deliveries that the caller sees, newest first.
pub(crate) async fn find_page(
    state: &WebState,
    caller: &Caller,
    (filter, sought): (&DeliveryFilter, &Sought),
    mut page: Filling<Delivery, u64>,
) -> Result<Filling<Delivery, u64>> {
    while let Some((before, many)) = page.more() {
        let rows = state.store.delivery_list(filter, before, many).await?;
        let mut kept = std::collections::HashSet::new();
        if !sought.is_anything() {
            for delivery in rows.iter().filter(|delivery| caller.sees_in(&delivery.place.webhook, &delivery.place.environment)) {
                if state.store.event_fetch(delivery.event).await?.is_some_and(|event| sought.is_in(&event)) {
                    kept.insert(delivery.id);
                }
            }
        }
        let sees = |delivery: &Delivery| {
            caller.sees_in(&delivery.place.webhook, &delivery.place.environment) && (sought.is_anything() || kept.contains(&delivery.id))
        };
        page.add(rows, |delivery| delivery.sequence, sees);
    }
    Ok(page)
}

/// What an event is to have in its body.
#[derive(Default)]
pub(crate) struct Sought {
    pub(crate) field: Option<PayloadField>,
    /// Anywhere in the body, whatever the case; empty is anything.
    pub(crate) text: String,
}

impl Sought {
    pub(crate) fn is_anything(&self) -> bool {
        self.field.is_none() && self.text.is_empty()
    }

    /// Whether an event has it.
    pub(crate) fn is_in(&self, event: &Event) -> bool {
        let has_text = || String::from_utf8_lossy(&event.body).to_lowercase().contains(&self.text.to_lowercase());
        self.field.as_ref().is_none_or(|field| field.is_in(event)) && (self.text.is_empty() || has_text())
    }
}

/// A field of a payload and the text that it is to have.
pub(crate) struct PayloadField {
    path: Vec<String>,
    text: String,
}

impl PayloadField {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let (path, text) = text.split_once('=').ok_or_else(|| Problem::bad_request("write the payload's field as `issue.number=7`"))?;
        Ok(Self { path: path.split('.').map(str::to_owned).collect(), text: text.to_owned() })
    }

    fn is_in(&self, event: &Event) -> bool {
        let Ok(payload) = serde_json::from_slice::<serde_json::Value>(&event.body) else { return false };
        let mut at = Some(&payload);
        for part in &self.path {
            at = at.and_then(|value| match value {
                serde_json::Value::Array(list) => part.parse::<usize>().ok().and_then(|place| list.get(place)),
                value => value.get(part),
            });
        }
        at.is_some_and(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned) == self.text)
    }
}

/// An event with its deliveries and their attempts.
#[utoipa::path(get, path = "/events/{event}", tag = "events", security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The event.", body = EventView), (status = 404, description = "There is none.")))]
async fn event_show(State(state): State<WebState>, caller: Caller, Path(id): Path<EventId>) -> Result<Json<EventView>> {
    let event = find(&state, &caller, id).await?;
    let mut deliveries = Vec::new();
    for delivery in state.store.delivery_list_of_event(id).await? {
        if caller.sees_in(&delivery.place.webhook, &delivery.place.environment) {
            let attempts = state.store.attempt_list(delivery.id).await?.into_iter().map(AttemptView::from).collect();
            deliveries.push(DeliveryWithAttempts { delivery: delivery.into(), attempts });
        }
    }
    let Event { id, place, source, kind, source_id, verified, received_at, headers: list, body, redact, redacted, .. } = event;
    let TriggerPlace { webhook, environment, trigger } = place;
    let text = String::from_utf8(body.to_vec()).ok();
    let body_base64 = text.is_none().then(|| STANDARD.encode(&body));
    Ok(Json(EventView {
        id,
        webhook,
        environment,
        trigger,
        source,
        r#type: kind,
        source_id,
        verified,
        received_at,
        headers: headers(list),
        body: text,
        redact,
        redacted,
        body_base64,
        deliveries,
    }))
}

/// An event that the caller sees.
pub(crate) async fn find(state: &WebState, caller: &Caller, id: EventId) -> Result<Event> {
    let event = state.store.event_fetch(id).await?.filter(|event| caller.sees_in(&event.place.webhook, &event.place.environment));
    event.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no event {id}")))
}

/// Where a replay goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplayWish {
    /// Another environment; left out, the one it came for.
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
}

/// Delivers an event again.
#[utoipa::path(post, path = "/events/{event}/replay", tag = "events", request_body = ReplayWish,
    security(("bearer" = ["developer"])),
    responses((status = 201, description = "The new delivery.", body = DeliveryView), (status = 404, description = "There is no such event."),
        (status = 409, description = "The trigger is not deployed there.")))]
async fn event_replay(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<EventId>,
    Body(wish): Body<ReplayWish>,
) -> Result<(StatusCode, Json<DeliveryView>)> {
    find(&state, &caller, id).await?;
    let (delivery, event) = state.control.event_replay(&caller.actor, id, wish.environment.as_ref()).await?;
    let note = event.redacted.then(|| {
        let fields: Vec<String> = event.redact.iter().map(|path| format!("`{path}`")).collect();
        format!(
            "the stored body has lost {}: the handler gets it without and cannot verify the source's own signature; `X-Hookwright-Redacted` says so",
            fields.join(", ")
        )
    });
    Ok((StatusCode::CREATED, Json(DeliveryView { note, ..delivery.into() })))
}

/// Which deliveries are repeated, and where they go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplayAllWish {
    /// Only those in this status, such as `dead`.
    #[schema(value_type = Option<words::DeliveryState>)]
    status: Option<DeliveryStatus>,
    /// Only those that came for this environment.
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// Only of this trigger.
    #[schema(value_type = Option<String>)]
    trigger: Option<TriggerName>,
    /// Only of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only accepted at this time or later, in milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    since: Option<Timestamp>,
    /// Only accepted before this time.
    #[schema(value_type = Option<i64>)]
    until: Option<Timestamp>,
    /// Where they go; left out, where they came for.
    #[schema(value_type = Option<String>)]
    to: Option<EnvironmentName>,
}

/// How many deliveries there are of what was asked for.
#[derive(Serialize, ToSchema)]
struct Replayed {
    replayed: u64,
    /// How many of them are sent without what their trigger redacts, because the stored body has lost it.
    redacted: u64,
}

/// Delivers many events again, oldest first.
#[utoipa::path(post, path = "/webhooks/{webhook}/events/replay", tag = "events", request_body = ReplayAllWish,
    security(("bearer" = ["developer"])),
    responses((status = 200, description = "How many.", body = Replayed), (status = 404, description = "There is no such webhook.")))]
async fn event_replay_all(
    State(state): State<WebState>,
    caller: Caller,
    Path(webhook): Path<WebhookName>,
    Body(wish): Body<ReplayAllWish>,
) -> Result<Json<Replayed>> {
    caller.must_in(Action::Develop, Some(&webhook), wish.environment.as_ref())?;
    let filter = DeliveryFilter {
        webhook: Some(webhook),
        environment: wish.environment,
        trigger: wish.trigger.map(|trigger| trigger.to_string()),
        kind: wish.kind,
        status: wish.status,
        since: wish.since,
        until: wish.until,
    };
    let (replayed, redacted) = state.control.event_replay_all(&caller.actor, &filter, wish.to.as_ref()).await?;
    Ok(Json(Replayed { replayed, redacted }))
}

/// Stops a delivery that has not ended.
#[utoipa::path(post, path = "/deliveries/{delivery}/cancel", tag = "events",     security(("bearer" = ["developer"])),
    responses((status = 204, description = "It is stopped."), (status = 404, description = "There is none."), (status = 409, description = "It has ended.")))]
async fn delivery_cancel(State(state): State<WebState>, caller: Caller, Path(id): Path<DeliveryId>) -> Result<StatusCode> {
    let known = state.store.delivery_fetch(id).await?.filter(|known| caller.sees_in(&known.place.webhook, &known.place.environment));
    known.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no delivery {id}")))?;
    state.control.delivery_cancel(&caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
