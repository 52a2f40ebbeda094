//! Who calls, and the one place where rights of readers and admins are asked.

use axum::extract::FromRequestParts;
use hookwright_core::{Action, Actor, EnvironmentName, WebhookName};
use http::request::Parts;
use http::{StatusCode, header};

use crate::WebState;
use crate::error::{Problem, Result};

/// Whoever presented a valid bearer token.
pub(crate) struct Caller(pub(crate) Actor);

impl Caller {
    /// May do it everywhere.
    pub(crate) fn must(&self, action: Action) -> Result<()> {
        self.must_for(action, None)
    }

    /// May do it for a webhook in whichever environment.
    pub(crate) fn must_for(&self, action: Action, webhook: Option<&WebhookName>) -> Result<()> {
        self.must_in(action, webhook, None)
    }

    /// May do it for a webhook in an environment.
    pub(crate) fn must_in(&self, action: Action, webhook: Option<&WebhookName>, environment: Option<&EnvironmentName>) -> Result<()> {
        if self.0.may(action, webhook, environment) {
            return Ok(());
        }
        let role = match action {
            Action::Read => "viewer",
            Action::Develop => "developer",
            Action::Approve => "approver",
            Action::Administer => "admin",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, format!("{} is no {role} here; ask an admin for a token that is", self.0.user)))
    }

    /// May read a webhook; for leaving out of lists what may not be seen.
    pub(crate) fn sees(&self, webhook: &WebhookName) -> bool {
        self.0.may(Action::Read, Some(webhook), None)
    }
}

impl FromRequestParts<WebState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        let missing = || Problem::new(StatusCode::UNAUTHORIZED, "give a daemon token: `Authorization: Bearer …`");
        let actor = state.store.token_authenticate(token.ok_or_else(missing)?).await?;
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "the token is unknown or revoked");
        actor.map(Self).ok_or_else(unknown)
    }
}
