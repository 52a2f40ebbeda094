//! The status page, the JSON API at `/api/v1` with its OpenAPI document, `/metrics`, `/healthz` and `/readyz`. Handlers are glue: who calls,
//! what is asked, one call, one view. Pages and API share `caller`, the one place where rights are asked.

mod asset;
mod audit;
mod caller;
mod client;
mod compress;
mod document;
mod error;
mod event;
mod examine;
mod grant;
mod health;
mod hold;
mod kept;
mod log;
mod metrics;
mod openid;
mod page;
mod pages;
mod password;
mod promotion;
mod public;
mod release;
mod removal;
mod repository;
mod request;
mod run;
mod secret;
mod show;
mod stream;
mod strips;
mod template;
mod throttle;
mod token;
mod traffic;
mod trigger;
mod urls;
mod user;
mod visitor;
mod webhook;
mod words;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hookwright_control::Control;
use hookwright_core::port::{ArtifactStore, Leadership, Runtime};
use hookwright_core::{Clock, Digest, IdSource};
use hookwright_store::Store;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use examine::Examined;
use kept::KeptBoard;
use password::Passwords;
use public::PublicStatus;
use strips::KeptStrips;
use throttle::Throttle;

pub use client::client_address;
pub use document::openapi;
pub use examine::{Examine, Finding, Fitness};
pub use metrics::Metrics;
pub use openid::OpenId;

/// The largest body of a request to the API, in bytes; the largest thing sent is a secret of 64 KiB, escaped.
const BODY_LIMIT: usize = 1 << 20;

/// How many event streams are open at the same time: each holds a connection, and some read a log again and again.
const STREAMS: usize = 512;

/// How often an address may fail to sign in within a minute.
const TRIES: u32 = 10;

/// How often all addresses together may fail to sign in as one user within a minute.
const TRIES_OF_USER: u32 = 30;

/// What the API and the pages work with.
pub struct WebOptions {
    /// For reading.
    pub store: Store,
    /// For doing.
    pub control: Control,
    /// For downloads.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// For instances and their logs.
    pub runtime: Arc<dyn Runtime>,
    /// Request ids.
    pub ids: Arc<dyn IdSource>,
    /// Ages on pages, and how often somebody tried to sign in.
    pub clock: Arc<dyn Clock>,
    /// Where handlers are reached, when they have a listener of their own: `http://127.0.0.1:8081`.
    pub gateway: Option<String>,
    /// The daemon's settings for people: name, value, and what it means.
    pub settings: Vec<[String; 3]>,
    /// Looks at the machine as `doctor` does, which starts programs: whether each thing is well, what it is, and what was found.
    pub examine: Examine,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Whether `/metrics` is for anybody; otherwise it takes a token that reads everything.
    pub metrics_public: bool,
    /// How many jobs run at the same time, for `/metrics`.
    pub executors: usize,
    /// Under which address the outside reaches the daemon, without a slash at its end; empty when nobody said.
    pub public_url: String,
    /// The networks of reverse proxies whose word about a client's address and scheme is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The provider that people sign in at, if there is one. It takes a `public_url`.
    pub openid: Option<OpenId>,
    /// How often a quiet event stream says that it lives, and asks whether its token still holds.
    pub heartbeat: Duration,
    /// Ends every event stream, so that the daemon's end does not wait for them.
    pub stopping: CancellationToken,
    /// Whether this daemon leads or follows.
    pub leadership: Arc<dyn Leadership>,
}

/// What handlers are given.
#[derive(Clone)]
pub(crate) struct WebState {
    options: Arc<WebOptions>,
    /// The OpenAPI document as it is served.
    pub(crate) document: Arc<str>,
    /// One permit for each event stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
    /// Tries to sign in, by address.
    pub(crate) tries: Arc<Throttle<Option<IpAddr>>>,
    /// Tries to sign in, by the name that was typed.
    pub(crate) tries_of_user: Arc<Throttle<Digest>>,
    pub(crate) passwords: Passwords,
    /// What anybody may know.
    pub(crate) public: Arc<PublicStatus>,
    /// What was found on the machine when it was looked at last.
    pub(crate) examined: Arc<Examined>,
    /// Requests of the last hour.
    pub(crate) strips: Arc<KeptStrips>,
    /// What else the board is made of.
    pub(crate) board: Arc<KeptBoard>,
}

impl Deref for WebState {
    type Target = WebOptions;

    fn deref(&self) -> &WebOptions {
        &self.options
    }
}

/// Every route, as it is served and as it is documented.
fn routes() -> OpenApiRouter<WebState> {
    let api = OpenApiRouter::new()
        .merge(audit::routes())
        .merge(document::routes())
        .merge(event::routes())
        .merge(promotion::routes())
        .merge(hold::routes())
        .merge(public::routes())
        .merge(release::routes())
        .merge(removal::routes())
        .merge(repository::routes())
        .merge(run::routes())
        .merge(secret::routes())
        .merge(stream::routes())
        .merge(token::routes())
        .merge(traffic::routes())
        .merge(trigger::routes())
        .merge(user::routes())
        .merge(webhook::routes());
    OpenApiRouter::new().nest("/api/v1", api).merge(health::routes()).merge(metrics::routes())
}

/// The API and the pages as a router. It answers for every address that no other router has.
pub fn router(options: WebOptions) -> Router {
    let guard = request::Guard::new(options.ids.clone());
    let document = document::openapi().to_string().into();
    let state = WebState {
        options: Arc::new(options),
        document,
        streams: Arc::new(Semaphore::new(STREAMS)),
        tries: Arc::new(Throttle::new(TRIES)),
        tries_of_user: Arc::new(Throttle::new(TRIES_OF_USER)),
        passwords: Passwords::default(),
        public: Arc::default(),
        examined: Arc::default(),
        strips: Arc::default(),
        board: Arc::default(),
    };
    Router::from(routes())
        .merge(pages::routes())
        .fallback(error::unknown)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn_with_state(guard, request::guard))
        .with_state(state)
}
