//! Server-sent events. A stream is pulled: its connection asks for the next event when it can take one, so that a slow client holds one
//! event and never a queue. Invariants: a stream outlives neither its token's rights nor the daemon by more than a heartbeat, and an
//! event's id is enough to go on after it.

mod log;
mod run;

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hookwright_control::RunChanged;
use hookwright_core::{Action, EnvironmentName, RunId, WebhookName};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Problem, Result};

pub(crate) use log::{LogEnd, follow_deployment, follow_stage};
pub(crate) use run::{RunEnd, RunSnapshot};

/// What changes comes in bursts: so long after the first news the others are waited for.
const BURST: Duration = Duration::from_millis(50);

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().merge(run::routes()).merge(log::routes())
}

/// The data of the event `refused`: the stream ends because its token does not cover it any more.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamRefused {
    detail: String,
}

/// What a stream of any kind is made of.
trait Source: Send + 'static {
    /// What is to be sent next without waiting, if anything. `Err` ends the stream, after the reason was logged.
    fn look(&mut self, state: &WebState) -> impl Future<Output = Result<Found>> + Send;

    /// Returns when looking again is worth it. Cancel-safe.
    fn wait(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a look found.
enum Found {
    /// Something to send.
    Event(Event),
    /// Nothing yet.
    Nothing,
    /// The end.
    Over,
}

/// An open stream.
struct Open<S> {
    state: WebState,
    caller: Caller,
    webhook: WebhookName,
    environment: Option<EnvironmentName>,
    source: S,
    /// When the rights were last asked.
    asked: Instant,
    /// When something was last sent.
    sent: Instant,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

/// Begins a stream about a webhook, or an environment of it, which the caller may read now.
fn open<S: Source>(state: WebState, caller: Caller, at: (WebhookName, Option<EnvironmentName>), source: S) -> Result<Response> {
    caller.must_in(Action::Read, Some(&at.0), at.1.as_ref())?;
    let full = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open; close some, or ask without a stream");
    let permit = state.streams.clone().try_acquire_owned().map_err(full)?;
    let now = Instant::now();
    let (webhook, environment) = at;
    let open = Open { state, caller, webhook, environment, source, asked: now, sent: now, over: false, _permit: permit };
    let events = stream::unfold(open, |mut open| async move {
        let event = open.next().await?;
        open.sent = Instant::now();
        Some((Ok::<_, Infallible>(event), open))
    });
    // Proxies that collect answers are asked not to.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))];
    Ok((unbuffered, Sse::new(events)).into_response())
}

impl<S: Source> Open<S> {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.over || self.state.stopping.is_cancelled() {
                return None;
            }
            if let Err(problem) = self.ask().await {
                self.over = true;
                return Some(event("refused", None, &StreamRefused { detail: problem.detail }));
            }
            match self.source.look(&self.state).await {
                Ok(Found::Event(event)) => return Some(event),
                Ok(Found::Nothing) => {}
                Ok(Found::Over) => return None,
                Err(problem) => {
                    warn!(detail = problem.detail, "an event stream ended early");
                    return None;
                }
            }
            let beat = self.sent + self.state.heartbeat;
            tokio::select! {
                () = self.state.stopping.cancelled() => return None,
                () = self.source.wait() => {}
                () = tokio::time::sleep_until(beat) => return Some(Event::default().comment("")),
            }
        }
    }

    /// Asks whether the token still holds, unless that was asked a moment ago.
    async fn ask(&mut self) -> Result<()> {
        if self.asked.elapsed() < self.state.heartbeat {
            return Ok(());
        }
        self.caller = self.caller.again(&self.state).await?;
        self.caller.must_in(Action::Read, Some(&self.webhook), self.environment.as_ref())?;
        self.asked = Instant::now();
        Ok(())
    }
}

/// An event whose data is JSON, in which no line can end.
fn event<T: Serialize>(name: &'static str, id: Option<String>, data: &T) -> Event {
    let text = serde_json::to_string(data).expect("views have string keys and no failing serializers");
    let event = Event::default().event(name).data(text);
    match id {
        Some(id) => event.id(id),
        None => event,
    }
}

/// The id of the last event that the client saw.
fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| strange_id())
}

fn strange_id() -> Problem {
    Problem::bad_request("the header Last-Event-ID holds no id of this stream; begin again without it")
}

/// The answer to a client that has seen the end: it tells a browser to stop asking.
fn nothing_more() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Returns when a run changed, or when news of it may have been missed. Cancel-safe.
async fn changed(news: &mut Receiver<RunChanged>, run: RunId) {
    loop {
        match news.recv().await {
            Ok(change) if change.run != run => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
