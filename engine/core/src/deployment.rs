//! Deployments and the instances a runtime observes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::status::DeploymentStatus;
use crate::{ConfigName, DeploymentId, Digest, EnvironmentName, PromotionId, ReleaseId, Timestamp, WebhookName};

/// A release in an environment, with the configuration of that moment. Immutable but for its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Whose.
    pub webhook: WebhookName,
    /// Where.
    pub environment: EnvironmentName,
    /// Counts up per webhook and environment from 1; a higher one wins the route.
    pub generation: u64,
    /// What.
    pub release: ReleaseId,
    /// The image, by digest.
    pub image: Digest,
    /// The promotion it was made for.
    pub promotion: PromotionId,
    /// The settings that are no secrets, as the handler gets them.
    pub config: BTreeMap<ConfigName, String>,
    /// How many instances.
    pub instances: u32,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// Why, as a sentence.
    pub status_reason: Option<String>,
    /// When its intent was written.
    pub created_at: Timestamp,
    /// When it got the route.
    pub live_at: Option<Timestamp>,
    /// When its instances were gone.
    pub ended_at: Option<Timestamp>,
}

/// How a runtime knows that an instance is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// A path that answers 2xx or 3xx when ready; without one, an accepted connection is readiness.
    pub readiness: Option<String>,
    /// A path that is asked from then on; three failures in a row restart the instance.
    pub liveness: Option<String>,
    /// How long it may take to get ready.
    pub startup: Duration,
}

/// What an instance may use; `None` is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Started, not ready yet.
    Starting,
    /// Answers.
    Ready,
    /// Was ready and does not answer its liveness any more.
    Unhealthy,
    /// Died; it is started again after a pause that grows.
    BackingOff,
    /// Gone for good.
    Ended,
}

/// One process, container or pod of a deployment, as observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Counts from 0 within the deployment.
    pub ordinal: u32,
    /// What it is doing.
    pub state: InstanceState,
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// How often it was started again.
    pub restarts: u32,
    /// When the present process started.
    pub started_at: Option<Timestamp>,
    /// When it is started again, of one that waits for that.
    pub restart_at: Option<Timestamp>,
    /// The last thing that went wrong, as a sentence (`listens on port 3000 instead of $PORT = 41234`).
    pub reason: Option<String>,
    /// Processor time used since it started, in milliseconds, where known.
    pub cpu_millis: Option<u64>,
    /// Resident memory in bytes, where known.
    pub memory_bytes: Option<u64>,
}
