//! What a supervisor is told over its standard input, and what it leaves on disk. Invariant: only [`Order`] holds secrets, and it is never written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hookwright_core::Timestamp;
use hookwright_core::port::{JobOutcome, Passed};
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
    /// At the limit the older half of the log is dropped, not what follows: for what runs for months.
    pub(crate) log_rolls: bool,
    pub(crate) limits: Limits,
    /// So many thousandths of a processor all its processes together may use.
    pub(crate) cpu_millis: Option<u32>,
    /// Folders that the command may write to; what they hold counts against the limit.
    pub(crate) writable: Vec<PathBuf>,
    pub(crate) sandbox: Option<Sandbox>,
}

/// The wire form of [`hookwright_core::port::Limits`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) processes: Option<u64>,
    pub(crate) disk_bytes: Option<u64>,
}

impl From<hookwright_core::port::Limits> for Limits {
    fn from(limits: hookwright_core::port::Limits) -> Self {
        Self { memory_bytes: limits.memory_bytes, processes: limits.processes, disk_bytes: limits.disk_bytes }
    }
}

/// How a command is kept apart; decided by the daemon, carried out by the supervisor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// The bubblewrap program.
    pub(crate) program: PathBuf,
    /// What it sees, in the order in which it is mounted.
    pub(crate) mounts: Vec<Mount>,
    /// At most this much fits into `/tmp`, which is memory.
    pub(crate) scratch_bytes: u64,
    pub(crate) network: bool,
}

/// One thing that a sandbox shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Mount {
    /// A file or folder of this machine that cannot be changed; left out when it is missing.
    Read { source: PathBuf, target: PathBuf },
    /// A folder of this machine that can be changed.
    Write { source: PathBuf, target: PathBuf },
    /// A symbolic link.
    Link { to: PathBuf, target: PathBuf },
}

/// Who runs, so that a later daemon can end what a dead supervisor left.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) supervisor: i32,
    pub(crate) supervisor_start: u64,
    pub(crate) child: i32,
    pub(crate) child_start: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Exited(i32),
    Signaled(i32),
    TimedOut,
    Stopped,
    NotStarted,
    Lost,
    OverMemory(u64),
    OverProcesses(u64),
    OverDisk(u64),
    OverDiskReserve(u64),
}

impl From<Passed> for Outcome {
    fn from(passed: Passed) -> Self {
        match passed {
            Passed::Memory(bytes) => Self::OverMemory(bytes),
            Passed::Processes(count) => Self::OverProcesses(count),
            Passed::Disk(bytes) => Self::OverDisk(bytes),
            Passed::DiskReserve(bytes) => Self::OverDiskReserve(bytes),
        }
    }
}

impl From<Outcome> for JobOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Exited(code) => Self::Exited(code),
            Outcome::Signaled(signal) => Self::Signaled(signal),
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Stopped => Self::Stopped,
            Outcome::NotStarted => Self::NotStarted,
            Outcome::Lost => Self::Lost,
            Outcome::OverMemory(bytes) => Self::OverLimit(Passed::Memory(bytes)),
            Outcome::OverProcesses(count) => Self::OverLimit(Passed::Processes(count)),
            Outcome::OverDisk(bytes) => Self::OverLimit(Passed::Disk(bytes)),
            Outcome::OverDiskReserve(bytes) => Self::OverLimit(Passed::DiskReserve(bytes)),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
}
