//! One instance of a deployment: started under a supervisor, probed, started again with growing pauses when it dies.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookwright_core::port::{DeploymentSpec, ImageConfig, JobEnd, JobOutcome, JobState, Limits};
use hookwright_core::{Blame, Clock, InstanceState, InstanceStatus, PortError};
use tokio::sync::Notify;

use crate::executor::{lent, millis, unusable};
use crate::last_words::{LOOKED_THROUGH, last_words};
use crate::listeners::Listeners;
use crate::nursery::Nursery;
use crate::probe;
use crate::sandbox::{Bubblewrap, HOME};
use crate::supervised::{Supervised, remove_tree};
use crate::supervisor::{Mount, Order};

/// The first pause before a dead instance is started again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An instance that was ready for so long begins to count its ends anew.
const STABLE: Duration = Duration::from_secs(60);
/// So many ends in a row make an instance one that keeps ending.
const BUDGET: u32 = 5;
/// So many failed liveness probes in a row end an instance.
const LIVENESS_FAILURES: u32 = 3;
/// At most this much log is kept of each process, the newest.
const LOG_LIMIT: u64 = 64 << 20;
/// So many processes of an instance are kept with their logs, besides the one that runs.
const KEPT_PROCESSES: u32 = 5;
/// How often it is looked up why an instance does not answer; that reads much of `/proc`.
const WONDER: Duration = Duration::from_millis(200);
/// How long a handler may take to end after `SIGTERM`.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// What all instances of a deployment share.
pub(crate) struct Surroundings<'a> {
    pub(crate) nursery: &'a Nursery,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) wanted: &'a DeploymentSpec,
    pub(crate) root: &'a Path,
    pub(crate) image: &'a ImageConfig,
    pub(crate) sandbox: Option<&'a Bubblewrap>,
    pub(crate) limits: Limits,
    /// Told when a process ends.
    pub(crate) changed: &'a Arc<Notify>,
    pub(crate) listeners: &'a Listeners,
}

/// An instance and the folder of its processes: `<folder>/<attempt>/`.
pub(crate) struct Instance {
    folder: PathBuf,
    attempt: u32,
    port: u16,
    /// When this daemon began to look after it.
    began: Option<Duration>,
    not_before: Duration,
    ready_since: Option<Duration>,
    wondered: Option<Duration>,
    /// Failed liveness probes in a row.
    failures: u32,
    /// Ends since it was stable.
    ends: u32,
    ever_ready: bool,
    watched: bool,
    pub(crate) status: InstanceStatus,
    /// Why it is not expected to work, with the last lines of its log.
    pub(crate) failing: Option<String>,
}

impl Instance {
    /// The instance with this number, adopting a process that still runs from before a restart of the daemon.
    pub(crate) fn open(deployment: &Path, ordinal: u32) -> Result<Self, PortError> {
        let folder = deployment.join(ordinal.to_string());
        fs::create_dir_all(&folder).map_err(unusable)?;
        let attempt = attempts(&folder).last().copied().unwrap_or(0);
        let port = fs::read_to_string(folder.join(attempt.to_string()).join("port")).ok().and_then(|port| port.trim().parse().ok());
        let status = InstanceStatus {
            ordinal,
            state: InstanceState::Starting,
            address: None,
            restarts: attempt.saturating_sub(1),
            started_at: None,
            restart_at: None,
            reason: None,
            cpu_millis: None,
            memory_bytes: None,
        };
        Ok(Self {
            folder,
            attempt,
            port: port.unwrap_or(0),
            began: None,
            not_before: Duration::ZERO,
            ready_since: None,
            wondered: None,
            failures: 0,
            ends: 0,
            ever_ready: false,
            watched: false,
            status,
            failing: None,
        })
    }

    fn process(&self) -> Supervised {
        Supervised::at(self.folder.join(self.attempt.to_string()))
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// One look: starts, probes, restarts.
    pub(crate) async fn step(&mut self, around: &Surroundings<'_>) -> Result<(), PortError> {
        let now = around.clock.monotonic();
        let began = *self.began.get_or_insert(now);
        let state = if self.attempt == 0 { JobState::Unknown } else { self.process().state().await? };
        match state {
            JobState::Running => self.probe(around).await?,
            JobState::Ended(end) if self.status.state != InstanceState::BackingOff => self.ended(end, around.clock),
            JobState::Unknown | JobState::Ended(_) if now >= self.not_before => {
                if let Err(error) = self.start(around).await {
                    // Whoever is at fault, trying again at once helps nobody.
                    self.status.reason = Some(error.message.clone());
                    if error.blame == Blame::Errored {
                        self.pause(around.clock);
                    }
                    return Err(error);
                }
            }
            JobState::Unknown | JobState::Ended(_) => {}
        }
        let startup = around.wanted.health.startup;
        if !self.ever_ready && now.saturating_sub(began) > startup {
            let why = self.status.reason.clone().unwrap_or_else(|| "it never answered".to_owned());
            // One that was started again has not said yet why it ended.
            let is_new = self.ends > 0 && self.status.state != InstanceState::BackingOff;
            let words = self.last_words(if is_new { self.attempt.saturating_sub(1) } else { self.attempt });
            self.failing = Some(format!("not ready after {} s: {why}{words}", startup.as_secs()));
        }
        Ok(())
    }

    /// Counts an end of its process and waits before the next.
    fn ended(&mut self, end: JobEnd, clock: &dyn Clock) {
        self.ends += 1;
        let how = match (&self.status.reason, self.status.state) {
            // Ended by us, for the reason that is known already.
            (Some(reason), InstanceState::Unhealthy) => reason.clone(),
            _ => format!("the handler ended: {}", describe(end.outcome)),
        };
        if self.ends >= BUDGET {
            let words = self.last_words(self.attempt);
            self.failing = Some(format!("the handler keeps ending, {} times in a row; the last time: {how}{words}", self.ends));
        }
        self.status.reason = Some(how);
        self.pause(clock);
    }

    fn pause(&mut self, clock: &dyn Clock) {
        self.status.state = InstanceState::BackingOff;
        self.status.address = None;
        self.ready_since = None;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.ends.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
        self.not_before = clock.monotonic() + pause;
        self.status.restart_at = Some(clock.now().plus(pause));
    }

    /// How long until it is to be started again, when it waits for that.
    pub(crate) fn rests(&self, now: Duration) -> Option<Duration> {
        (self.status.state == InstanceState::BackingOff).then(|| self.not_before.saturating_sub(now))
    }

    /// Whether the last liveness probes failed, fewer than it takes to end it.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.failures > 0
    }

    /// The end of a process's log as part of a sentence; empty when there is none.
    fn last_words(&self, attempt: u32) -> String {
        last_words(&Supervised::at(self.folder.join(attempt.to_string())).tail(LOOKED_THROUGH))
    }

    async fn start(&mut self, around: &Surroundings<'_>) -> Result<(), PortError> {
        let order = |port| self.order(around, port);
        let port = free_port()?;
        let order = order(port)?;
        self.attempt += 1;
        self.port = port;
        self.status.restarts = self.attempt - 1;
        let process = self.process();
        fs::create_dir_all(process.folder()).map_err(unusable)?;
        // Before the marker of the start: whoever adopts the process knows its port.
        fs::write(process.folder().join("port"), port.to_string()).map_err(unusable)?;
        // Its end is seen by its lock, as that of an adopted one.
        process.start(around.nursery, order).await?;
        self.watch(around);
        self.prune();
        self.status.state = InstanceState::Starting;
        self.status.started_at = Some(around.clock.now());
        self.status.restart_at = None;
        self.failures = 0;
        self.wondered = None;
        Ok(())
    }

    fn watch(&mut self, around: &Surroundings<'_>) {
        let changed = Arc::clone(around.changed);
        self.process().on_end(move || changed.notify_one());
        self.watched = true;
    }

    /// Removes the oldest processes with their logs.
    fn prune(&self) {
        let old = attempts(&self.folder).into_iter().filter(|attempt| attempt + KEPT_PROCESSES < self.attempt);
        for attempt in old {
            // Tried again at the next start.
            let _ = remove_tree(&self.folder.join(attempt.to_string()));
        }
    }

    fn order(&self, around: &Surroundings<'_>, port: u16) -> Result<Order, PortError> {
        let wanted = around.wanted;
        let command = wanted.command.clone().unwrap_or_else(|| around.image.command.clone());
        if command.is_empty() {
            return Err(PortError::failed("neither the spec nor the image says what to start; add `handler: { command: […] }`"));
        }
        let home = self.folder.join("home");
        fs::create_dir_all(&home).map_err(unusable)?;
        let memory = wanted.resources.memory_bytes.or(around.limits.memory_bytes);
        let place = Place { root: around.root, image: around.image, home: &home };
        let placed = match around.sandbox {
            Some(sandbox) => {
                let own = vec![Mount::Write { source: home.clone(), target: PathBuf::from(HOME) }];
                place.inside(command, sandbox.sandbox_over(around.root, own, memory)?)
            }
            None => place.outside(command),
        };
        let mut environment: BTreeMap<String, String> = lent().chain(placed.environment).collect();
        environment.extend(wanted.environment_variables.clone());
        environment.extend(wanted.secrets.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        environment.insert("PORT".to_owned(), port.to_string());
        environment.insert("HOME".to_owned(), placed.home);
        Ok(Order {
            command: placed.command,
            working_directory: placed.working_directory,
            environment,
            masks: wanted.secrets.values().map(|value| value.expose().to_owned()).collect(),
            timeout_millis: None,
            grace_millis: millis(GRACE),
            log_limit: LOG_LIMIT,
            log_rolls: true,
            limits: Limits { memory_bytes: memory, ..around.limits }.into(),
            cpu_millis: wanted.resources.cpu_millis,
            writable: vec![home],
            sandbox: placed.sandbox,
        })
    }

    async fn probe(&mut self, around: &Surroundings<'_>) -> Result<(), PortError> {
        if !self.watched {
            // Adopted: the daemon that started it is gone.
            self.watch(around);
        }
        let now = around.clock.monotonic();
        match self.status.state {
            // It was asked to end.
            InstanceState::Unhealthy => return Ok(()),
            InstanceState::Ready => {}
            _ => return self.probe_readiness(around).await,
        }
        if self.ready_since.is_some_and(|since| now.saturating_sub(since) >= STABLE) {
            self.ends = 0;
            self.failing = None;
        }
        let Some(path) = &around.wanted.health.liveness else { return Ok(()) };
        self.failures = if probe::answers(self.address(), Some(path)).await { 0 } else { self.failures + 1 };
        if self.failures >= LIVENESS_FAILURES {
            self.status.state = InstanceState::Unhealthy;
            self.status.address = None;
            self.status.reason = Some(format!("`{path}` failed {LIVENESS_FAILURES} times in a row"));
            self.process().ask_to_stop(GRACE)?;
        }
        Ok(())
    }

    async fn probe_readiness(&mut self, around: &Surroundings<'_>) -> Result<(), PortError> {
        let health = &around.wanted.health;
        let now = around.clock.monotonic();
        let answers = probe::answers(self.address(), health.readiness.as_deref()).await;
        // A stranger that took the port meanwhile must not be given this handler's requests.
        if answers && self.ports(around).is_none_or(|ports| ports.contains(&self.port)) {
            self.status.state = InstanceState::Ready;
            self.status.address = Some(self.address());
            self.status.reason = None;
            self.ready_since = Some(now);
            if !self.ever_ready && self.ends < BUDGET {
                self.failing = None;
            }
            self.ever_ready = true;
        } else if self.wondered.is_none_or(|last| now.saturating_sub(last) >= WONDER) {
            self.wondered = Some(now);
            self.status.state = InstanceState::Starting;
            self.status.reason = Some(self.silence(around, answers));
        }
        Ok(())
    }

    /// The ports that its process listens on, when they can be seen.
    fn ports(&self, around: &Surroundings<'_>) -> Option<Vec<u16>> {
        self.process().record().and_then(|record| around.listeners.of(&record, self.port))
    }

    /// Why an instance that runs is not ready.
    fn silence(&self, around: &Surroundings<'_>, answered: bool) -> String {
        let ports = self.ports(around).unwrap_or_default();
        match (ports.contains(&self.port), ports.first()) {
            (false, Some(other)) => {
                let is_declared = *other == around.wanted.port;
                let port = if is_declared { ": `handler.port` is for containers, a process is given a free port" } else { "" };
                format!("the handler listens on port {other} instead of $PORT = {}; read the variable PORT{port}", self.port)
            }
            (false, None) if answered => format!("another process of this machine took port {} before the handler did", self.port),
            (false, None) => format!("the handler does not listen on $PORT = {} yet", self.port),
            (true, _) => match &around.wanted.health.readiness {
                Some(path) => format!("the handler listens, but `{path}` does not answer 2xx or 3xx"),
                None => "the handler listens, but does not accept connections".to_owned(),
            },
        }
    }

    /// Asks its process to end; `true` once none runs.
    pub(crate) async fn end(&mut self, grace: Duration) -> Result<bool, PortError> {
        end_processes(&self.folder, grace).await
    }
}

/// Where a handler finds its image.
struct Place<'a> {
    root: &'a Path,
    image: &'a ImageConfig,
    home: &'a Path,
}

/// What an order says of the place.
struct Placed {
    command: Vec<String>,
    working_directory: PathBuf,
    environment: Vec<(String, String)>,
    home: String,
    sandbox: Option<crate::supervisor::Sandbox>,
}

impl Place<'_> {
    /// In a sandbox the image stands at its own places.
    fn inside(&self, command: Vec<String>, sandbox: crate::supervisor::Sandbox) -> Placed {
        let wished = Path::new(&self.image.working_directory);
        let is_there = wished.is_absolute() && self.unpacked(&self.image.working_directory).is_dir();
        Placed {
            command,
            working_directory: if is_there { wished.to_owned() } else { PathBuf::from(HOME) },
            environment: self.image.environment.clone().into_iter().collect(),
            home: HOME.to_owned(),
            sandbox: Some(sandbox),
        }
    }

    /// Without one, absolute paths of the command and of the image's environment that the image holds are rewritten to where it is unpacked;
    /// paths inside the handler's code are not.
    fn outside(&self, command: Vec<String>) -> Placed {
        let moved = |path: &str| match path.starts_with('/') && self.unpacked(path).exists() {
            true => self.unpacked(path).to_string_lossy().into_owned(),
            false => path.to_owned(),
        };
        let environment = self.image.environment.iter();
        Placed {
            command: command.iter().map(|word| moved(word)).collect(),
            working_directory: Some(self.unpacked(&self.image.working_directory))
                .filter(|folder| folder.is_dir())
                .unwrap_or_else(|| self.root.to_owned()),
            environment: environment
                .map(|(name, value)| (name.clone(), value.split(':').map(moved).collect::<Vec<_>>().join(":")))
                .collect(),
            home: self.home.to_string_lossy().into_owned(),
            sandbox: None,
        }
    }

    fn unpacked(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// Asks whatever runs below an instance's folder to end; `true` once nothing does.
pub(crate) async fn end_processes(folder: &Path, grace: Duration) -> Result<bool, PortError> {
    let mut ended = true;
    for attempt in attempts(folder) {
        let process = Supervised::at(folder.join(attempt.to_string()));
        if process.state().await? == JobState::Running {
            ended = false;
            // Asked once; the supervisor counts the grace itself, and finds the request when it has not begun yet.
            if !process.is_asked_to_stop() {
                process.ask_to_stop(grace)?;
            }
        }
    }
    Ok(ended)
}

/// The numbers of the processes that were started for an instance, in order.
pub(crate) fn attempts(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn describe(outcome: JobOutcome) -> String {
    match outcome {
        // A shell and bubblewrap report a signal of what they ran like this.
        JobOutcome::Exited(code @ 129..=192) => format!("exit code {code} (signal {})", code - 128),
        JobOutcome::Exited(code) => format!("exit code {code}"),
        JobOutcome::OverLimit(passed) => passed.to_string(),
        JobOutcome::Signaled(signal) => format!("signal {signal}"),
        JobOutcome::TimedOut => "it ran into a timeout".to_owned(),
        JobOutcome::Stopped => "it was stopped".to_owned(),
        JobOutcome::Lost => "its supervisor was killed".to_owned(),
        JobOutcome::NotStarted => "it could not be started; the log says why".to_owned(),
    }
}

/// A port that nobody uses at this moment.
fn free_port() -> Result<u16, PortError> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| PortError::errored("no free port is left").because(error))
}
