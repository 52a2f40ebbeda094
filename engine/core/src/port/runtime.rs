//! Keeping deployments alive.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    DeploymentId, Digest, EnvironmentName, Health, InstanceStatus, LogChunk, LogCursor, LogLine, PortError, Resources, SecretValue,
    WebhookName,
};

/// The desired state of a deployment.
#[derive(Clone, Debug)]
pub struct DeploymentSpec {
    /// Its id.
    pub id: DeploymentId,
    /// Whose; for names and logs.
    pub webhook: WebhookName,
    /// Where; for names and logs.
    pub environment: EnvironmentName,
    /// The image, by digest, in the embedded registry under the webhook's name.
    pub image: Digest,
    /// The handler's command; `None` for the image's own.
    pub command: Option<Vec<String>>,
    /// Settings and everything else the handler finds in its environment; `$PORT` is added by the runtime.
    pub environment_variables: BTreeMap<String, String>,
    /// Secret settings: added to the environment, masked in the log, never on disk.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The port inside a container; a process is given a free one.
    pub port: u16,
    /// How it is known to be well.
    pub health: Health,
    /// What an instance may use.
    pub resources: Resources,
    /// How many.
    pub instances: u32,
}

/// What a runtime sees of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its instances by ordinal.
    pub instances: Vec<InstanceStatus>,
    /// Set when it cannot get ready (startup time over, image cannot be started) or keeps ending: the sentence for people, with the last
    /// lines of its log. The runtime goes on trying, so that a live deployment may recover; then it is `None` again.
    pub given_up: Option<String>,
}

/// Keeps deployments alive: starts instances, probes them, starts the dead again with growing pauses.
///
/// *Idempotency*: `apply` states what is wanted; the same twice is once, a changed number of instances scales. *Concurrency*: calls for different
/// deployments in parallel, for one in order. *After a crash* of the daemon instances run on; `apply` after the restart adopts them. *Failed*: the
/// handler does not start, exits, or listens elsewhere than `$PORT`. *Errored*: the machine has no room, the image is gone. When an instance changes its state the runtime
/// wakes [`Topic::Reconcile`](super::Topic). It must not give an instance the daemon's environment, files or tokens, nor start what was retired.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Makes it so; returns before instances are ready.
    async fn apply(&self, deployment: &DeploymentSpec) -> Result<(), PortError>;

    /// What is there; `None` when the runtime does not know the deployment.
    async fn observe(&self, id: &DeploymentId) -> Result<Option<Observed>, PortError>;

    /// The same with what each instance uses of processor and memory right now, where the runtime can tell. It costs more.
    async fn measure(&self, id: &DeploymentId) -> Result<Option<Observed>, PortError> {
        self.observe(id).await
    }

    /// Everything this runtime keeps, also from before a restart.
    async fn list(&self) -> Result<Vec<DeploymentId>, PortError>;

    /// Ends all instances: `SIGTERM`, after `grace` `SIGKILL`. `true` once none is left.
    async fn retire(&self, id: &DeploymentId, grace: Duration) -> Result<bool, PortError>;

    /// The merged log of its instances.
    async fn logs(&self, id: &DeploymentId, from: LogCursor) -> Result<LogChunk, PortError>;

    /// The last so many lines of that log, oldest first, without reading all of it.
    async fn last_lines(&self, id: &DeploymentId, lines: usize) -> Result<Vec<LogLine>, PortError>;

    /// Removes records and logs of a retired deployment and every unpacked image that no other one uses. What still runs of it is killed.
    /// A deployment that is not known is forgotten already.
    async fn forget(&self, id: &DeploymentId) -> Result<(), PortError>;
}
