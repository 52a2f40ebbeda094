//! What a supervisor is told over its standard input, and what it leaves on disk. Invariant: only [`Order`] holds secrets, and it is never written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hookwright_core::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) command: Vec<String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) masks: Vec<String>,
    pub(crate) timeout_millis: Option<u64>,
    pub(crate) grace_millis: u64,
    pub(crate) log_limit: u64,
    pub(crate) sandbox: Option<Sandbox>,
}

/// What a sandboxed job may reach.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sandbox {
    pub(crate) writable: Vec<PathBuf>,
    /// Shown read-only at the same place.
    #[serde(default)]
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) network: bool,
}

/// Who runs, so that a later daemon can end what a dead supervisor left.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) supervisor: i32,
    pub(crate) supervisor_start: u64,
    pub(crate) child: i32,
    pub(crate) child_start: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Exited(i32),
    Signaled(i32),
    TimedOut,
    Stopped,
    NotStarted,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
}
