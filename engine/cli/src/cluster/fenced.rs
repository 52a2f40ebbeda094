//! Ports to the outside that refuse to act while this daemon may not: the last look before a job or an instance is started or ended, or an event
//! source is told something. What is only read passes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookwright_core::port::{
    ChannelToClose, DeploymentSpec, Executor, ForgeRepository, Job, JobState, Leadership, ListedChanges, ListedDeliveries, Observed,
    OpenedChannel, Registered, RegisteredHook, Runtime, Subscriber, WantedChannel, WantedSubscription,
};
use hookwright_core::{DeploymentId, LogChunk, LogCursor, LogLine, PortError, StageRunId, Timestamp};

/// How often, and how far apart, it is looked whether this daemon may act again.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

/// A port behind the question whether this daemon may act.
pub(crate) struct Fenced<T: ?Sized> {
    leadership: Arc<dyn Leadership>,
    port: Arc<T>,
}

impl<T: ?Sized> Fenced<T> {
    pub(crate) fn new(leadership: Arc<dyn Leadership>, port: Arc<T>) -> Self {
        Self { leadership, port }
    }

    /// Waits a while for the database to confirm that this daemon still leads; one that does not any more begins anew over it.
    async fn acting(&self) -> Result<&T, PortError> {
        for _ in 0..LOOKS {
            if self.leadership.may_act() {
                return Ok(&self.port);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(PortError::errored("this daemon does not lead at the moment, so it does nothing"))
    }
}

#[async_trait]
impl Subscriber for Fenced<dyn Subscriber> {
    fn registers(&self, source: &str) -> bool {
        self.port.registers(source)
    }

    fn forge_of(&self, url: &str) -> Option<ForgeRepository> {
        self.port.forge_of(url)
    }

    fn forge_events(&self, provider: &str) -> Vec<String> {
        self.port.forge_events(provider)
    }

    fn hands_out_secrets(&self, source: &str) -> bool {
        self.port.hands_out_secrets(source)
    }

    fn opens_channels(&self, source: &str) -> bool {
        self.port.opens_channels(source)
    }

    async fn ensure(&self, wanted: &WantedSubscription) -> Result<Registered, PortError> {
        self.acting().await?.ensure(wanted).await
    }

    async fn is_intact(&self, wanted: &WantedSubscription) -> Result<bool, PortError> {
        self.acting().await?.is_intact(wanted).await
    }

    async fn remove(&self, source: &str, repository: &str, url: &str) -> Result<(), PortError> {
        self.acting().await?.remove(source, repository, url).await
    }

    async fn undelivered(&self, hook: RegisteredHook<'_>, after: u64, now: Timestamp) -> Result<Option<ListedDeliveries>, PortError> {
        self.acting().await?.undelivered(hook, after, now).await
    }

    async fn deliver_again(&self, hook: RegisteredHook<'_>, delivery: &str) -> Result<Option<String>, PortError> {
        self.acting().await?.deliver_again(hook, delivery).await
    }

    async fn changes(&self, hook: RegisteredHook<'_>, mark: Option<&str>) -> Result<Option<ListedChanges>, PortError> {
        self.acting().await?.changes(hook, mark).await
    }

    async fn open(&self, channel: WantedChannel<'_>, now: Timestamp) -> Result<Option<OpenedChannel>, PortError> {
        self.acting().await?.open(channel, now).await
    }

    async fn close(&self, channel: ChannelToClose<'_>) -> Result<(), PortError> {
        self.acting().await?.close(channel).await
    }
}

#[async_trait]
impl Executor for Fenced<dyn Executor> {
    async fn start(&self, job: &Job) -> Result<(), PortError> {
        self.acting().await?.start(job).await
    }

    async fn poll(&self, id: &StageRunId) -> Result<JobState, PortError> {
        self.port.poll(id).await
    }

    async fn stop(&self, id: &StageRunId, grace: Duration) -> Result<(), PortError> {
        self.acting().await?.stop(id, grace).await
    }

    async fn logs(&self, id: &StageRunId, from: LogCursor) -> Result<LogChunk, PortError> {
        self.port.logs(id, from).await
    }

    async fn note(&self, id: &StageRunId, text: &str) -> Result<(), PortError> {
        self.acting().await?.note(id, text).await
    }

    async fn forget(&self, id: &StageRunId) -> Result<(), PortError> {
        self.acting().await?.forget(id).await
    }

    async fn tool_version(&self, command: &str) -> Result<Option<String>, PortError> {
        self.port.tool_version(command).await
    }

    fn platform(&self) -> String {
        self.port.platform()
    }
}

#[async_trait]
impl Runtime for Fenced<dyn Runtime> {
    async fn apply(&self, deployment: &DeploymentSpec) -> Result<(), PortError> {
        self.acting().await?.apply(deployment).await
    }

    async fn observe(&self, id: &DeploymentId) -> Result<Option<Observed>, PortError> {
        self.port.observe(id).await
    }

    async fn measure(&self, id: &DeploymentId) -> Result<Option<Observed>, PortError> {
        self.port.measure(id).await
    }

    async fn list(&self) -> Result<Vec<DeploymentId>, PortError> {
        self.port.list().await
    }

    async fn retire(&self, id: &DeploymentId, grace: Duration) -> Result<bool, PortError> {
        self.acting().await?.retire(id, grace).await
    }

    async fn logs(&self, id: &DeploymentId, from: LogCursor) -> Result<LogChunk, PortError> {
        self.port.logs(id, from).await
    }

    async fn last_lines(&self, id: &DeploymentId, lines: usize) -> Result<Vec<LogLine>, PortError> {
        self.port.last_lines(id, lines).await
    }

    async fn forget(&self, id: &DeploymentId) -> Result<(), PortError> {
        self.acting().await?.forget(id).await
    }
}
