//! The executor of processes: each job under a supervisor, found again by its folder after a restart of the daemon.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hookwright_core::port::{Executor, Isolation, Job, JobEnd, JobOutcome, JobState, Notifier, Topic};
use hookwright_core::{Clock, LogChunk, LogCursor, LogStream, PortError, StageRunId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::supervisor::{Exit, Order, Outcome, Record, Sandbox};
use crate::{log_file, process};

/// How long a job that ran into its timeout may take to end after `SIGTERM`.
const GRACE: Duration = Duration::from_secs(5);
/// A supervisor says within a few milliseconds that its job is on record; a loaded machine gets longer.
const START: Duration = Duration::from_secs(30);

/// Variables that name the folder of a manager of toolchains, and where it is in a home by default. They hold programs, no credentials.
pub(crate) const TOOLCHAINS: [(&str, &str); 2] = [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv")];

/// What a [`ProcessExecutor`] needs.
pub struct ExecutorOptions {
    /// Where jobs are kept, one folder each.
    pub directory: PathBuf,
    /// The binary that runs `supervise`.
    pub binary: PathBuf,
    /// Woken when a job ends.
    pub notifier: Arc<dyn Notifier>,
    /// For remarks of the engine.
    pub clock: Arc<dyn Clock>,
}

type Tools = HashMap<PathBuf, (SystemTime, Option<String>)>;

/// Runs jobs as processes of this machine.
pub struct ProcessExecutor {
    options: ExecutorOptions,
    tools: Mutex<Tools>,
}

pub(crate) fn unusable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PortError {
    PortError::errored("the folder of the job cannot be used; check the disk of the data folder").because(error)
}

/// What a process gets of the daemon's environment: where programs are, the language, and where the managers of toolchains keep them.
pub(crate) fn lent() -> impl Iterator<Item = (String, String)> {
    let plain = ["PATH", "LANG"].into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    plain.chain(TOOLCHAINS.iter().filter_map(|(variable, folder)| {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(folder));
        let root = std::env::var_os(variable).map(PathBuf::from).or_else(home).filter(|root| root.is_dir())?;
        Some(((*variable).to_owned(), root.to_str()?.to_owned()))
    }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ProcessExecutor {
    /// Opens the folder of jobs, making it when it is missing.
    pub fn new(options: ExecutorOptions) -> Result<Self, PortError> {
        fs::create_dir_all(&options.directory).map_err(unusable)?;
        Ok(Self { options, tools: Mutex::default() })
    }

    fn folder(&self, id: &StageRunId) -> PathBuf {
        self.options.directory.join(id.to_string())
    }

    pub(crate) fn state(folder: &Path) -> io::Result<JobState> {
        if !folder.join("started").exists() {
            return Ok(JobState::Unknown);
        }
        let exit = folder.join("exit.json");
        if !exit.exists() && held(folder)? {
            return Ok(JobState::Running);
        }
        if let Ok(text) = fs::read(exit) {
            let exit: Exit = serde_json::from_slice(&text)?;
            let outcome = match exit.outcome {
                Outcome::Exited(code) => JobOutcome::Exited(code),
                Outcome::Signaled(signal) => JobOutcome::Signaled(signal),
                Outcome::TimedOut => JobOutcome::TimedOut,
                Outcome::Stopped => JobOutcome::Stopped,
                Outcome::NotStarted => JobOutcome::NotStarted,
            };
            return Ok(JobState::Ended(JobEnd { outcome, at: exit.at }));
        }
        if let Ok(text) = fs::read(folder.join("record.json")) {
            let record: Record = serde_json::from_slice(&text)?;
            if process::start_time(record.supervisor) != Some(record.supervisor_start) {
                process::kill_orphans(record.supervisor, record.child, record.child_start);
            }
        }
        let seen = fs::metadata(folder.join("started"))?.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = hookwright_core::Timestamp::from_millis(i64::try_from(seen.as_millis()).unwrap_or(i64::MAX));
        Ok(JobState::Ended(JobEnd { outcome: JobOutcome::Lost, at }))
    }
}

/// Starts a supervisor and hands it the order; returns once it has its process on record.
pub(crate) async fn launch(binary: &Path, folder: &Path, order: &Order) -> Result<Child, PortError> {
    let order = serde_json::to_vec(order).map_err(unusable)?;
    let cannot = |error: io::Error| PortError::errored("the supervisor cannot be started").because(error);
    let mut command = Command::new(binary);
    command.arg("supervise").arg(folder).env_clear().envs(lent());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(cannot)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&order).await.map_err(cannot)?;
    }
    let mut word = String::new();
    if let Some(output) = child.stdout.take() {
        let mut reader = BufReader::new(output);
        tokio::time::timeout(START, reader.read_line(&mut word)).await.map_err(|late| cannot(late.into()))?.map_err(cannot)?;
    }
    if word.is_empty() { Err(PortError::errored("the supervisor ended before it began")) } else { Ok(child) }
}

/// Asks a supervisor to end what it keeps; nothing happens when it has ended already.
pub(crate) fn ask_to_stop(folder: &Path, grace: Duration) -> Result<(), PortError> {
    match OpenOptions::new().write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(folder.join("control")) {
        Ok(mut control) => io::Write::write_all(&mut control, format!("stop {}\n", millis(grace)).as_bytes()).map_err(unusable),
        // Nobody reads: the supervisor has just ended.
        Err(_) => Ok(()),
    }
}

/// Whether a supervisor lives.
fn held(folder: &Path) -> io::Result<bool> {
    match File::open(folder.join("lock")) {
        Ok(lock) => Ok(lock.try_lock_shared().is_err()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn start(&self, job: &Job) -> Result<(), PortError> {
        let folder = self.folder(&job.id);
        fs::create_dir_all(&folder).map_err(unusable)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("started")) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other.map_err(unusable)?,
        };
        let mut environment: BTreeMap<String, String> = lent().collect();
        environment.extend(job.environment.clone());
        environment.extend(job.secrets.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        let mut writable = vec![job.workspace.clone()];
        for cache in &job.caches {
            fs::create_dir_all(&cache.directory).map_err(unusable)?;
            let link = job.workspace.join(&cache.path);
            if let Some(parent) = link.parent() {
                fs::create_dir_all(parent).map_err(unusable)?;
            }
            if !link.exists() {
                std::os::unix::fs::symlink(&cache.directory, link).map_err(unusable)?;
            }
            writable.push(cache.directory.clone());
        }
        let order = Order {
            command: vec!["sh".into(), "-ec".into(), job.script.clone()],
            working_directory: job.workspace.clone(),
            environment,
            masks: job.secrets.values().chain(&job.masks).map(|value| value.expose().to_owned()).collect(),
            timeout_millis: Some(millis(job.timeout)),
            grace_millis: millis(GRACE),
            log_limit: job.log_limit,
            sandbox: (job.isolation == Isolation::Sandbox).then_some(Sandbox { writable, readable: Vec::new(), network: job.network }),
        };
        let mut child = launch(&self.options.binary, &folder, &order).await?;
        let notifier = Arc::clone(&self.options.notifier);
        tokio::spawn(async move {
            if let Err(error) = child.wait().await {
                tracing::warn!(%error, "the end of a supervisor was not seen");
            }
            notifier.wake(Topic::Scheduler);
        });
        Ok(())
    }

    async fn poll(&self, id: &StageRunId) -> Result<JobState, PortError> {
        Self::state(&self.folder(id)).map_err(unusable)
    }

    async fn stop(&self, id: &StageRunId, grace: Duration) -> Result<(), PortError> {
        let folder = self.folder(id);
        if Self::state(&folder).map_err(unusable)? != JobState::Running {
            return Ok(());
        }
        ask_to_stop(&folder, grace)
    }

    async fn logs(&self, id: &StageRunId, from: LogCursor) -> Result<LogChunk, PortError> {
        let folder = self.folder(id);
        let ended = matches!(Self::state(&folder).map_err(unusable)?, JobState::Ended(_));
        tokio::task::spawn_blocking(move || log_file::read(&folder, from, ended)).await.map_err(unusable)?.map_err(unusable)
    }

    async fn note(&self, id: &StageRunId, text: &str) -> Result<(), PortError> {
        let folder = self.folder(id);
        fs::create_dir_all(&folder).map_err(unusable)?;
        log_file::append(&folder, &log_file::encode(self.options.clock.now(), LogStream::Note, text)).map_err(unusable)
    }

    async fn forget(&self, id: &StageRunId) -> Result<(), PortError> {
        match fs::remove_dir_all(self.folder(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(error)),
            _ => Ok(()),
        }
    }

    async fn tool_version(&self, command: &str) -> Result<Option<String>, PortError> {
        let mut words = command.split_whitespace();
        let Some(name) = words.next() else { return Ok(None) };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let Some(file) = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()) else { return Ok(None) };
        let changed = fs::metadata(&file).and_then(|metadata| metadata.modified()).map_err(unusable)?;
        let key = file.join(command);
        if let Some((seen, version)) = self.tools.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && *seen == changed
        {
            return Ok(version.clone());
        }
        let run = Command::new(&file).args(words).env_clear().envs(lent()).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(START, run).await.map_err(unusable)?.map_err(unusable)?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let version = String::from_utf8_lossy(&text).lines().next().map(str::to_owned);
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (changed, version.clone()));
        Ok(version)
    }

    fn platform(&self) -> String {
        format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)
    }
}
