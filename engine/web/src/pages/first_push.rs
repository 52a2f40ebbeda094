//! The first steps: from nothing to a webhook that answers, with commands to copy that fit this daemon.

use axum::extract::State;
use hookwright_core::Action;
use serde::Serialize;

use super::{Answer, Layout};
use crate::WebState;
use crate::template::{self, View};
use crate::visitor::Visitor;

/// The first steps.
#[derive(Serialize)]
pub(crate) struct FirstPushPage {
    layout: Layout,
    origin: String,
    /// The address with a place for the token, as git takes it.
    remote: String,
    /// Whether nothing was pushed yet.
    empty: bool,
    may_push: bool,
}

impl View for FirstPushPage {
    const TEMPLATE: &'static str = "pages/first_push.html";

    #[cfg(test)]
    fn sample() -> Self {
        Self { layout: Layout::sample(), origin: "http://<b>hostile".into(), remote: "http://x".into(), empty: true, may_push: true }
    }
}

/// Shows them.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Read)?;
    let empty = state.store.webhook_list(None, 1).await?.is_empty();
    let may_push = visitor.caller.actor.may(Action::Develop, None, None);
    let origin = visitor.origin.clone();
    let remote = format!("{origin}/git/hello.git");
    Ok(template::page(&FirstPushPage { layout: Layout::new(&visitor, "board", "First push"), origin, remote, empty, may_push }))
}
