//! Who calls, by a token or by a session of the status page, and the one place where rights of readers and admins are asked.

use axum::extract::FromRequestParts;
use hookwright_core::{Action, Actor, EnvironmentName, SecretValue, WebhookName};
use hookwright_store::presented_token;
use http::request::Parts;
use http::{Method, StatusCode, header};

use crate::WebState;
use crate::error::{Problem, Result};
use crate::visitor::session_secret;

/// Whoever presented a valid token or session.
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    proof: Proof,
}

/// What somebody proves with who they are.
#[derive(Clone)]
enum Proof {
    Token(SecretValue),
    Session(SecretValue),
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
        Self::holding(state, self.proof.clone()).await
    }

    /// Whoever is signed in with this session.
    pub(crate) async fn signed_in(state: &WebState, secret: SecretValue) -> Result<Self> {
        Self::holding(state, Proof::Session(secret)).await
    }

    async fn holding(state: &WebState, proof: Proof) -> Result<Self> {
        let (actor, text) = match &proof {
            Proof::Token(token) => (state.store.token_authenticate(token.expose()).await?, "the token is unknown or revoked"),
            Proof::Session(secret) => (state.store.session_authenticate(secret.expose()).await?, "the session is over; sign in again"),
        };
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, text);
        Ok(Self { actor: actor.ok_or_else(unknown)?, proof })
    }
}

impl FromRequestParts<WebState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let missing =
            || Problem::new(StatusCode::UNAUTHORIZED, "give a daemon token: `Authorization: Bearer …`, or as the password of any user");
        if let Some(token) = value.and_then(presented_token) {
            return Self::holding(state, Proof::Token(SecretValue::new(token))).await;
        }
        // A session reads, for the pages' streams and downloads. It changes nothing here: no form's token protects it.
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        let secret = session_secret(&parts.headers).filter(|_| reads).ok_or_else(missing)?;
        Self::signed_in(state, secret).await
    }
}
