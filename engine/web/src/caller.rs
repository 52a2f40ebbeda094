//! Who calls, and the one place where rights of readers and admins are asked.

use axum::extract::FromRequestParts;
use hookwright_core::{Action, Actor, EnvironmentName, SecretValue, WebhookName};
use hookwright_store::presented_token;
use http::request::Parts;
use http::{StatusCode, header};

use crate::WebState;
use crate::error::{Problem, Result};

/// Whoever presented a valid token.
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    token: SecretValue,
}

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
        if self.actor.may(action, webhook, environment) {
            return Ok(());
        }
        let role = match action {
            Action::Read => "viewer",
            Action::Develop => "developer",
            Action::Approve => "approver",
            Action::Administer => "admin",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, format!("{} is no {role} here; ask an admin for a token that is", self.actor.user)))
    }

    /// May read everything there is: what counts all webhooks together shows all of them.
    pub(crate) fn must_read_everything(&self) -> Result<()> {
        let everywhere = |grant: &hookwright_core::Grant| grant.scope.webhook.is_none() && grant.scope.environment.is_none();
        if self.actor.grants.iter().any(everywhere) {
            return Ok(());
        }
        let text = format!("{} does not read everything; ask an admin for a viewer's token without a scope", self.actor.user);
        Err(Problem::new(StatusCode::FORBIDDEN, text))
    }

    /// May read a webhook; for leaving out of lists what may not be seen.
    pub(crate) fn sees(&self, webhook: &WebhookName) -> bool {
        self.actor.may(Action::Read, Some(webhook), None)
    }

    /// May read a webhook in an environment.
    pub(crate) fn sees_in(&self, webhook: &WebhookName, environment: &EnvironmentName) -> bool {
        self.actor.may(Action::Read, Some(webhook), Some(environment))
    }

    /// The same caller by what the token is worth now: for streams, which outlive the question.
    pub(crate) async fn again(&self, state: &WebState) -> Result<Self> {
        Self::holding(state, self.token.clone()).await
    }

    async fn holding(state: &WebState, token: SecretValue) -> Result<Self> {
        let actor = state.store.token_authenticate(token.expose()).await?;
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "the token is unknown or revoked");
        Ok(Self { actor: actor.ok_or_else(unknown)?, token })
    }
}

impl FromRequestParts<WebState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let missing =
            || Problem::new(StatusCode::UNAUTHORIZED, "give a daemon token: `Authorization: Bearer …`, or as the password of any user");
        let token = value.and_then(presented_token).ok_or_else(missing)?;
        Self::holding(state, SecretValue::new(token)).await
    }
}
