//! The hold of an environment on the pages about it: who holds it since when and why, the form that ends or begins it, and those before.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, EnvironmentName, WebhookName};
use serde::{Deserialize, Serialize};

use super::{Answer, said};
use crate::error::{Path, Result};
use crate::promotion::check_reason;
use crate::show::{Badge, Moment, visible};
use crate::visitor::{Deed, Visitor, own_address};
use crate::{WebState, urls};

/// So many beginnings and ends of earlier holds are shown.
const PAST: u32 = 20;

/// The hold of an environment, and those before it.
#[derive(Serialize)]
pub(crate) struct HoldCard {
    environment: String,
    current: Option<HoldShown>,
    /// Where the forms that begin and end one go, for whoever may.
    set: Option<String>,
    end: Option<String>,
    past: Vec<HoldLine>,
}

#[derive(Serialize)]
struct HoldShown {
    actor: String,
    reason: String,
    since: Moment,
}

/// A hold that began or ended.
#[derive(Serialize)]
struct HoldLine {
    badge: Badge,
    user: String,
    detail: String,
    at: Moment,
}

impl HoldCard {
    /// The card of a place, for a visitor who reads it.
    pub(crate) async fn fetch(state: &WebState, visitor: &Visitor, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Self> {
        let now = state.clock.now();
        let hold = state.store.hold_fetch(webhook, environment).await?;
        let may = visitor.caller.actor.may(Action::Develop, Some(webhook), Some(environment));
        let past = state.store.hold_history(webhook, environment, PAST).await?.into_iter().map(|entry| HoldLine {
            badge: match entry.action.as_str() {
                "hold.ended" => Badge::new("good", "check", "ended"),
                "hold.set" => Badge::new("warn", "lock", "held"),
                _ => Badge::new("warn", "lock", "rolled back"),
            },
            user: visible(&entry.user),
            detail: visible(&entry.detail),
            at: Moment::new(entry.at, now),
        });
        Ok(Self {
            environment: environment.to_string(),
            set: (may && hold.is_none()).then(|| urls::hold_set(webhook, environment)),
            end: (may && hold.is_some()).then(|| urls::hold_end(webhook, environment)),
            past: past.collect(),
            current: hold.map(|hold| HoldShown {
                actor: visible(&hold.actor),
                reason: visible(&hold.reason),
                since: Moment::new(hold.since, now),
            }),
        })
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let line = HoldLine { badge: Badge::new("warn", "lock", "held"), user: text(), detail: text(), at: Moment::sample() };
        Self {
            environment: "production".into(),
            current: Some(HoldShown { actor: text(), reason: text(), since: Moment::sample() }),
            set: Some("/x".into()),
            end: Some("/x".into()),
            past: vec![line],
        }
    }
}

/// A reason, and the page to go back to.
#[derive(Deserialize)]
pub(super) struct NewHold {
    reason: String,
    to: String,
}

/// The page to go back to.
#[derive(Deserialize)]
pub(super) struct Back {
    to: String,
}

type Place = Path<(WebhookName, EnvironmentName)>;

/// Holds the place.
pub(super) async fn set(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<NewHold>) -> Answer {
    let Deed { visitor, form } = deed;
    check_reason(Some(&form.reason))?;
    state.control.hold_set(&visitor.caller.actor, &webhook, &environment, form.reason.trim().to_owned()).await?;
    Ok(Redirect::to(&said(own_address(&form.to), "held")).into_response())
}

/// Ends the hold, and promotes nothing.
pub(super) async fn end(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<Back>) -> Answer {
    let Deed { visitor, form } = deed;
    state.control.hold_end(&visitor.caller.actor, &webhook, &environment).await?;
    Ok(Redirect::to(&said(own_address(&form.to), "hold-ended")).into_response())
}
