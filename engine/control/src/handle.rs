//! The handle on the engine: starts its loops, gives out what people may ask of it, and ends it.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::intake::{self, Looks};
use crate::{Deps, Result, RunChanged, Tasks, event, follow, promotion, reconcile, retention, scheduler, subscription};

/// The engine. Cloning it clones the handle; the loops begin with [`lead`](Self::lead) and end with [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Deps,
    tasks: Tasks,
    /// What runs while another daemon leads.
    following: Tasks,
    looks: Looks,
}

impl Control {
    /// The engine at rest: it can be asked, and does nothing by itself.
    pub fn new(deps: Deps) -> Self {
        Self { inner: Arc::new(Inner { deps, tasks: Tasks::new(), following: Tasks::new(), looks: Looks::default() }) }
    }

    /// Keeps the gateway knowing what receives events, as the daemon that leads has it, until [`lead`](Self::lead).
    pub fn follow(&self) {
        let Inner { deps, following, .. } = &*self.inner;
        following.spawn("follow", follow::run(deps.clone(), following.clone()));
    }

    /// Fills the gateway's routes from the store, then starts the loops.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) when the store cannot be read.
    pub async fn lead(&self) -> Result<()> {
        let Inner { deps, tasks, following, looks } = &*self.inner;
        following.shutdown().await;
        let reconciled = reconcile::fill_routes(deps).await?;
        intake::fill_hooks(deps).await?;
        tasks.spawn("intake", intake::run(deps.clone(), looks.clone(), tasks.clone()));
        tasks.spawn("scheduler", scheduler::run(deps.clone(), tasks.clone()));
        tasks.spawn("retention", retention::run(deps.clone(), tasks.clone()));
        tasks.spawn("promotion", promotion::run(deps.clone(), tasks.clone()));
        tasks.spawn("reconcile", reconcile::run(deps.clone(), tasks.clone(), reconciled));
        tasks.spawn("subscriptions", subscription::run(deps.clone(), tasks.clone()));
        tasks.spawn("repository-hooks", intake::run_hooks(deps.clone(), looks.clone(), tasks.clone()));
        tasks.spawn("event-news", event::tell_watchers(deps.clone(), tasks.clone()));
        Ok(())
    }

    /// Ends the loops and waits for them. Jobs and deployments run on under their supervisors.
    pub async fn shutdown(&self) {
        self.inner.following.shutdown().await;
        self.inner.tasks.shutdown().await;
    }

    /// News of runs from now on; lossy.
    pub fn changes(&self) -> broadcast::Receiver<RunChanged> {
        self.inner.deps.wakes.runs()
    }

    /// Changes whenever anything may have changed: a run, a promotion, a deployment, an instance. For pages that look again then.
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.inner.deps.wakes.pulse()
    }

    pub(crate) fn looks(&self) -> &Looks {
        &self.inner.looks
    }

    /// What the engine works with; for the modules that add actions to this handle.
    pub(crate) fn deps(&self) -> &Deps {
        &self.inner.deps
    }
}
