//! Wake-ups.

/// Which loop of the engine has something to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A repository's refs may have moved, or an event of its own hook was stored.
    Intake,
    /// A stage run may be ready, or a job ended.
    Scheduler,
    /// A gate may answer otherwise.
    Promotion,
    /// A deployment or an instance changed.
    Reconcile,
    /// A trigger, its address or its secret may have changed.
    Subscriptions,
    /// A repository was added or forgotten, or its own hook did not announce what moved.
    RepositoryHooks,
    /// The outbox has rows.
    Outbox,
}

/// Wakes a loop. Wake-ups carry no data and may be lost, doubled or early: the loop re-reads what is so. Never blocks.
pub trait Notifier: Send + Sync + 'static {
    /// Somebody should look.
    fn wake(&self, topic: Topic);
}
