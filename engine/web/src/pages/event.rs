//! An event as it was received, and each of its deliveries with every attempt.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use hookwright_core::{Action, Attempt, Delivery, DeliveryId, EnvironmentName, Event, EventId, RepositoryHook, Timestamp, TriggerPlace};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::event_list::due;
use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Result};
use crate::event::{find, shown_value};
use crate::show::{Badge, Moment, bytes, visible, visible_lines};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// What is shown of a body, in characters; the rest is downloaded.
const SHOWN: usize = 64 << 10;

/// Bodies beyond it are not laid out, only cut: laying out takes memory of several times their size.
const LAID_OUT: usize = 1 << 20;

/// An event.
#[derive(Serialize)]
pub(crate) struct EventPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    events_url: String,
    id: String,
    kind: String,
    source: String,
    source_id: Option<String>,
    environment: String,
    trigger: String,
    trigger_url: String,
    verified: bool,
    received: Moment,
    headers: Vec<HeaderShown>,
    body: BodyShown,
    /// Fields that nobody is shown, and whether they are gone from what is stored too.
    redact: Vec<String>,
    redacted: bool,
    download: String,
    deliveries: Vec<DeliveryShown>,
    /// Where a replay is asked for; only for those who may.
    replay: Option<String>,
    environments: Vec<String>,
}

#[derive(Serialize)]
struct HeaderShown {
    name: String,
    value: String,
}

/// A body as people read it.
#[derive(Debug, Serialize)]
struct BodyShown {
    /// `None` when it is no text.
    text: Option<String>,
    /// Whether there is more than is shown.
    cut: bool,
    /// `JSON`, `text`, `bytes`, `empty`.
    kind: &'static str,
    size: String,
}

#[derive(Serialize)]
struct DeliveryShown {
    id: String,
    environment: String,
    badge: Badge,
    reason: Option<String>,
    replay: bool,
    order_key: Option<String>,
    created: Moment,
    /// When the next attempt is made.
    due: Option<Moment>,
    ended: Option<Moment>,
    attempts: Vec<AttemptShown>,
    cancel: Option<String>,
}

#[derive(Serialize)]
struct AttemptShown {
    number: u32,
    badge: Badge,
    started: Moment,
    took: String,
    /// What the request had besides the event's own headers and body.
    request: Vec<HeaderShown>,
    headers: Vec<HeaderShown>,
    body: Option<BodyShown>,
    error: Option<String>,
}

impl View for EventPage {
    const TEMPLATE: &'static str = "pages/event.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let header = || HeaderShown { name: text(), value: text() };
        let body = || BodyShown { text: Some(text()), cut: true, kind: "JSON", size: "3 B".into() };
        let attempt = AttemptShown {
            number: 1,
            badge: Badge::new("bad", "cross", "500"),
            started: Moment::sample(),
            took: "12 ms".into(),
            request: vec![header()],
            headers: vec![header()],
            body: Some(body()),
            error: Some(text()),
        };
        let delivery = DeliveryShown {
            id: "dlv_1".into(),
            environment: text(),
            badge: Badge::new("bad", "cross", "dead"),
            reason: Some(text()),
            replay: true,
            order_key: Some(text()),
            created: Moment::sample(),
            due: Some(Moment::sample()),
            ended: Some(Moment::sample()),
            attempts: vec![attempt],
            cancel: Some("/x".into()),
        };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/x".into(),
            events_url: "/x".into(),
            id: "evt_1".into(),
            kind: text(),
            source: text(),
            source_id: Some(text()),
            environment: text(),
            trigger: text(),
            trigger_url: "/x".into(),
            verified: false,
            received: Moment::sample(),
            headers: vec![header()],
            body: body(),
            redact: vec![text()],
            redacted: true,
            download: "/x".into(),
            deliveries: vec![delivery],
            replay: Some("/x".into()),
            environments: vec![text()],
        }
    }
}

impl BodyShown {
    fn new(content: &[u8]) -> Self {
        let size = bytes(content.len() as u64);
        if content.is_empty() {
            return Self { text: None, cut: false, kind: "empty", size };
        }
        let Ok(text) = std::str::from_utf8(content) else { return Self { text: None, cut: false, kind: "bytes", size } };
        let json = (content.len() <= LAID_OUT).then(|| laid_out(text)).flatten();
        let (kind, text) = match &json {
            Some(json) => ("JSON", json.as_str()),
            None => ("text", text),
        };
        let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
        Self { text: Some(visible_lines(&text[..end])), cut: end < text.len(), kind, size }
    }
}

/// JSON with an entry a line, otherwise as it was sent: numbers keep their digits and fields their order, also where a name comes twice.
/// `None` for what is no object or list.
fn laid_out(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) || serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return None;
    }
    let mut shown = String::new();
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.extend(std::iter::repeat_n("  ", depth));
    };
    let mut characters = text.chars().filter(|c| *c != '\u{feff}').peekable();
    while let Some(c) = characters.next() {
        // More than is shown is cut anyway; indentation alone could be hundreds of times the body.
        if shown.len() > 4 * (SHOWN + 1) {
            break;
        }
        if quoted {
            shown.push(c);
            (quoted, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            ' ' | '\n' | '\r' | '\t' => {}
            '"' => {
                quoted = true;
                shown.push(c);
            }
            '{' | '[' => {
                while characters.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                    characters.next();
                }
                shown.push(c);
                if characters.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    shown.extend(characters.next());
                } else {
                    depth += 1;
                    line(&mut shown, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut shown, depth);
                shown.push(c);
            }
            ',' => {
                shown.push(c);
                line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            c => shown.push(c),
        }
    }
    Some(shown)
}

fn headers(list: &[(String, String)]) -> Vec<HeaderShown> {
    let shown = |(name, value): &(String, String)| HeaderShown { name: visible(name), value: visible(&shown_value(name, value.clone())) };
    list.iter().map(shown).collect()
}

fn milliseconds(count: u64) -> String {
    if count < 1000 { format!("{count} ms") } else { crate::show::took(std::time::Duration::from_millis(count)) }
}

impl AttemptShown {
    fn new(attempt: Attempt, delivery: &Delivery, now: Timestamp) -> Self {
        let badge = match attempt.answer.as_ref().map(|answer| answer.status) {
            Some(status) if (200..300).contains(&status) => Badge::new("good", "check", status.to_string()),
            Some(status) => Badge::new("bad", "cross", status.to_string()),
            None => Badge::new("bad", "alert", "no answer"),
        };
        let own = [
            ("webhook-id", delivery.id.to_string()),
            ("webhook-timestamp", attempt.started_at.as_millis().div_euclid(1000).to_string()),
            ("webhook-signature", "v1,… (made with the deployment's key)".to_owned()),
            ("x-hookwright-event", delivery.event.to_string()),
            ("x-hookwright-event-type", visible(&delivery.kind)),
            ("x-hookwright-trigger", delivery.place.trigger.to_string()),
            ("x-hookwright-attempt", attempt.number.to_string()),
            ("x-hookwright-replay", delivery.replay.to_string()),
        ];
        Self {
            number: attempt.number,
            badge,
            started: Moment::new(attempt.started_at, now),
            took: milliseconds(attempt.duration_ms),
            request: own.map(|(name, value)| HeaderShown { name: name.to_owned(), value }).into(),
            headers: attempt.answer.as_ref().map(|answer| headers(&answer.headers)).unwrap_or_default(),
            body: attempt.answer.map(|answer| BodyShown::new(answer.body.as_bytes())),
            error: attempt.error.as_deref().map(visible),
        }
    }
}

/// Shows it.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path(id): Path<EventId>) -> Answer {
    let event = find(&state, &visitor.caller, id).await?;
    let now = state.clock.now();
    let may = |environment: &EnvironmentName| visitor.caller.actor.may(Action::Develop, Some(&event.place.webhook), Some(environment));
    let mut deliveries = Vec::new();
    // The newest first: it says how the event stands.
    for delivery in state.store.delivery_list_of_event(id).await?.into_iter().rev() {
        let TriggerPlace { webhook, environment, .. } = &delivery.place;
        if !visitor.caller.sees_in(webhook, environment) {
            continue;
        }
        let attempts = state.store.attempt_list(delivery.id).await?;
        let attempts = attempts.into_iter().map(|attempt| AttemptShown::new(attempt, &delivery, now)).collect();
        let over = delivery.status.is_end();
        deliveries.push(DeliveryShown {
            id: delivery.id.to_string(),
            environment: environment.to_string(),
            badge: delivery.status.into(),
            reason: delivery.status_reason.as_deref().map(visible),
            replay: delivery.replay,
            order_key: delivery.order_key.as_deref().filter(|key| !key.is_empty()).map(visible),
            created: Moment::new(delivery.created_at, now),
            due: due(&delivery, now),
            ended: delivery.ended_at.map(|at| Moment::new(at, now)),
            attempts,
            cancel: (!over && may(environment)).then(|| urls::delivery_cancel(delivery.id)),
        });
    }
    // Of a repository's own hook, which is no trigger of a webhook.
    let is_repositorys = event.place.environment.as_str() == RepositoryHook::ENVIRONMENT
        && state.store.subscription_fetch(event.subscription).await?.is_none();
    let replay = may(&event.place.environment).then(|| urls::event_replay(id));
    // It goes where its trigger is deployed.
    let places = state.store.subscription_list(&event.place.webhook, None).await?.into_iter().map(|known| known.place);
    let places = places.filter(|place| place.trigger == event.place.trigger && may(&place.environment)).map(|place| place.environment);
    let environments = places.map(|place| place.to_string()).collect();
    let Event { place, source, kind, source_id, verified, received_at, headers: list, body, redact, redacted, .. } = event;
    let repositories = is_repositorys.then(|| urls::REPOSITORIES.to_owned());
    Ok(template::page(&EventPage {
        layout: Layout::new(&visitor, "board", format!("{} · {}", visible(&kind), place.webhook)),
        webhook: place.webhook.to_string(),
        webhook_url: repositories.clone().unwrap_or_else(|| urls::webhook(&place.webhook)),
        events_url: repositories.clone().unwrap_or_else(|| urls::events(&place.webhook)),
        id: id.to_string(),
        kind: visible(&kind),
        source: visible(&source),
        source_id: source_id.as_deref().map(visible),
        environment: place.environment.to_string(),
        trigger: place.trigger.to_string(),
        trigger_url: repositories.unwrap_or_else(|| urls::triggers(&place.webhook)),
        verified,
        received: Moment::new(received_at, now),
        headers: headers(&list),
        body: BodyShown::new(&body),
        redact: redact.iter().map(|path| visible(&path.to_string())).collect(),
        redacted,
        download: urls::event_body(id),
        deliveries,
        replay,
        environments,
    }))
}

/// The body, byte for byte, less what its trigger redacts. It is somebody else's: no browser is to show it as a page of ours.
pub(super) async fn download(State(state): State<WebState>, visitor: Visitor, Path(id): Path<EventId>) -> Answer {
    let event = find(&state, &visitor.caller, id).await?;
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.body\""))
        .body(axum::body::Body::from(event.body));
    Ok(response.map_err(Problem::invalid)?.into_response())
}

/// Where a replay goes.
#[derive(Deserialize)]
pub(super) struct Target {
    #[serde(default)]
    to: String,
}

/// Delivers it again.
pub(super) async fn replay(State(state): State<WebState>, Path(id): Path<EventId>, deed: Deed<Target>) -> Answer {
    find(&state, &deed.visitor.caller, id).await?;
    let to = match deed.form.to.trim() {
        "" => None,
        name => Some(EnvironmentName::new(name).map_err(Problem::invalid)?),
    };
    state.control.event_replay(&deed.visitor.caller.actor, id, to.as_ref()).await?;
    Ok(Redirect::to(&said(&urls::event(id), "replayed")).into_response())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Stops a delivery.
pub(super) async fn cancel(State(state): State<WebState>, Path(id): Path<DeliveryId>, deed: Deed<Nothing>) -> Answer {
    let delivery = known(&state, &deed.visitor, id).await?;
    state.control.delivery_cancel(&deed.visitor.caller.actor, id).await?;
    Ok(Redirect::to(&said(&urls::event(delivery.event), "delivery-canceled")).into_response())
}

async fn known(state: &WebState, visitor: &Visitor, id: DeliveryId) -> Result<Delivery> {
    let sees = |known: &Delivery| visitor.caller.sees_in(&known.place.webhook, &known.place.environment);
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no delivery {id}"));
    state.store.delivery_fetch(id).await?.filter(sees).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_and_nothing_of_it_changed() {
        let text = r#"{"a" :[1.10,{"b":"x, {y}: \" \\"}], "a":12345678901234567890123,"c":{ } ,"d":[]}"#;
        let shown = "{\n  \"a\": [\n    1.10,\n    {\n      \"b\": \"x, {y}: \\\" \\\\\"\n    }\n  ],\n  \"a\": 12345678901234567890123,\n  \"c\": {},\n  \"d\": []\n}";
        assert_eq!(laid_out(text).as_deref(), Some(shown));
        assert_eq!(laid_out("hello"), None);
        assert_eq!(laid_out("{\"a\":"), None);
    }

    #[test]
    fn a_hostile_body_is_shown_cut_and_with_what_hides_made_visible() {
        let body = BodyShown::new("{\"a\":\"\u{202e}txt\"}".as_bytes());
        assert_eq!(body.text.as_deref(), Some("{\n  \"a\": \"⟨U+202E⟩txt\"\n}"));
        let long = BodyShown::new("é".repeat(SHOWN + 1).as_bytes());
        assert!(long.cut && long.text.is_some_and(|text| text.chars().count() == SHOWN));
        assert_eq!(BodyShown::new(&[0xff, 0xfe]).kind, "bytes");
        let deep = "[".repeat(100_000);
        assert_eq!(BodyShown::new(deep.as_bytes()).kind, "text", "what is nested too deeply is not laid out");
    }
}
