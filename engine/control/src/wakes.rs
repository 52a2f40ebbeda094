//! Wake-ups between the loops, and lossy news of runs for whoever watches. Neither carries state: that is in the store.

use std::sync::Arc;
use std::time::Duration;

use hookwright_core::RunId;
use hookwright_core::port::{Notifier, Topic};
use tokio::sync::{Notify, broadcast, watch};

/// How much news a slow watcher may miss before it is told that it missed some.
const NEWS: usize = 256;

/// A run or one of its stages changed: read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunChanged {
    /// Which.
    pub run: RunId,
}

/// Wakes loops by topic. One loop waits for each topic; a wake-up that nobody waits for is kept for the next look.
#[derive(Clone)]
pub struct Wakes {
    inner: Arc<Inner>,
}

struct Inner {
    intake: Notify,
    scheduler: Notify,
    promotion: Notify,
    reconcile: Notify,
    subscriptions: Notify,
    repository_hooks: Notify,
    outbox: Notify,
    runs: broadcast::Sender<RunChanged>,
    /// Counts everything that may have changed, for whoever watches all of it.
    pulse: watch::Sender<u64>,
}

impl Wakes {
    /// Wake-ups that nobody has made or waits for yet.
    pub fn new() -> Self {
        let inner = Inner {
            intake: Notify::new(),
            scheduler: Notify::new(),
            promotion: Notify::new(),
            reconcile: Notify::new(),
            subscriptions: Notify::new(),
            repository_hooks: Notify::new(),
            outbox: Notify::new(),
            runs: broadcast::Sender::new(NEWS),
            pulse: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns when somebody woke `topic` or after `tick`, whichever is first. Cancel-safe.
    pub async fn wait(&self, topic: Topic, tick: Duration) {
        // An elapsed tick is as good a reason to look as a wake-up, so the difference is dropped.
        let _ = tokio::time::timeout(tick, self.notify(topic).notified()).await;
    }

    /// Tells watchers that a run changed. Nobody watching is fine.
    pub fn run_changed(&self, run: RunId) {
        let _ = self.inner.runs.send(RunChanged { run });
        self.beat();
    }

    /// Changes whenever anything may have changed; says nothing of what.
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.inner.pulse.subscribe()
    }

    /// Tells whoever watches everything that something may have changed.
    pub(crate) fn beat(&self) {
        self.inner.pulse.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// News of runs from now on; a slow receiver lags and reads the store again.
    pub fn runs(&self) -> broadcast::Receiver<RunChanged> {
        self.inner.runs.subscribe()
    }

    fn notify(&self, topic: Topic) -> &Notify {
        match topic {
            Topic::Intake => &self.inner.intake,
            Topic::Scheduler => &self.inner.scheduler,
            Topic::Promotion => &self.inner.promotion,
            Topic::Reconcile => &self.inner.reconcile,
            Topic::Subscriptions => &self.inner.subscriptions,
            Topic::RepositoryHooks => &self.inner.repository_hooks,
            Topic::Outbox => &self.inner.outbox,
        }
    }
}

impl Default for Wakes {
    fn default() -> Self {
        Self::new()
    }
}

impl Notifier for Wakes {
    fn wake(&self, topic: Topic) {
        self.notify(topic).notify_one();
        self.beat();
    }
}
