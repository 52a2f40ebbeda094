//! The first steps: from nothing to a webhook that answers, with commands to copy that fit this daemon.

use axum::extract::State;
use hookwright_core::{Action, Grant, Role, Scope};
use serde::{Deserialize, Serialize};

use super::run_list::RunRow;
use super::stray::strays;
use super::{Answer, Layout};
use crate::error::Result;
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

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
    /// Where a token is asked for; for those who may make some.
    make: Option<&'static str>,
    /// Whether `remote` holds a token that was just made.
    made: bool,
    /// What was pushed already and did not become a webhook.
    strays: Vec<RunRow>,
}

impl View for FirstPushPage {
    const TEMPLATE: &'static str = "pages/first_push.html";

    #[cfg(test)]
    fn sample() -> Self {
        let (origin, remote, make) = ("http://<b>hostile".into(), "http://x".into(), Some("/x"));
        Self { layout: Layout::sample(), origin, remote, empty: true, may_push: true, make, made: true, strays: vec![RunRow::sample()] }
    }
}

async fn page(state: &WebState, visitor: &Visitor, token: Option<&str>) -> Result<FirstPushPage> {
    let empty = state.store.webhook_list(None, 1).await?.is_empty();
    let actor = &visitor.caller.actor;
    let origin = visitor.origin.clone();
    let remote = match (token, origin.split_once("://")) {
        (Some(token), Some((scheme, host))) => format!("{scheme}://me:{token}@{host}/git/hello.git"),
        _ => format!("{origin}/git/hello.git"),
    };
    let make = actor.may(Action::Administer, None, None).then_some(urls::FIRST_PUSH);
    let (layout, may_push) = (Layout::new(visitor, "board", "First push"), actor.may(Action::Develop, None, None));
    Ok(FirstPushPage { layout, origin, remote, empty, may_push, make, made: token.is_some(), strays: strays(state, visitor).await? })
}

/// Shows them.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Read)?;
    Ok(template::page(&page(&state, &visitor, None).await?))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Makes a token that pushes, and puts it into the commands. The answer is the page itself, so that the token is in no address.
pub(super) async fn token(State(state): State<WebState>, Deed { visitor, .. }: Deed<Nothing>) -> Answer {
    let actor = &visitor.caller.actor;
    let grants = [Grant { role: Role::Developer, scope: Scope { webhook: None, environment: None } }];
    let (_, token) = crate::token::create(&state, &visitor.caller, (&actor.user, &actor.teams), &grants).await?;
    Ok(template::page(&page(&state, &visitor, Some(&token)).await?))
}
