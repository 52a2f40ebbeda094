//! `/hooks/<address>`: receives events for the triggers of what is deployed.
//! Invariant: an event is verified, then stored, then acknowledged; nobody is told 200 before the event is durable.

mod hook;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use hookwright_core::Clock;
use hookwright_core::port::{Leadership, Meter, Notifier};
use hookwright_store::{Inbox, Store};
use tokio::sync::Semaphore;

pub(crate) use hook::Hook;

use crate::delivery::Deliveries;
use crate::table::Table;

/// How long a source may take to send its event.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Bytes of bodies that are being read, in portions of [`PORTION`].
const READING: usize = 4096;
const PORTION: usize = 64 << 10;

/// What the inbox works with.
#[derive(Clone)]
pub(crate) struct InboxState {
    pub(crate) table: Arc<Table>,
    pub(crate) store: Store,
    pub(crate) inbox: Inbox,
    pub(crate) deliveries: Deliveries,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) leadership: Arc<dyn Leadership>,
    /// Wakes the engine when an event is for itself, or an address is not known.
    pub(crate) notifier: Arc<dyn Notifier>,
    /// The largest event, in bytes.
    pub(crate) body_limit: u64,
    /// Bounds the memory of all bodies together.
    pub(crate) reading: Arc<Semaphore>,
}

/// How many portions of memory may be in use.
pub(crate) fn reading() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(READING))
}

pub(crate) fn routes(state: InboxState) -> Router {
    Router::new().route("/hooks/{address}", any(receive::receive)).layer(axum::extract::DefaultBodyLimit::disable()).with_state(state)
}
