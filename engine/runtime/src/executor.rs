//! The executor of processes: each job under a supervisor, found again by its folder after a restart of the daemon.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hookwright_core::port::{CacheMount, Executor, Isolation, Job, JobState, Notifier, Topic};
use hookwright_core::{Clock, LogChunk, LogCursor, LogStream, PortError, StageRunId};
use tokio::process::Command;

use crate::commands;
use crate::log_file;
use crate::nursery::Nursery;
use crate::sandbox::{Bubblewrap, HOME};
use crate::supervised::Supervised;
use crate::supervisor::{Mount, Order};

/// How long a job that ran into its timeout may take to end after `SIGTERM`.
const GRACE: Duration = Duration::from_secs(5);
/// How long a tool may take to say its version.
const VERSION: Duration = Duration::from_secs(30);

/// Variables that name the folder of a manager of toolchains, and where it is in a home by default. They hold programs, no credentials.
pub(crate) const TOOLCHAINS: [(&str, &str); 2] = [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv")];

/// What a [`ProcessExecutor`] needs.
pub struct ExecutorOptions {
    /// Where jobs are kept, one folder each.
    pub directory: PathBuf,
    /// Where supervisors come from.
    pub nursery: Arc<Nursery>,
    /// Woken when a job ends.
    pub notifier: Arc<dyn Notifier>,
    /// For remarks of the engine.
    pub clock: Arc<dyn Clock>,
    /// What jobs that ask for a sandbox run in; without it they run as plain process groups.
    pub sandbox: Option<Arc<Bubblewrap>>,
}

type Tools = HashMap<PathBuf, (SystemTime, Option<String>)>;

/// Runs jobs as processes of this machine.
pub struct ProcessExecutor {
    options: ExecutorOptions,
    tools: Mutex<Tools>,
    /// Jobs whose end somebody waits for.
    watched: Arc<Mutex<HashSet<StageRunId>>>,
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

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ProcessExecutor {
    /// Opens the folder of jobs, making it when it is missing.
    pub fn new(options: ExecutorOptions) -> Result<Self, PortError> {
        fs::create_dir_all(&options.directory).map_err(unusable)?;
        Ok(Self { options, tools: Mutex::default(), watched: Arc::default() })
    }

    fn job(&self, id: &StageRunId) -> Supervised {
        Supervised::at(self.options.directory.join(id.to_string()))
    }

    /// Wakes the scheduler when a job ends that an earlier daemon started; once for each job.
    fn watch(&self, id: StageRunId) {
        if !self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return;
        }
        let (job, watched, notifier) = (self.job(&id), Arc::clone(&self.watched), Arc::clone(&self.options.notifier));
        job.on_end(move || {
            watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            notifier.wake(Topic::Scheduler);
        });
    }

    fn order(&self, job: &Job, folder: &Path) -> Result<Order, PortError> {
        let mut environment: BTreeMap<String, String> = lent().collect();
        environment.extend(job.environment.clone());
        environment.extend(job.secrets.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        let home = folder.join("home");
        fs::create_dir_all(&home).map_err(unusable)?;
        let mut mounts = vec![Mount::Write { source: home.clone(), target: PathBuf::from(HOME) }];
        let mut writable = vec![job.workspace.clone()];
        for cache in &job.caches {
            link(cache, &job.workspace)?;
            writable.push(cache.directory.clone());
        }
        mounts.extend(writable.iter().map(|folder| Mount::Write { source: folder.clone(), target: folder.clone() }));
        let sandbox = self.options.sandbox.as_ref().filter(|_| job.isolation != Isolation::None);
        if sandbox.is_none() && job.isolation == Isolation::Required {
            return Err(PortError::failed(
                "it comes from a fork, and what strangers wrote is run in the sandbox only: install bubblewrap and leave `sandbox` of the \
                 settings at `preferred`, or set `git.pull_requests: own`",
            ));
        }
        environment.entry("HOME".to_owned()).or_insert_with(|| match sandbox {
            Some(_) => HOME.to_owned(),
            None => home.to_string_lossy().into_owned(),
        });
        writable.push(home);
        Ok(Order {
            command: vec!["sh".into(), "-ec".into(), commands::marked(&job.script)],
            working_directory: job.workspace.clone(),
            environment,
            masks: job.secrets.values().chain(&job.masks).map(|value| value.expose().to_owned()).collect(),
            timeout_millis: Some(millis(job.timeout)),
            grace_millis: millis(GRACE),
            log_limit: job.log_limit,
            log_rolls: false,
            limits: job.limits.into(),
            cpu_millis: None,
            writable,
            sandbox: sandbox.map(|sandbox| sandbox.sandbox(mounts, job.limits.memory_bytes, job.network)),
        })
    }
}

/// Makes a cache appear in the workspace. The workspace is the user's: no link in it is followed.
fn link(cache: &CacheMount, workspace: &Path) -> Result<(), PortError> {
    fs::create_dir_all(&cache.directory).map_err(unusable)?;
    let mut place = workspace.to_owned();
    let mut parts = Path::new(&cache.path).components().filter(|part| *part != Component::CurDir).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(PortError::failed(format!("the cache `{}` leaves the workspace; name a folder below it", cache.path)));
        };
        place.push(name);
        let present = place.symlink_metadata();
        match (present, parts.peek().is_some()) {
            (Err(_), true) => fs::create_dir(&place).map_err(unusable)?,
            (Err(_), false) => std::os::unix::fs::symlink(&cache.directory, &place).map_err(unusable)?,
            (Ok(metadata), true) if metadata.is_dir() => {}
            (Ok(_), true) => {
                return Err(PortError::failed(format!(
                    "the cache `{}` leads through `{}`, which is no folder of the workspace; name another place",
                    cache.path,
                    place.strip_prefix(workspace).unwrap_or(&place).display()
                )));
            }
            // What the repository or an earlier stage put there is what the job sees.
            (Ok(_), false) => {}
        }
    }
    Ok(())
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn start(&self, job: &Job) -> Result<(), PortError> {
        let supervised = self.job(&job.id);
        if supervised.was_started() {
            return Ok(());
        }
        fs::create_dir_all(supervised.folder()).map_err(unusable)?;
        let order = self.order(job, supervised.folder())?;
        if let Some(begun) = supervised.start(&self.options.nursery, order).await? {
            let (id, watched, notifier) = (job.id, Arc::clone(&self.watched), Arc::clone(&self.options.notifier));
            watched.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            tokio::spawn(async move {
                begun.over().await;
                watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                notifier.wake(Topic::Scheduler);
            });
        }
        Ok(())
    }

    async fn poll(&self, id: &StageRunId) -> Result<JobState, PortError> {
        let state = self.job(id).state().await?;
        if state == JobState::Running {
            self.watch(*id);
        }
        Ok(state)
    }

    async fn stop(&self, id: &StageRunId, grace: Duration) -> Result<(), PortError> {
        let job = self.job(id);
        if job.state().await? == JobState::Running { job.ask_to_stop(grace) } else { Ok(()) }
    }

    async fn logs(&self, id: &StageRunId, from: LogCursor) -> Result<LogChunk, PortError> {
        let job = self.job(id);
        let ended = matches!(job.state().await?, JobState::Ended(_));
        tokio::task::spawn_blocking(move || log_file::read(job.folder(), from, ended)).await.map_err(unusable)?.map_err(unusable)
    }

    async fn note(&self, id: &StageRunId, text: &str) -> Result<(), PortError> {
        let job = self.job(id);
        fs::create_dir_all(job.folder()).map_err(unusable)?;
        log_file::append(job.folder(), &log_file::encode(self.options.clock.now(), LogStream::Note, text)).map_err(unusable)
    }

    async fn forget(&self, id: &StageRunId) -> Result<(), PortError> {
        self.job(id).remove().await
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
        let output = tokio::time::timeout(VERSION, run).await.map_err(unusable)?.map_err(unusable)?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let version = String::from_utf8_lossy(&text).lines().next().map(str::to_owned);
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (changed, version.clone()));
        Ok(version)
    }

    fn platform(&self) -> String {
        format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)
    }
}
