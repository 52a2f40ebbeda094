//! Everything the engine is given from outside: the store, the ports, the clock and the settings. Made once by the wiring.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookwright_core::port::{
    ArtifactStore, Deliverer, Executor, GitHost, HookTable, ImageBuilder, Isolation, Leadership, Limits, Meter, Revisions, RouteTable,
    Runtime, Subscriber,
};
use hookwright_core::{Clock, IdSource};
use hookwright_store::{Inbox, Store};

use crate::Wakes;

/// What the engine works with. Cloning it clones handles.
#[derive(Clone)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdSource>,
    /// Reading git.
    pub revisions: Arc<dyn Revisions>,
    /// Hosting git.
    pub git_host: Arc<dyn GitHost>,
    /// What runs leave behind.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Running jobs.
    pub executor: Arc<dyn Executor>,
    /// Keeping deployments alive.
    pub runtime: Arc<dyn Runtime>,
    /// Making images.
    pub images: Arc<dyn ImageBuilder>,
    /// The gateway's routes.
    pub routes: Arc<dyn RouteTable>,
    /// The gateway's addresses of the engine's own hooks.
    pub hooks: Arc<dyn HookTable>,
    /// Writing events and their deliveries.
    pub inbox: Inbox,
    /// Giving events to handlers.
    pub deliverer: Arc<dyn Deliverer>,
    /// Telling event sources where to send.
    pub subscriber: Arc<dyn Subscriber>,
    /// Counting what happens.
    pub meter: Arc<dyn Meter>,
    /// Whether this daemon is the one that acts.
    pub leadership: Arc<dyn Leadership>,
    /// Wake-ups and lossy news of runs; created before the adapters, because they wake the engine too.
    pub wakes: Wakes,
    /// How the engine behaves.
    pub settings: Arc<Settings>,
}

/// Which pull requests of watched remotes are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequests {
    /// All: those from forks without secrets, in the sandbox, and never deployed.
    All,
    /// Those whose head is a branch of the repository itself.
    Own,
    /// None; their refs are not even listed.
    Ignored,
}

/// How the engine behaves; the daemon's configuration fills it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `DATA`: workspaces and caches are folders of it.
    pub data: PathBuf,
    /// Under which address the outside reaches the daemon, without a slash at its end; empty when nobody said.
    pub public_url: String,
    /// How many jobs run at the same time.
    pub executors: usize,
    /// How often a watched remote's refs are read.
    pub poll_interval: Duration,
    /// How rarely one is read at last that has not changed, or has failed, for long.
    pub quiet_interval: Duration,
    /// How often a remote is read whose forge tells of what happens, and was heard: the safety net.
    pub hooked_interval: Duration,
    /// Which pull requests of watched remotes are built.
    pub pull_requests: PullRequests,
    /// How often the refs of hosted repositories are compared although no push was announced: the safety net.
    pub safety_interval: Duration,
    /// How often a loop looks although nobody woke it: what a lost wake-up costs.
    pub tick: Duration,
    /// How long a job that is stopped may take to end before all of it is killed.
    pub stop_grace: Duration,
    /// How long requests to an old deployment may go on after the route left it.
    pub drain: Duration,
    /// How long a stage may take that says nothing about it.
    pub stage_timeout: Duration,
    /// At most this many bytes of log a stage.
    pub log_limit: u64,
    /// What a stage may use.
    pub limits: Limits,
    /// At most this many bytes a report file.
    pub report_limit: u64,
    /// Whether jobs run in the sandbox.
    pub isolation: Isolation,
    /// Whether jobs may reach the network.
    pub network: bool,
    /// Whether runs deploy what they build; `false` leaves deploy stages out of every plan.
    pub deploys: bool,
    /// How long ended runs are kept with their logs and artifacts; the last ten of each webhook are always kept.
    pub keep_runs: Duration,
    /// How long the logs of a deployment are kept after it ended.
    pub keep_deployments: Duration,
    /// How long an unused cache entry is kept.
    pub keep_cache: Duration,
    /// How long events are kept with their deliveries; what is still to be delivered is kept in any case.
    pub keep_events: Duration,
    /// The room that events may take, in bytes; 0 is without a limit. What is still to be delivered is kept in any case.
    pub keep_event_bytes: u64,
    /// For how long an event is known again when it comes a second time, also one that was forgotten.
    pub keep_event_keys: Duration,
    /// How long events that were given up are kept whole whose trigger hides fields.
    pub keep_given_up: Duration,
    /// How long the traffic of each minute is kept.
    pub keep_traffic: Duration,
    /// How often retention looks.
    pub retention_interval: Duration,
}

impl Settings {
    /// The defaults, with `data` as the data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            public_url: String::new(),
            executors: 2,
            poll_interval: Duration::from_secs(30),
            quiet_interval: Duration::from_secs(4 * 60),
            hooked_interval: Duration::from_secs(15 * 60),
            pull_requests: PullRequests::All,
            safety_interval: Duration::from_secs(300),
            tick: Duration::from_secs(5),
            stop_grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            stage_timeout: Duration::from_secs(60 * 60),
            log_limit: 64 << 20,
            limits: Limits::default(),
            report_limit: 16 << 20,
            isolation: Isolation::Sandbox,
            network: true,
            deploys: true,
            keep_runs: Duration::from_secs(90 * 24 * 3600),
            keep_deployments: Duration::from_secs(7 * 24 * 3600),
            keep_cache: Duration::from_secs(14 * 24 * 3600),
            keep_events: Duration::from_secs(30 * 24 * 3600),
            keep_event_bytes: 10 << 30,
            keep_event_keys: Duration::from_secs(30 * 24 * 3600),
            keep_given_up: Duration::from_secs(7 * 24 * 3600),
            keep_traffic: Duration::from_secs(30 * 24 * 3600),
            retention_interval: Duration::from_secs(3600),
        }
    }
}
