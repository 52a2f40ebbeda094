//! The threads that connections are served on, each with a runtime of its own. A connection stays on its thread, and with it go its requests to handlers,
//! their answers, and what comes in by it as an event. On the runtime of the rest of the daemon, whose workers take tasks from each other, waking the other
//! worker for each of these steps cost a third of a request to a handler.
//! Invariant: what may take long runs elsewhere, since a thread that is busy keeps all of its connections waiting.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio_util::task::TaskTracker;

/// The threads of a daemon, which end with the process: what they hold, such as connections to the database, is in use until then.
#[derive(Clone)]
pub(crate) struct Threads(Arc<[Handle]>);

impl Threads {
    /// One for two cores: handlers, stages and the rest of the daemon are on the same machine.
    pub(crate) fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        (0..cores.div_ceil(2)).map(|_| thread()).collect::<Result<_>>().map(Self)
    }

    /// Their runtimes.
    pub(super) fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter()
    }
}

fn thread() -> Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a thread for connections")?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("connections".to_owned());
    thread.spawn(move || runtime.block_on(std::future::pending::<()>())).context("cannot start a thread for connections")?;
    Ok(handle)
}

/// One listener's connections on one of the threads.
pub(super) struct Place<T> {
    pub(super) runtime: Handle,
    pub(super) connections: TaskTracker,
    pub(super) shared: Arc<T>,
}

/// Which place a connection is served at: the one with the fewest, and of these in turn.
#[derive(Default)]
pub(super) struct Turns(AtomicUsize);

impl Turns {
    pub(super) fn next<'a, T>(&self, places: &'a [Place<T>]) -> Option<&'a Place<T>> {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        let (before, after) = places.split_at(turn.checked_rem(places.len())?);
        after.iter().chain(before).min_by_key(|place| place.connections.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_spread_by_how_many_there_are_and_not_only_in_turn() {
        let place = || Place { runtime: Handle::current(), connections: TaskTracker::new(), shared: Arc::new(()) };
        let (places, turns) = ([place(), place(), place()], Turns::default());
        let next = || turns.next(&places).map(|place| place.connections.token()).expect("a place");
        let counts = || places.iter().map(|place| place.connections.len()).collect::<Vec<_>>();
        let kept: Vec<_> = (0..6).map(|_| next()).collect();
        assert_eq!(counts(), [2, 2, 2]);
        // Every third is kept and the others end at once: in turn alone they would all be at one place.
        let more: Vec<_> = (0..9).map(|_| next()).enumerate().filter_map(|(number, one)| (number % 3 == 0).then_some(one)).collect();
        assert_eq!(counts(), [3, 3, 3]);
        drop((kept, more));
        assert_eq!(counts(), [0, 0, 0]);
    }
}
