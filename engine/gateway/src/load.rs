//! What is with each deployment and what has passed to it: counted without a lock, written to the store every few seconds.
//! A crash loses what was counted since; nothing is counted twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookwright_core::{Clock, LATENCY_BOUNDS, Traffic};
use hookwright_store::Store;
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::table::Table;

/// How often counts are written; a count belongs to the minute in which it is.
const FLUSH: Duration = Duration::from_secs(10);

/// The load of a deployment.
#[derive(Default)]
pub(crate) struct Load {
    in_flight: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
}

impl Load {
    /// How many requests are with the deployment.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Counts a request that has been answered; `None` for one that was not.
    pub(crate) fn count(&self, status: Option<StatusCode>, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if status.is_none_or(|status| status.is_server_error()) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.latency[Traffic::class(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether everything that was counted is taken.
    pub(crate) fn is_taken(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    /// Takes what was counted.
    fn take(&self) -> Traffic {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let mut latency = Traffic::default().latency;
        for (count, counter) in latency.iter_mut().zip(&self.latency) {
            *count = take(counter);
        }
        Traffic { requests: take(&self.requests), errors: take(&self.errors), latency }
    }

    /// Gives back what could not be written.
    fn give_back(&self, traffic: &Traffic) {
        self.requests.fetch_add(traffic.requests, Ordering::Relaxed);
        self.errors.fetch_add(traffic.errors, Ordering::Relaxed);
        for (counter, count) in self.latency.iter().zip(traffic.latency) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// A request that is with a deployment until this is dropped.
pub(crate) struct InFlight(Arc<Load>);

impl InFlight {
    /// Enters a deployment.
    pub(crate) fn enter(load: &Arc<Load>) -> Self {
        load.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(load))
    }

    /// The load it is part of.
    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Writes counts until the gateway stops, and once more then.
pub(crate) async fn run(table: Arc<Table>, store: Store, clock: Arc<dyn Clock>, stopping: CancellationToken) {
    loop {
        let ends = tokio::select! {
            () = stopping.cancelled() => true,
            () = tokio::time::sleep(FLUSH) => false,
        };
        flush(&table, &store, clock.as_ref()).await;
        if ends {
            return;
        }
    }
}

async fn flush(table: &Table, store: &Store, clock: &dyn Clock) {
    let taken: Vec<_> = table.loads().into_iter().filter(|(_, load)| !load.is_taken()).map(|(id, load)| (id, load.take(), load)).collect();
    if taken.is_empty() {
        return;
    }
    let rows: Vec<_> = taken.iter().map(|(id, traffic, _)| (*id, *traffic)).collect();
    if let Err(error) = store.traffic_add(clock.now(), &rows).await {
        warn!(error = &error as &dyn std::error::Error, "traffic could not be written; it is kept and written later");
        for (_, traffic, load) in &taken {
            load.give_back(traffic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_counted_once_and_what_is_given_back_is_not_lost() {
        let load = Load::default();
        for (status, millis) in
            [(Some(StatusCode::OK), 3), (Some(StatusCode::BAD_GATEWAY), 30), (Some(StatusCode::NOT_FOUND), 3), (None, 30_000)]
        {
            load.count(status, Duration::from_millis(millis));
        }
        let traffic = load.take();
        assert_eq!((traffic.requests, traffic.errors, traffic.quantile(0.5)), (4, 2, Some(5)));
        assert!(load.is_taken() && load.take().is_empty());
        load.give_back(&traffic);
        assert_eq!(load.take(), traffic);
    }
}
