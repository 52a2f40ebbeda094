//! Moves what was written out of SQLite's log into the database beside the writing, so that no event waits for it.
//!
//! By itself SQLite does so within the commit that makes the log long enough, and everybody waits for two more `fsync`s and for every page. But it
//! begins the log anew only once all of it was moved, which beside a writer that never rests is never: what is written meanwhile is left. So the
//! last few pages are moved while the writer waits for it.

use tokio::task::JoinHandle;
use tracing::warn;

use crate::Store;

/// After so many pages of 4 KiB that were written; what several writes change is moved once.
const PAGES: usize = 2048;

/// How many pages a part changes, its body aside.
const PART: usize = 2;

/// What was left is moved again beside the writing until it is at most so many pages: the writer has to wait a few milliseconds for those,
const FEW: u64 = 256;

/// or until that was tried so often.
const ROUNDS: usize = 3;

/// Starts checkpoints, one at a time.
pub(super) struct Checkpoints {
    store: Store,
    /// Pages that were written since the last one began.
    pages: usize,
    running: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn new(store: Store) -> Self {
        Self { store, pages: 0, running: None }
    }

    /// Notes how much was written. To be waited for before more is.
    pub(super) async fn wrote(&mut self, parts: usize, bytes: usize) {
        self.pages += parts * PART + bytes / 4096;
        if self.running.take_if(|running| running.is_finished()).is_some() {
            checkpoint(&self.store).await;
        } else if self.pages >= PAGES && self.running.is_none() {
            self.pages = 0;
            self.running = Some(tokio::spawn(beside(self.store.clone())));
        }
    }

    /// Waits for the one that runs.
    pub(super) async fn ended(self) {
        if let Some(running) = self.running {
            // It logs what goes wrong.
            let _ = running.await;
        }
    }
}

/// Moves until little is left.
async fn beside(store: Store) {
    for _ in 0..ROUNDS {
        if checkpoint(&store).await <= FEW {
            return;
        }
    }
}

/// Moves what is in the log; returns how many pages it left there.
async fn checkpoint(store: &Store) -> u64 {
    store.checkpoint().await.unwrap_or_else(|error| {
        // The writer's own connection does it once the log is long.
        warn!(error = &error as &dyn std::error::Error, "the database's log could not be moved into it; it is tried again");
        u64::MAX
    })
}
