//! Runs the store's writer of events.
//!
//! On SQLite it has a thread of its own: writing a batch is a dozen turns between the writer and SQLite's thread, and as a task among others it would
//! wait for a worker of the runtime at each, and wake one up. What is written to PostgreSQL comes by a socket that the runtime watches.

use anyhow::{Context, Result};
use hookwright_store::{Inbox, Store};
use tokio::runtime::Builder;

/// Begins to write events; the handle is for whoever has some.
pub(crate) async fn start(store: &Store) -> Result<Inbox> {
    let (inbox, writer) = store.inbox().await?;
    if store.is_shared() {
        tokio::spawn(writer);
        return Ok(inbox);
    }
    // With a clock of its own it does not depend on how the rest of the daemon ends.
    let runtime = Builder::new_current_thread().enable_time().build().context("cannot start the writer of events")?;
    let thread = std::thread::Builder::new().name("event-writer".to_owned());
    thread.spawn(move || runtime.block_on(writer)).context("cannot start the writer of events")?;
    Ok(inbox)
}
