//! Everything reachable from outside that is no page and no API: handlers at `/w/`, events at `/hooks/`, git at `/git/`, images at `/v2/`.
//! Invariant: the daemon's own tokens and cookies never reach a handler, nor come from one.

mod authenticate;
mod clear;
mod clients_body;
mod delivery;
mod git;
mod handlers;
mod headers;
mod identify;
mod inbox;
mod load;
mod problem;
mod proxy;
mod registry;
mod relay;
mod schedule;
mod table;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use hookwright_core::port::{Deliverer, GitHost, ImageRegistry, InboxAnswer, Leadership, Meter, Notifier, PushSink, SampleEvent};
use hookwright_core::{Channel, Clock, HookAddress, IdSource, PortError, SubscriptionId, Timestamp};
use hookwright_store::{Inbox, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use authenticate::{presented_token, token_holder};
pub use clear::refuse_unclear;
pub use inbox::Hooks;
pub use problem::Problem;
pub use proxy::Proxy;
pub use relay::{Diverted, Listener, Relay};

use delivery::{Deliveries, DeliveryParts, Sender};
use inbox::InboxState;
use schedule::Schedules;
use table::Table;

/// What is read of an answer to an event that was taken in by hand, in bytes.
const ANSWER: usize = 64 << 10;

/// How a gateway behaves.
pub struct GatewayOptions {
    /// For tokens.
    pub store: Store,
    /// The writer of events.
    pub inbox: Inbox,
    /// The largest event that is taken, in bytes.
    pub event_limit: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub ids: Arc<dyn IdSource>,
    /// The largest body a handler is sent, in bytes.
    pub body_limit: u64,
    /// How long a handler may take until its answer begins; a route may say less.
    pub response_timeout: Duration,
    /// Counts what happens.
    pub meter: Arc<dyn Meter>,
    /// Whether this daemon delivers, or only takes events in.
    pub leadership: Arc<dyn Leadership>,
    /// Has the engine look whether an address is known by now that was not, and wakes it when an event of a watched repository's own hook was stored.
    pub notifier: Arc<dyn Notifier>,
    /// Whether handlers share an origin with the daemon, so that their answers are sandboxed by Content-Security-Policy.
    pub sandbox_csp: bool,
}

/// The gateway. Cloning it clones a handle; it is also the engine's `RouteTable`.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) table: Arc<Table>,
    proxy: Proxy,
    hooks: Hooks,
    deliveries: Deliveries,
    options: Arc<GatewayOptions>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Gateway {
    /// A gateway without routes.
    pub fn new(options: GatewayOptions) -> Self {
        let (table, options) = (Arc::<Table>::default(), Arc::new(options));
        let proxy = Proxy::new(table.clone(), options.clone());
        let (store, inbox, clock) = (options.store.clone(), options.inbox.clone(), options.clock.clone());
        let sender = Sender { handlers: proxy.handlers.clone(), clock: clock.clone(), inbox, meter: options.meter.clone() };
        let leadership = options.leadership.clone();
        let deliveries = Deliveries::new(DeliveryParts { store, clock, table: table.clone(), sender, leadership });
        let hooks = Hooks { state: Arc::new(inbox_state(&table, &deliveries, &options)), ids: options.ids.clone() };
        Self { table, proxy, hooks, deliveries, options, tasks: TaskTracker::new(), stopping: CancellationToken::new() }
    }

    /// Goes on with the deliveries that an earlier process left or another one stores, and fires schedules from now on. The routes are to be filled before.
    ///
    /// # Errors
    /// When the database does not say what is to be delivered.
    pub async fn start(&self) -> Result<(), hookwright_store::Error> {
        self.deliveries.resume().await?;
        let schedules = Schedules {
            table: self.table.clone(),
            store: self.options.store.clone(),
            inbox: self.options.inbox.clone(),
            deliveries: self.deliveries.clone(),
            clock: self.options.clock.clone(),
        };
        self.tasks.spawn(schedules.run(self.stopping.clone()));
        self.tasks.spawn(self.deliveries.clone().look_for_others(
            self.options.inbox.others(),
            self.options.notifier.clone(),
            self.stopping.clone(),
        ));
        let (store, clock) = (self.options.store.clone(), self.options.clock.clone());
        self.tasks.spawn(load::run(self.table.clone(), store, clock, self.stopping.clone()));
        Ok(())
    }

    /// Writes down what is refused at the addresses of triggers from now on, whoever leads.
    pub fn write_refusals(&self) {
        let (refusals, store) = (self.hooks.state.refusals.clone(), self.options.store.clone());
        self.tasks.spawn(refusals.run(store, self.stopping.clone()));
    }

    /// Ends deliveries and schedules and waits for them.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.deliveries.shutdown().await;
    }

    /// `/hooks/…`
    pub fn hooks(&self) -> Hooks {
        self.hooks.clone()
    }

    /// The address of a subscription, and what receives there.
    fn receiver(&self, subscription: SubscriptionId) -> Result<(HookAddress, Arc<inbox::Hook>), PortError> {
        let found = self.table.trigger(subscription).and_then(|route| {
            let address = route.trigger.address.clone()?;
            let hook = self.table.hook(address.as_str())?;
            Some((address, hook))
        });
        found.ok_or_else(|| PortError::failed("the trigger does not fire in this environment, or nothing is deployed there"))
    }

    /// `/w/…`
    pub fn proxy(&self) -> Proxy {
        self.proxy.clone()
    }

    /// `/git/…`
    pub fn git_router(&self, host: Arc<dyn GitHost>, pushed: Arc<dyn PushSink>) -> Router {
        let routes = git::routes(git::GitState { host, pushed, store: self.options.store.clone(), registering: Arc::default() });
        identify::identified(routes, self.options.ids.clone())
    }

    /// `/v2/…`
    pub fn registry_router(&self, registry: Arc<dyn ImageRegistry>) -> Router {
        registry::routes(registry::RegistryState { registry, store: self.options.store.clone(), ids: self.options.ids.clone() })
    }
}

fn inbox_state(table: &Arc<Table>, deliveries: &Deliveries, options: &GatewayOptions) -> InboxState {
    InboxState {
        table: table.clone(),
        store: options.store.clone(),
        inbox: options.inbox.clone(),
        deliveries: deliveries.clone(),
        clock: options.clock.clone(),
        meter: options.meter.clone(),
        leadership: options.leadership.clone(),
        refusals: Arc::default(),
        notifier: options.notifier.clone(),
        body_limit: options.event_limit,
        reading: inbox::reading(),
    }
}

/// The header of an event that was read from its source, because the source could not deliver it.
const CAUGHT_UP: &str = "x-hookwright-caught-up";

/// What is to be done besides when a trigger leaves its secret to its source, and a person registers it.
const UNNAMED: &str = "The trigger names no secret: declare one under `config:`, name it in the trigger as `secret:`, and set it with \
    `hookwright secret set`. Or give the daemon credentials of the source (`providers:` in its settings): then nothing of this is to be done.\n";

#[async_trait]
impl Deliverer for Gateway {
    fn wake(&self, subscription: SubscriptionId) {
        self.deliveries.wake(subscription);
    }

    fn steps(&self, subscription: SubscriptionId, address: &str) -> Option<String> {
        let route = self.table.trigger(subscription)?;
        let hook = self.table.hook(route.trigger.address.as_ref()?.as_str())?;
        let steps = hook.definition.as_ref()?.manual.as_ref()?;
        let steps = steps.replace("{address}", address).replace("{secret}", "the trigger's secret, as it is set here");
        let is_told = !route.trigger.verified || !route.trigger.secrets.is_empty();
        // A secret that the source would hand out to the daemon has no place yet.
        Some(if is_told { steps } else { format!("{steps}{UNNAMED}") })
    }

    fn kinds(&self, subscription: SubscriptionId) -> Vec<String> {
        let hook = self.table.trigger(subscription).and_then(|route| self.table.hook(route.trigger.address.as_ref()?.as_str()));
        let definition = hook.and_then(|hook| hook.definition.clone());
        definition.map(|definition| definition.kinds().map(str::to_owned).collect()).unwrap_or_default()
    }

    async fn take(&self, event: SampleEvent) -> InboxAnswer {
        let SampleEvent { path, headers, body } = event;
        let address = path.rsplit('/').next().unwrap_or_default().to_owned();
        let request = headers.iter().fold(http::Request::post(path.as_str()), |request, (name, value)| request.header(name, value));
        let request = match request.body(Body::from(body)) {
            Ok(request) => request,
            Err(error) => return InboxAnswer { status: 400, body: format!("the event cannot be sent: {error}") },
        };
        let (parts, body) = self.hooks.state.receive(&address, request, None).await.into_parts();
        let body = axum::body::to_bytes(body, ANSWER).await.unwrap_or_default();
        InboxAnswer { status: parts.status.as_u16(), body: String::from_utf8_lossy(&body).into_owned() }
    }

    fn caught_up(&self, subscription: SubscriptionId, body: String, now: Timestamp) -> Result<SampleEvent, PortError> {
        let (address, hook) = self.receiver(subscription)?;
        let binding = hook.binding.as_ref().map_err(|reason| PortError::failed(reason.clone()))?;
        let id = self.options.ids.uuid().to_string();
        let mut headers = binding.signed(&body, (now, &id)).map_err(|error| PortError::failed(error.to_string()))?;
        headers.push((CAUGHT_UP.to_owned(), "true".to_owned()));
        Ok(SampleEvent { path: format!("/hooks/{address}"), headers, body })
    }

    fn changed(&self, subscription: SubscriptionId, channel: (&Channel, &str), made_at: Timestamp) -> Result<SampleEvent, PortError> {
        let (address, hook) = self.receiver(subscription)?;
        let binding = hook.binding.as_ref().map_err(|reason| PortError::failed(reason.clone()))?;
        let mut message = binding.changed(channel, made_at).map_err(|error| PortError::failed(error.to_string()))?;
        message.headers.push((CAUGHT_UP.to_owned(), "true".to_owned()));
        Ok(SampleEvent { path: format!("/hooks/{address}"), headers: message.headers, body: message.body })
    }

    async fn sample(
        &self,
        subscription: SubscriptionId,
        kind: Option<&str>,
        sets: &[(String, String)],
        now: Timestamp,
    ) -> Result<SampleEvent, PortError> {
        let (address, hook) = self.receiver(subscription)?;
        let binding = hook.binding.as_ref().map_err(|reason| PortError::failed(reason.clone()))?;
        let id = self.options.ids.uuid().to_string();
        let unread = |error| PortError::errored("the trigger's channels cannot be read").because(error);
        let channels = self.options.store.channel_list(subscription).await.map_err(unread)?;
        let example = binding.example(kind, sets, (now, &id), channels.last()).map_err(|error| PortError::failed(error.to_string()))?;
        Ok(SampleEvent { path: format!("/hooks/{address}"), headers: example.headers, body: example.body })
    }
}
