//! One instance of a deployment: started under a supervisor, probed, started again with growing pauses when it dies.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookwright_core::port::{DeploymentSpec, ImageConfig, JobState};
use hookwright_core::{Clock, InstanceState, InstanceStatus, PortError};

use crate::executor::{ask_to_stop, launch, lent, unusable};
use crate::supervisor::{Order, Sandbox};
use crate::{ProcessExecutor, probe};

/// The first pause before a dead instance is started again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many failed liveness probes in a row end an instance.
const LIVENESS_FAILURES: u32 = 3;
/// At most this much log is kept of each process.
const LOG_LIMIT: u64 = 64 << 20;
/// How long a handler may take to end after `SIGTERM`.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// What all instances of a deployment share.
pub(crate) struct Surroundings<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) wanted: &'a DeploymentSpec,
    pub(crate) root: &'a Path,
    pub(crate) image: &'a ImageConfig,
}

/// An instance and the folder of its processes: `<folder>/<attempt>/`.
pub(crate) struct Instance {
    folder: PathBuf,
    attempt: u32,
    port: u16,
    not_before: Duration,
    failures: u32,
    ever_ready: bool,
    pub(crate) status: InstanceStatus,
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
            reason: None,
            cpu_millis: None,
            memory_bytes: None,
        };
        Ok(Self { folder, attempt, port: port.unwrap_or(0), not_before: Duration::ZERO, failures: 0, ever_ready: false, status })
    }

    fn process_folder(&self) -> PathBuf {
        self.folder.join(self.attempt.to_string())
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// One look: starts, probes, restarts. Returns whether the state changed.
    pub(crate) async fn step(&mut self, around: &Surroundings<'_>) -> Result<bool, PortError> {
        let before = self.status.state;
        let state = if self.attempt == 0 { JobState::Unknown } else { ProcessExecutor::state(&self.process_folder()).map_err(unusable)? };
        match state {
            JobState::Running => self.probe(around).await?,
            JobState::Unknown => self.start(around).await?,
            JobState::Ended(end) => {
                if self.status.state != InstanceState::BackingOff {
                    self.status.reason = Some(format!("the handler ended: {}", describe(end.outcome)));
                    self.pause(around.clock);
                } else if around.clock.monotonic() >= self.not_before {
                    self.start(around).await?;
                }
            }
        }
        Ok(before != self.status.state)
    }

    fn pause(&mut self, clock: &dyn Clock) {
        self.status.state = InstanceState::BackingOff;
        self.status.address = None;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.status.restarts.min(6)).min(LONGEST_PAUSE);
        self.not_before = clock.monotonic() + pause;
    }

    async fn start(&mut self, around: &Surroundings<'_>) -> Result<(), PortError> {
        self.attempt += 1;
        self.status.restarts = self.attempt - 1;
        self.port = free_port()?;
        let folder = self.process_folder();
        let scratch = self.folder.join("home");
        for needed in [&folder, &scratch] {
            fs::create_dir_all(needed).map_err(unusable)?;
        }
        fs::write(folder.join("port"), self.port.to_string()).map_err(unusable)?;
        fs::write(folder.join("started"), "").map_err(unusable)?;
        let order = self.order(around, &scratch)?;
        let mut child = launch(around.binary, &folder, &order).await?;
        tokio::spawn(async move {
            // Its end is seen by its folder; waiting only keeps no dead process around.
            let _ = child.wait().await;
        });
        self.status.state = InstanceState::Starting;
        self.status.started_at = Some(around.clock.now());
        self.failures = 0;
        Ok(())
    }

    fn order(&self, around: &Surroundings<'_>, scratch: &Path) -> Result<Order, PortError> {
        let wanted = around.wanted;
        let command = wanted.command.clone().unwrap_or_else(|| around.image.command.clone());
        if command.is_empty() {
            return Err(PortError::failed("neither the spec nor the image says what to start; add `handler: { command: […] }`"));
        }
        let inside = |path: &str| around.root.join(path.trim_start_matches('/'));
        let command = command.iter().map(|word| match word.starts_with('/') && inside(word).exists() {
            true => inside(word).to_string_lossy().into_owned(),
            false => word.clone(),
        });
        let from_image = around.image.environment.iter().map(|(name, value)| {
            let parts: Vec<String> = value
                .split(':')
                .map(|part| {
                    if part.starts_with('/') && inside(part).exists() {
                        inside(part).to_string_lossy().into_owned()
                    } else {
                        part.to_owned()
                    }
                })
                .collect();
            (name.clone(), parts.join(":"))
        });
        let mut environment: std::collections::BTreeMap<String, String> = lent().chain(from_image).collect();
        environment.extend(wanted.environment_variables.clone());
        environment.extend(wanted.secrets.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        environment.insert("PORT".to_owned(), self.port.to_string());
        environment.insert("HOME".to_owned(), scratch.to_string_lossy().into_owned());
        Ok(Order {
            command: command.collect(),
            working_directory: Some(inside(&around.image.working_directory))
                .filter(|folder| folder.is_dir())
                .unwrap_or_else(|| around.root.to_owned()),
            environment,
            masks: wanted.secrets.values().map(|value| value.expose().to_owned()).collect(),
            timeout_millis: None,
            grace_millis: u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX),
            log_limit: LOG_LIMIT,
            sandbox: Some(Sandbox { writable: vec![scratch.to_owned()], readable: vec![around.root.to_owned()], network: true }),
        })
    }

    async fn probe(&mut self, around: &Surroundings<'_>) -> Result<(), PortError> {
        let health = &around.wanted.health;
        if self.status.state != InstanceState::Ready {
            if probe::answers(self.address(), health.readiness.as_deref()).await {
                self.status.state = InstanceState::Ready;
                self.status.address = Some(self.address());
                self.status.reason = None;
                self.ever_ready = true;
            } else {
                self.status.state = InstanceState::Starting;
                self.status.reason = Some(self.silence(around));
            }
            return Ok(());
        }
        let Some(path) = &health.liveness else { return Ok(()) };
        self.failures = if probe::answers(self.address(), Some(path)).await { 0 } else { self.failures + 1 };
        if self.failures >= LIVENESS_FAILURES {
            self.status.state = InstanceState::Unhealthy;
            self.status.reason = Some(format!("`{path}` failed {LIVENESS_FAILURES} times in a row"));
            ask_to_stop(&self.process_folder(), GRACE)?;
        }
        Ok(())
    }

    /// Why an instance that runs does not answer.
    fn silence(&self, around: &Surroundings<'_>) -> String {
        let ports = crate::process::listening(&self.process_folder());
        match (ports.contains(&self.port), ports.first()) {
            (false, Some(other)) => {
                format!("the handler listens on port {other} instead of $PORT = {}; read the variable PORT", self.port)
            }
            (false, None) => format!("the handler does not listen on $PORT = {} yet", self.port),
            (true, _) => match &around.wanted.health.readiness {
                Some(path) => format!("the handler listens, but `{path}` does not answer 2xx or 3xx"),
                None => "the handler listens, but does not accept connections".to_owned(),
            },
        }
    }

    /// Whether it was ready at least once since this daemon looks after it.
    pub(crate) fn was_ready(&self) -> bool {
        self.ever_ready
    }

    /// Asks its process to end; `true` once none runs.
    pub(crate) fn end(&mut self, grace: Duration) -> Result<bool, PortError> {
        end_processes(&self.folder, grace)
    }
}

/// Asks whatever runs below an instance's folder to end; `true` once nothing does.
pub(crate) fn end_processes(folder: &Path, grace: Duration) -> Result<bool, PortError> {
    let mut ended = true;
    for attempt in attempts(folder) {
        let folder = folder.join(attempt.to_string());
        if ProcessExecutor::state(&folder).map_err(unusable)? == JobState::Running {
            ended = false;
            // Asked once; the supervisor counts the grace itself.
            if !folder.join("stopping").exists() {
                fs::write(folder.join("stopping"), "").map_err(unusable)?;
                ask_to_stop(&folder, grace)?;
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

fn describe(outcome: hookwright_core::port::JobOutcome) -> String {
    use hookwright_core::port::JobOutcome;
    match outcome {
        JobOutcome::Exited(code) => format!("exit code {code}"),
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
