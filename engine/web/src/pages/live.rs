//! One stream of `changed` for all pages and tabs of a browser: it says that something may have changed, and whoever shows something
//! looks again. It says nothing else, so it needs no rights but a session.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_util::stream;
use http::{HeaderName, StatusCode};
use tokio::sync::watch;

use super::Answer;
use crate::WebState;
use crate::caller::Caller;
use crate::error::Problem;
use crate::visitor::Visitor;

/// So long after the first change others are waited for: pages are looked at by people.
const BURST: Duration = Duration::from_millis(300);

struct Open {
    state: WebState,
    caller: Caller,
    pulse: watch::Receiver<u64>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

/// The stream. It ends with the session, at the latest after a heartbeat, and with the daemon.
pub(super) async fn stream(State(state): State<WebState>, visitor: Visitor) -> Answer {
    let full = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open; close some");
    let permit = state.streams.clone().try_acquire_owned().map_err(full)?;
    let pulse = state.control.pulse();
    let open = Open { caller: visitor.caller, pulse, state, _permit: permit };
    let events = stream::unfold(open, |mut open| async move {
        let event = open.next().await?;
        Some((Ok::<_, Infallible>(event), open))
    });
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events)).into_response())
}

impl Open {
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            () = self.state.stopping.cancelled() => None,
            changed = self.pulse.changed() => {
                changed.ok()?;
                tokio::time::sleep(BURST).await;
                self.pulse.mark_unchanged();
                Some(Event::default().event("changed").data("{}"))
            }
            () = tokio::time::sleep(self.state.heartbeat) => {
                self.caller = self.caller.again(&self.state).await.ok()?;
                Some(Event::default().comment(""))
            }
        }
    }
}
