//! Running jobs to their end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::{LogChunk, LogCursor, PortError, SecretValue, StageRunId, Timestamp};

/// A directory kept between runs, a hint and never an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// Where the job finds it, relative to the workspace.
    pub path: String,
    /// Where it is kept on this machine.
    pub directory: PathBuf,
}

/// How far a job is kept apart from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In a sandbox where the machine offers one, else as a plain process group.
    Sandbox,
    /// In a sandbox, or not at all: strangers wrote what it runs.
    Required,
    /// As a plain process group: what the daemon's configuration says, or a measurement without the sandbox.
    None,
}

/// What a job or an instance may use of the machine; `None` is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of all its processes together.
    pub memory_bytes: Option<u64>,
    /// Processes and threads together.
    pub processes: Option<u64>,
    /// Bytes in all folders it may write to.
    pub disk_bytes: Option<u64>,
}

/// A limit that was passed, and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Bytes of memory.
    Memory(u64),
    /// Processes and threads.
    Processes(u64),
    /// Bytes on disk.
    Disk(u64),
    /// The disk of the data folder was nearly full, and the job held more than the bytes that are kept free.
    DiskReserve(u64),
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "it used more than {} of memory", Bytes(*bytes)),
            Self::Processes(count) => write!(f, "it ran more than {count} processes and threads"),
            Self::Disk(bytes) => write!(f, "it wrote more than {} to disk", Bytes(*bytes)),
            Self::DiskReserve(bytes) => {
                write!(f, "it filled the disk of the data folder, where {} are kept free", Bytes(*bytes))
            }
        }
    }
}

/// Bytes as people read them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 10 << 30 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >= 1 << 20 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// What an executor is asked to run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id; starting it twice is starting it once.
    pub id: StageRunId,
    /// Shell text, run by `sh -e` in the workspace.
    pub script: String,
    /// The prepared workspace on this machine.
    pub workspace: PathBuf,
    /// Everything the command finds in its environment, nothing of the daemon's but `PATH` and `LANG`.
    pub environment: BTreeMap<String, String>,
    /// Added to the environment, and masked in the log together with `masks`.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Further values to mask.
    pub masks: Vec<SecretValue>,
    /// Directories kept between runs.
    pub caches: Vec<CacheMount>,
    /// After this the whole process group is killed.
    pub timeout: Duration,
    /// At most this many bytes of log; the rest is dropped and the log says so.
    pub log_limit: u64,
    /// What it may use; passing a limit ends all of it.
    pub limits: Limits,
    /// Sandbox or not.
    pub isolation: Isolation,
    /// Whether the job may reach the network.
    pub network: bool,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It exited by itself.
    Exited(i32),
    /// A signal that was not ours ended it (out of memory, a crash).
    Signaled(i32),
    /// It ran into its timeout.
    TimedOut,
    /// It passed one of its limits.
    OverLimit(Passed),
    /// It was stopped by [`Executor::stop`].
    Stopped,
    /// Its supervisor is gone and left no exit status; nothing of the job runs any more.
    Lost,
    /// It could not be started; the reason is a sentence in the log.
    NotStarted,
}

/// The end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// How.
    pub outcome: JobOutcome,
    /// When.
    pub at: Timestamp,
}

/// What an executor knows of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Never started here, or forgotten.
    Unknown,
    /// Its command runs.
    Running,
    /// It is over; the log is complete.
    Ended(JobEnd),
}

/// Runs jobs to their end.
///
/// *Idempotency*: `start` with an id that was started does nothing; `stop` and `forget` may be repeated. *Concurrency*: any number of jobs; the
/// caller bounds them. *After a crash* of the daemon jobs run on and are found again by `poll` (they are adopted, never run
/// twice); a job that is being started counts as running, and one whose start was cut off either runs or never will. A job whose supervisor
/// died ends as `Lost`, once, after what it left running is killed. *Failed*: a command that cannot be started, a cache that leads
/// through a link. *Errored*: no processes or disk left. When a job ends, started or adopted, the executor wakes
/// [`Topic::Scheduler`](super::Topic). It must not give a job the daemon's environment, files or tokens, and writes no secret to disk, neither in
/// its records nor in the log.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Starts a job; returns once its supervisor has it on record.
    async fn start(&self, job: &Job) -> Result<(), PortError>;

    /// Where it stands. Cheap: called on every wake-up.
    async fn poll(&self, id: &StageRunId) -> Result<JobState, PortError>;

    /// Asks it to end (`SIGTERM` to the group), and after `grace` kills all of it. Returns at once.
    async fn stop(&self, id: &StageRunId, grace: Duration) -> Result<(), PortError>;

    /// Its log from `from` on, at most about 1 MiB at a time. Works while it runs and after it ended.
    async fn logs(&self, id: &StageRunId, from: LogCursor) -> Result<LogChunk, PortError>;

    /// Adds a remark of the engine to its log (for stages without a command too).
    async fn note(&self, id: &StageRunId, text: &str) -> Result<(), PortError>;

    /// Removes its records and log; what still runs of it is killed first.
    async fn forget(&self, id: &StageRunId) -> Result<(), PortError>;

    /// The first line that `command` prints, or `None` when the tool is missing. Cached until the tool's file changes.
    async fn tool_version(&self, command: &str) -> Result<Option<String>, PortError>;

    /// What enters every cache key besides tools: operating system, architecture.
    fn platform(&self) -> String;
}
