//! Whose fault something is, decided where it is noticed: the user's (`Failed`) or ours (`Errored`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose fault an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The user's: their commit, their spec, their handler. Trying again without a change does not help.
    Failed,
    /// Ours or the world's: disk, network, a peer. Trying again may help.
    Errored,
}

/// The error of every port: a sentence that people may read, and whose fault it is. The cause is for the log only.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// Whose fault it is.
    pub blame: Blame,
    /// What, why and what to do, in one lower-case fragment without secrets.
    pub message: String,
    /// How long a peer wants not to be asked again, when it said so.
    pub after: Option<Duration>,
    /// The technical cause, for the log.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// The user's fault.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { blame: Blame::Failed, message: message.into(), after: None, cause: None }
    }

    /// Ours or the world's.
    pub fn errored(message: impl Into<String>) -> Self {
        Self { blame: Blame::Errored, message: message.into(), after: None, cause: None }
    }

    /// The same error with the time that the peer asked for.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.after = wait;
        self
    }

    /// The same error with its technical cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}
