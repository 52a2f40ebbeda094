//! `/hooks/<address>`: receives events for the triggers of what is deployed.
//! Invariant: an event is verified, then stored, then acknowledged; nobody is told 200 before the event is durable.

mod hook;
mod receive;
mod refusals;
mod to_the_end;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use hookwright_core::port::{Leadership, Meter, Notifier};
use hookwright_core::{Clock, IdSource};
use hookwright_store::{Inbox, Store};
use http::Uri;
use tokio::sync::Semaphore;

pub(crate) use hook::Hook;
pub(crate) use refusals::Refusals;

use crate::delivery::Deliveries;
use crate::identify;
use crate::table::Table;

/// Below it events are received.
const PREFIX: &str = "/hooks/";

/// How long a source may take to send its event.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Bytes of bodies that are being read, in portions of [`PORTION`].
const READING: usize = 4096;
const PORTION: usize = 64 << 10;

/// What the inbox works with.
pub(crate) struct InboxState {
    pub(crate) table: Arc<Table>,
    pub(crate) store: Store,
    pub(crate) inbox: Inbox,
    pub(crate) deliveries: Deliveries,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) leadership: Arc<dyn Leadership>,
    /// What is not taken.
    pub(crate) refusals: Arc<Refusals>,
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

/// Receives events. It stands beside the router and not behind it, as [`Proxy`](crate::Proxy) does: what every event pays for is in this folder.
#[derive(Clone)]
pub struct Hooks {
    pub(crate) state: Arc<InboxState>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Hooks {
    /// Whether a request is for an event source's address.
    pub fn takes(&self, uri: &Uri) -> bool {
        address(uri).is_some()
    }

    /// What whoever sent the request, from this address, is told.
    pub async fn answer(&self, request: Request, from: Option<IpAddr>) -> Response {
        let address = address(request.uri()).unwrap_or_default().to_owned();
        let id = self.ids.uuid().simple().to_string();
        identify::named(self.state.receive(&address, request, from).await, &id)
    }
}

fn address(uri: &Uri) -> Option<&str> {
    uri.path().strip_prefix(PREFIX).filter(|address| !address.is_empty() && !address.contains('/'))
}
