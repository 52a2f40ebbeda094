//! Moves what was written out of SQLite's log into the database beside the writing, so that no event waits for it.
//!
//! By itself SQLite does so within the commit that makes the log long enough, and everybody waits for two more `fsync`s and for every page.

use tokio::task::JoinHandle;
use tracing::warn;

use crate::Store;

/// After so many parts that were written; a part dirties about three pages of 4 KiB, and what several dirty is moved once.
const PARTS: usize = 2048;

/// Starts checkpoints, one at a time.
pub(super) struct Checkpoints {
    store: Store,
    /// Written since the last one began.
    parts: usize,
    running: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn new(store: Store) -> Self {
        Self { store, parts: 0, running: None }
    }

    /// Notes what was written.
    pub(super) fn wrote(&mut self, parts: usize) {
        self.parts += parts;
        if self.parts < PARTS || self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.parts = 0;
        let store = self.store.clone();
        self.running = Some(tokio::spawn(async move {
            if let Err(error) = store.checkpoint().await {
                // The writer's own connection does it once the log is long.
                warn!(error = &error as &dyn std::error::Error, "the database's log could not be moved into it; it is tried again");
            }
        }));
    }

    /// Waits for the one that runs.
    pub(super) async fn ended(self) {
        if let Some(running) = self.running {
            // It logs what goes wrong.
            let _ = running.await;
        }
    }
}
