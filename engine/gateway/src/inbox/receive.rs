//! One request of an event source.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use hookwright_core::port::{EventResult, Topic};
use hookwright_core::{Channel, Delivery};
use hookwright_store::{Accepted, NewEvent};
use hookwright_trigger::{Answer, Incoming, Received};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::hook::{Hook, stored};
use super::to_the_end::ToTheEnd;
use super::{BODY_TIME, InboxState, PORTION, READING};
use crate::Problem;
use crate::authenticate::strip_daemon_tokens;
use crate::delivery::{Answered, Towards};
use crate::table::TriggerRoute;

/// When a source is to try again whose event could not be stored, in seconds.
const AGAIN: &str = "5";

/// How much longer than the source's deadline an event that is answered synchronously is kept from being delivered again.
const SYNC_MARGIN: Duration = Duration::from_secs(5);

/// How long a daemon that follows takes to learn an address.
const LEARNING: Duration = Duration::from_secs(3);

/// How long an event may take to be stored; sources wait for ten seconds or so.
const STORING: Duration = Duration::from_secs(8);

impl InboxState {
    /// Takes in what was sent to an address by somebody at another one, and returns what whoever sent it is told.
    pub(crate) async fn receive(self: &Arc<Self>, address: &str, request: Request, from: Option<IpAddr>) -> Response {
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "no trigger that is deployed receives at this address");
        let hook = match self.hook(address).await {
            Ok(Some(hook)) => hook,
            Ok(None) => return unknown().into_response(),
            Err(problem) => return with_retry_after(problem.into_response()),
        };
        let state = Arc::clone(self);
        // Once the source has sent its event it is stored and delivered, whether the source waits for the answer or not.
        let taken = ToTheEnd::new(async move {
            let taken = state.take(&hook, request).await;
            if let Err(problem) = &taken {
                let result = if problem.status.is_server_error() { EventResult::Failed } else { EventResult::Refused };
                state.count(&hook, result);
                state.note(&hook, problem, from);
            }
            taken
        })
        .await;
        let broken = |_| Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the event could not be taken; send it again"));
        with_retry_after(taken.unwrap_or_else(broken).unwrap_or_else(IntoResponse::into_response))
    }

    /// What receives at an address. A daemon that follows may not have learnt it yet, and then does.
    async fn hook(&self, address: &str) -> Result<Option<Arc<Hook>>, Problem> {
        let mut changes = self.table.changes();
        if let Some(hook) = self.table.hook(address) {
            return Ok(Some(hook));
        }
        if !self.leadership.standing().follows() {
            return Ok(None);
        }
        let not_yet =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it is not known yet whether a trigger receives here; send it again");
        if !self.store.subscription_receives(address).await.map_err(|_| not_yet())? {
            return Ok(None);
        }
        let learnt = async {
            loop {
                self.notifier.wake(Topic::Reconcile);
                changes.changed().await.ok()?;
                if let Some(hook) = self.table.hook(address) {
                    return Some(hook);
                }
            }
        };
        tokio::time::timeout(LEARNING, learnt).await.ok().flatten().map(Some).ok_or_else(not_yet)
    }

    fn count(&self, hook: &Hook, result: EventResult) {
        self.meter.event_received((hook.route.webhook.as_str(), hook.route.environment.as_str()), result);
    }

    /// Notes what was not taken through the fault of whoever sent it, or because nothing of the kind can be verified here.
    fn note(&self, hook: &Hook, problem: &Problem, from: Option<IpAddr>) {
        let reason = match &hook.binding {
            Err(reason) => reason,
            Ok(_) if problem.status.is_client_error() => &problem.detail,
            Ok(_) => return,
        };
        let TriggerRoute { webhook, environment, trigger } = &*hook.route;
        self.meter.event_refused((webhook.as_str(), environment.as_str()), problem.status.as_u16());
        // What the engine's own hooks refuse is of no trigger.
        if !hook.is_engines {
            self.refusals.note(trigger.subscription, (problem.status.as_u16(), reason), (self.clock.now(), from));
        }
    }

    async fn take(&self, hook: &Hook, request: Request) -> Result<Response, Problem> {
        let cannot_verify = |reason: &String| {
            tracing::warn!(webhook = %hook.route.webhook, environment = %hook.route.environment, "an event was refused: {reason}");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "events cannot be verified at the moment; whoever deployed this finds the reason in the daemon's log",
            )
        };
        let binding = hook.binding.as_ref().map_err(cannot_verify)?;
        let (mut parts, body) = request.into_parts();
        let (body, _memory) = self.read(&parts.headers, body).await?;
        let now = self.clock.now();
        let channel = self.channel(hook, binding.channel_id(&parts.headers)).await?;
        let incoming =
            Incoming { method: &parts.method, uri: &parts.uri, headers: &parts.headers, body: &body, now, channel: channel.as_ref() };
        let received = binding.receive(&incoming).map_err(|refusal| {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
            Problem::new(status, refusal.detail)
        })?;
        let received = match received {
            Received::Answer(answer) => return Ok(handshake(answer)),
            Received::Events(received) => received,
        };
        // A daemon token that somebody tried the address with is neither stored nor passed on.
        strip_daemon_tokens(&self.store, &mut parts.headers).await?;
        let secret = channel.as_ref().map(|channel| &channel.token);
        let events: Vec<NewEvent> = received.into_iter().map(|event| hook.event(event, &parts.headers, (now, secret))).collect();
        // A follower has no handler to ask; the leader asks it at once.
        if hook.route.trigger.deliver.sync
            && !self.leadership.standing().follows()
            && let [event] = events.as_slice()
            && event.skipped.is_none()
        {
            return self.answer_by_handler(hook, event.clone()).await;
        }
        let mut ids = Vec::new();
        for taken in futures_util::future::join_all(events.into_iter().map(|event| self.store_and_offer(hook, event))).await {
            ids.extend(taken?);
        }
        Ok(acknowledged(&ids))
    }

    /// The channel of this trigger that a message names. It is asked for each time: one may be written down while its first message is on its way.
    async fn channel(&self, hook: &Hook, id: Option<&str>) -> Result<Option<Channel>, Problem> {
        let Some(id) = id else { return Ok(None) };
        let failed = |error: hookwright_store::Error| {
            tracing::error!(error = &error as &dyn std::error::Error, "an event could not be verified; its source was told 503");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the event could not be verified; send it again")
        };
        let found = self.store.channel_fetch(id).await.map_err(failed)?;
        Ok(found.filter(|channel| channel.subscription == hook.route.trigger.subscription))
    }

    /// Reads a body whole, within bounds of size, time and memory.
    async fn read(&self, headers: &HeaderMap, mut body: Body) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
        let limit = usize::try_from(self.body_limit).unwrap_or(usize::MAX);
        let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the event is larger than {limit} bytes"));
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let ended = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon stops");
        let portions = (declared.unwrap_or(PORTION) / PORTION + 1).min(READING);
        let reading = async {
            let mut memory = self.reading.clone().acquire_many_owned(u32::try_from(portions).unwrap_or(u32::MAX)).await.map_err(ended)?;
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
                let Some(data) = frame.data_ref() else { continue };
                if read.len() + data.len() > limit {
                    return Err(too_large());
                }
                read.extend_from_slice(data);
                while memory.num_permits() * PORTION < read.len() && memory.num_permits() < READING {
                    memory.merge(self.reading.clone().acquire_owned().await.map_err(ended)?);
                }
            }
            Ok((read.freeze(), memory))
        };
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the event took longer than {} s to arrive", BODY_TIME.as_secs()));
        tokio::time::timeout(BODY_TIME, reading).await.map_err(late)?
    }

    /// Stores an event; the delivery goes on its way. `None` when it was stored before.
    async fn store_and_offer(&self, hook: &Hook, event: NewEvent) -> Result<Option<String>, Problem> {
        let event = Arc::new(event);
        let Some(delivery) = self.accept(hook, event.clone()).await? else { return Ok(None) };
        let id = delivery.event.to_string();
        if event.skipped.is_some() {
            return Ok(Some(id));
        }
        if hook.is_engines {
            self.notifier.wake(Topic::Intake);
        } else {
            let event = Arc::new(stored(&event, &delivery));
            self.deliveries.offer(delivery, event);
        }
        Ok(Some(id))
    }

    async fn accept(&self, hook: &Hook, event: Arc<NewEvent>) -> Result<Option<Delivery>, Problem> {
        // What is written after the source was told to send it again is found to be the same then.
        let accepted = tokio::time::timeout(STORING, self.inbox.accept(event)).await;
        match accepted.unwrap_or(Err(hookwright_store::Error::OutOfReach)) {
            Ok(Accepted::New(delivery)) => {
                self.count(hook, EventResult::Stored);
                Ok(Some(*delivery))
            }
            Ok(Accepted::Duplicate) => {
                self.count(hook, EventResult::Duplicate);
                Ok(None)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an event could not be stored; its source was told 503");
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the event could not be stored; send it again"))
            }
        }
    }

    /// Passes the handler's answer through within the source's deadline. The event is stored before, so that it is delivered in any case.
    async fn answer_by_handler(&self, hook: &Hook, mut event: NewEvent) -> Result<Response, Problem> {
        let policy = &hook.route.trigger.deliver;
        let deadline = hook.definition.as_ref().and_then(|definition| definition.deadline()).unwrap_or(policy.timeout);
        let limit = policy.timeout.min(deadline.mul_f64(0.9));
        event.not_before = Some(event.received_at.plus(limit + SYNC_MARGIN));
        let event = Arc::new(event);
        let Some(delivery) = self.accept(hook, event.clone()).await? else { return Ok(acknowledged(&[])) };
        let stored = stored(&event, &delivery);
        let route = (hook.route.webhook.as_str(), hook.route.environment.as_str());
        let answered = match self.table.enter(route.0, route.1) {
            Some((entered, in_flight)) => {
                let (key, load) = (&entered.target.signing_key, in_flight.load());
                match entered.backend() {
                    Some(backend) => {
                        let towards = Towards { backend, policy, key, load, timeout: limit };
                        self.deliveries.deliver_now((&delivery, &stored), &towards).await
                    }
                    None => None,
                }
            }
            None => None,
        };
        self.deliveries.wake(delivery.subscription);
        Ok(match answered {
            Some(answered) if answered.status.is_success() => passed_through(answered),
            _ => acknowledged(&[stored.id.to_string()]),
        })
    }
}

fn acknowledged(ids: &[String]) -> Response {
    let body = if ids.is_empty() { json!({ "duplicate": true }) } else { json!({ "events": ids }) };
    let mut response = (StatusCode::OK, body.to_string()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn handshake(answer: Answer) -> Response {
    let mut response = (StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK), answer.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The handler's answer for the source: status, type and body; sources read nothing else.
fn passed_through(answered: Answered) -> Response {
    let mut response = (answered.status, answered.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    if let Some(kind) = answered.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
}

/// What cannot be stored at the moment is worth sending again soon.
fn with_retry_after(mut response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(AGAIN));
    }
    response
}
