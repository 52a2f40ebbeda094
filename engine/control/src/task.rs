//! The one place where the engine spawns tasks: each has a name, a panic is logged and ends nothing else, shutdown joins all.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// The engine's tasks. Cloning it clones the handle.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that `shutdown` waits for.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let inner = tokio::spawn(future);
        self.tracker.spawn(async move {
            if let Err(end) = inner.await
                && end.is_panic()
            {
                error!(task = name, "the task `{name}` panicked");
            }
        });
    }

    /// Cancelled when the engine shuts down; loops select on it between two units of work.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Asks every loop to end and waits until all tasks did.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
