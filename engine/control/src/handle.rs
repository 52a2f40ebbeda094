//! The handle on the engine: starts its loops, gives out what people may ask of it, and ends it.

use std::sync::Arc;

use hookwright_core::{LogChunk, LogCursor};
use tokio::sync::broadcast;

use crate::{Deps, RunChanged, Tasks};

/// The engine. Cloning it clones the handle; the loops end with [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Deps,
    tasks: Tasks,
}

impl Control {
    /// Starts the loops.
    pub fn start(deps: Deps) -> Self {
        let tasks = Tasks::new();
        Self { inner: Arc::new(Inner { deps, tasks }) }
    }

    /// Ends the loops and waits for them. Jobs and deployments run on under their supervisors.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown().await;
    }

    /// News of runs from now on; lossy.
    pub fn changes(&self) -> broadcast::Receiver<RunChanged> {
        self.inner.deps.wakes.runs()
    }

    /// What the engine works with; for the modules that add actions to this handle.
    pub(crate) fn deps(&self) -> &Deps {
        &self.inner.deps
    }
}
