//! The gateway's table of routes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{BoundTrigger, DeploymentId, EnvironmentName, SecretValue, WebhookName};

/// Who may call an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever has a daemon token that may read the webhook; `api.security` asks for it.
    DaemonToken,
}

/// Where requests to a webhook in an environment go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// The deployment that answers.
    pub deployment: DeploymentId,
    /// A lower generation never replaces a higher one.
    pub generation: u64,
    /// Ready instances; empty answers 503 and says why.
    pub backends: Vec<SocketAddr>,
    /// What a 503 says when there is no backend.
    pub unavailable_reason: Option<String>,
    /// Who may call.
    pub access: Access,
    /// The longest time from the request's head to the answer's head.
    pub response_timeout: Duration,
    /// What it is triggered by.
    pub triggers: Vec<BoundTrigger>,
    /// What deliveries are signed with; the handler finds the same in its environment.
    pub signing_key: SecretValue,
}

/// The gateway's routes. All calls are cheap, never fail and take effect for the next request.
/// *After a restart* the table is empty and the engine fills it again from the store before the daemon is ready.
pub trait RouteTable: Send + Sync + 'static {
    /// Sends new requests there; requests in flight end where they began. A target with a lower generation is ignored.
    fn set(&self, webhook: &WebhookName, environment: &EnvironmentName, target: RouteTarget);

    /// Takes the address away.
    fn remove(&self, webhook: &WebhookName, environment: &EnvironmentName);

    /// Requests (and upgraded connections) that are still with a deployment.
    fn in_flight(&self, deployment: &DeploymentId) -> u64;
}
