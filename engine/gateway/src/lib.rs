//! Everything reachable from outside that is no page and no API: handlers at `/w/`, git at `/git/`, images at `/v2/`.
//! Invariant: the daemon's own tokens and cookies never reach a handler, nor come from one.

mod authenticate;
mod git;
mod headers;
mod problem;
mod proxy;
mod registry;
mod table;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hookwright_core::port::{GitHost, ImageRegistry, Meter, PushSink};
use hookwright_core::{Clock, IdSource};
use hookwright_store::Store;

pub use authenticate::{presented_token, token_holder};
pub use problem::Problem;

use proxy::Proxy;
use table::Table;

/// How a gateway behaves.
pub struct GatewayOptions {
    /// For tokens.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub ids: Arc<dyn IdSource>,
    /// The largest body a handler is sent, in bytes.
    pub body_limit: u64,
    /// How long a handler may take until its answer begins; a route may say less.
    pub response_timeout: Duration,
    /// Whether handlers share an origin with the daemon, so that their answers are sandboxed by Content-Security-Policy.
    pub sandbox_csp: bool,
}

/// The gateway. Cloning it clones a handle; it is also the engine's `RouteTable`.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) table: Arc<Table>,
    proxy: Proxy,
    options: Arc<GatewayOptions>,
}

impl Gateway {
    /// A gateway without routes.
    pub fn new(options: GatewayOptions) -> Self {
        let (table, options) = (Arc::<Table>::default(), Arc::new(options));
        Self { proxy: Proxy::new(table.clone(), options.clone()), table, options }
    }

    /// The same gateway, counting what it answers.
    #[must_use]
    pub fn metered(mut self, meter: Arc<dyn Meter>) -> Self {
        self.proxy.meter = meter;
        self
    }

    /// `/w/…`
    pub fn router(&self) -> Router {
        proxy::routes(self.proxy.clone())
    }

    /// `/git/…`
    pub fn git_router(&self, host: Arc<dyn GitHost>, pushed: Arc<dyn PushSink>) -> Router {
        git::routes(git::GitState { host, pushed, store: self.options.store.clone(), registering: Arc::default() })
    }

    /// `/v2/…`
    pub fn registry_router(&self, registry: Arc<dyn ImageRegistry>) -> Router {
        registry::routes(registry::RegistryState { registry, store: self.options.store.clone(), ids: self.options.ids.clone() })
    }
}
