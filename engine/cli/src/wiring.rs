//! Puts the daemon together: the store, the adapters, the engine, the gateway and the API, and the listeners in front of them.
//! The only place that knows every crate.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use hookwright_control::{Control, Deps, Settings, Wakes};
use hookwright_core::port::{Executor, Isolation, Leadership, Limits, PushNews, PushSink, Runtime, Subscriber};
use hookwright_core::{Clock, Grant, IdSource, RepositoryName, Role, RoleMap, Scope};
use hookwright_gateway::{Gateway, GatewayOptions, Listener, Relay};
use hookwright_identity::{OpenIdOptions, OpenIdProvider};
use hookwright_image::Registry;
use hookwright_runtime::{Bubblewrap, ExecutorOptions, Nursery, ProcessExecutor, ProcessRuntime, RuntimeOptions};
use hookwright_source::{GitSource, GitSourceOptions};
use hookwright_store::{Error as StoreError, NewAudit, SecretKey, Store, StoreOptions};
use hookwright_trigger::{HttpSubscriber, Provider};
use hookwright_web::{Examine, Fitness, Metrics, OpenId, WebOptions};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cluster::{DataFolder, Fenced, Member, MemberOptions, Place, Sockets, begins_anew, reap_inherited};
use crate::command::doctor::{self, Level};
use crate::configuration::{Configuration, OpenIdSettings, Sandbox};
use crate::event_writer;
use crate::open_files;
use crate::server;
use crate::system::{SystemClock, UuidV7};

/// How long a handler may take to end when the demo does.
const HANDLER_GRACE: Duration = Duration::from_secs(5);

/// How long an event source may take to answer.
const PROVIDER_PATIENCE: Duration = Duration::from_secs(20);

/// How long an OpenID provider may take until it is connected.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Who did what the daemon did by itself, in the audit log.
const ENGINE: &str = "hookwright";

/// How often, and how far apart, the lock of the data folder is asked for.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How often a daemon that begins anew asks for its database.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// The engine with its adapters, without listeners. Cloning it clones handles.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) control: Control,
    source: Arc<GitSource>,
    registry: Arc<Registry>,
    runtime: Arc<ProcessRuntime>,
    gateway: Gateway,
    metrics: Arc<Metrics>,
    ids: Arc<UuidV7>,
    member: Member,
    /// Its lock is held as long as the engine leads.
    folder: Arc<DataFolder>,
}

/// A daemon that serves.
pub(crate) struct Daemon {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where handlers are reached: the same, or their own listener.
    pub(crate) gateway_address: SocketAddr,
    /// The admin's token, where this daemon knows it: one that follows makes none.
    pub(crate) admin_token: Option<String>,
    engine: Engine,
    stop: CancellationToken,
    listeners: Vec<JoinHandle<()>>,
    /// What keeps it leading, or has it take over.
    membership: JoinHandle<()>,
}

/// What a daemon listens on.
struct Listening {
    main: TcpListener,
    /// For handlers alone.
    own: Option<TcpListener>,
}

impl Engine {
    /// Opens the data folder and starts the engine's loops, alone with its database. Without `deploys`, runs end with their image.
    pub(crate) async fn start(configuration: &Configuration, deploys: bool) -> Result<Self> {
        let engine = Self::open(configuration, deploys, Arc::default()).await?;
        engine.lead().await?;
        Ok(engine)
    }

    /// Opens the data folder and the database, and does nothing yet.
    async fn open(configuration: &Configuration, deploys: bool, sockets: Arc<Sockets>) -> Result<Self> {
        let data = &std::path::absolute(&configuration.data).context("cannot resolve the data folder")?;
        let uuids = Arc::new(UuidV7::new());
        let folder = Arc::new(DataFolder::open(data, uuids.as_ref())?);
        let url = match configuration.database.as_str() {
            "" => format!("sqlite://{}", data.join("hookwright.db").display()),
            url => url.to_owned(),
        };
        if url.starts_with("sqlite://") {
            lock_folder(&folder).await?;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let ids: Arc<dyn IdSource> = uuids.clone();
        let key = SecretKey::load_or_create(&data.join("key")).context("cannot open the key that secrets are encrypted with")?;
        let failpoint = crate::failpoint::of_the_environment()?;
        let store = open_store(|| StoreOptions {
            url: url.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            key: key.clone(),
            failpoint: failpoint.clone(),
        })
        .await?;
        let member = Member::new(MemberOptions {
            store: store.clone(),
            clock: clock.clone(),
            folder: folder.clone(),
            claims: configuration.cluster.claim,
            holder: ids.uuid().to_string(),
            sockets,
        });
        let leadership: Arc<dyn Leadership> = Arc::new(member.clone());
        let wakes = Wakes::new();
        let notifier = Arc::new(wakes.clone());
        let binary = std::env::current_exe().context("cannot find the own binary, which supervises jobs")?;
        let nursery = Arc::new(Nursery::new(binary, data.to_owned()).with_open_files(open_files::before()));

        let sandbox = sandbox(configuration.sandbox, &data.join("sandbox"))?;
        let source = Arc::new(GitSource::new(GitSourceOptions::new(data))?);
        let registry = Arc::new(Registry::open(data.join("registry"))?);
        let executor: Arc<dyn Executor> = Arc::new(ProcessExecutor::new(ExecutorOptions {
            directory: data.join("jobs"),
            nursery: nursery.clone(),
            notifier: notifier.clone(),
            clock: clock.clone(),
            sandbox: sandbox.clone(),
        })?);
        let runtime = Arc::new(ProcessRuntime::new(RuntimeOptions {
            directory: data.join("instances"),
            nursery,
            images: registry.clone(),
            notifier: notifier.clone(),
            clock: clock.clone(),
            sandbox,
            limits: handler_limits(configuration),
        })?);
        let metrics = Arc::new(Metrics::new());
        let inbox = event_writer::start(&store).await?;
        let gateway = Gateway::new(GatewayOptions {
            store: store.clone(),
            inbox: inbox.clone(),
            event_limit: configuration.gateway.event_limit,
            clock: clock.clone(),
            ids: ids.clone(),
            body_limit: configuration.gateway.body_limit,
            response_timeout: configuration.gateway.response_timeout,
            meter: metrics.clone(),
            leadership: leadership.clone(),
            notifier,
            sandbox_csp: configuration.gateway.listen.is_none(),
        });
        let subscriber: Arc<dyn Subscriber> = Arc::new(subscriber(configuration, clock.clone(), &store)?);
        let acting: Arc<dyn Runtime> = runtime.clone();
        let control = Control::new(Deps {
            store: store.clone(),
            clock,
            ids: ids.clone(),
            revisions: source.clone(),
            git_host: source.clone(),
            artifacts: registry.clone(),
            executor: Arc::new(Fenced::new(leadership.clone(), executor)),
            runtime: Arc::new(Fenced::new(leadership.clone(), acting)),
            images: registry.clone(),
            routes: Arc::new(gateway.clone()),
            hooks: Arc::new(gateway.clone()),
            inbox,
            deliverer: Arc::new(gateway.clone()),
            subscriber: Arc::new(Fenced::new(leadership.clone(), subscriber)),
            meter: metrics.clone(),
            leadership,
            wakes,
            settings: Arc::new(Settings { deploys, ..settings(configuration, data) }),
        });
        Ok(Self { store, control, source, registry, runtime, gateway, metrics, ids: uuids, member, folder })
    }

    /// Begins to do what only one daemon does. The lease and the folder are had.
    async fn lead(&self) -> Result<()> {
        if let Some(last) = self.store.last_id().await? {
            self.ids.go_on_after(&last);
        }
        self.source.clear_scratch()?;
        self.admin_token().await?;
        self.control.lead().await?;
        self.member.has_begun_to_lead();
        self.gateway.start().await?;
        Ok(())
    }

    async fn admin_token(&self) -> Result<String> {
        admin_token(&self.store, self.folder.path()).await
    }
}

impl Daemon {
    /// Starts the engine and the listeners; returns once requests are answered.
    pub(crate) async fn start(configuration: &Configuration) -> Result<Self> {
        let seats = server::Seats::new(open_files::raise().connections());
        let Listening { main, own } = listen(configuration).await?;
        let address = main.local_addr().context("cannot read the own address")?;
        let own_address = own.as_ref().map(TcpListener::local_addr).transpose().context("cannot read the gateway's address")?;
        let gateway_address = own_address.unwrap_or(address);
        let sockets = Arc::new(Sockets::default());
        sockets.add(&main);
        own.iter().for_each(|own| sockets.add(own));
        if begins_anew() {
            reap_inherited();
        }
        let engine = Engine::open(configuration, true, sockets).await?;
        let place = Place { address: advertised(configuration, address), gateway_address: origin(gateway_address) };
        let (stop, data) = (CancellationToken::new(), engine.folder.path().to_owned());
        let openid = configuration.openid().map_err(anyhow::Error::msg)?;
        let membership = engine.join((place, address), Rights::of(openid.as_ref()), stop.clone()).await?;
        let Engine { store, control, source, registry, runtime, gateway, metrics, ids, member, .. } = &engine;
        let leadership: Arc<dyn Leadership> = Arc::new(member.clone());
        let pushed: Arc<dyn PushSink> = Arc::new(Pushed(control.clone()));
        let web = hookwright_web::router(WebOptions {
            store: store.clone(),
            control: control.clone(),
            artifacts: registry.clone(),
            runtime: runtime.clone(),
            ids: ids.clone(),
            clock: Arc::new(SystemClock::new()),
            gateway: own_address.map(origin),
            settings: configuration.for_people(),
            examine: examine(configuration),
            metrics: metrics.clone(),
            metrics_public: configuration.metrics.public,
            executors: settings(configuration, &data).executors,
            public_url: configuration.public_url.trim_end_matches('/').to_owned(),
            trusted_proxies: configuration.trusted_proxies.clone(),
            openid: openid.map(people_provider).transpose()?,
            heartbeat: configuration.api.heartbeat,
            stopping: stop.clone(),
            leadership: leadership.clone(),
        });
        let inner = gateway.git_router(source.clone(), pushed).merge(gateway.registry_router(registry.clone())).merge(web);
        let limits = server::Limits { header_timeout: configuration.gateway.header_timeout, drain: configuration.shutdown };
        let relay = |listener| store.is_shared().then(|| Relay::new(leadership.clone(), listener));
        let trusted_proxies: Arc<[IpNet]> = configuration.trusted_proxies.as_slice().into();
        gateway.write_refusals();
        let (threads, runtime) = (server::Threads::start()?, Handle::current());
        let mut listeners = Vec::new();
        let proxy = match own {
            None => Some(gateway.proxy()),
            Some(own) => {
                let relay = relay(Listener::Handlers);
                let front = server::Front {
                    relay,
                    proxy: Some(gateway.proxy()),
                    hooks: gateway.hooks(),
                    router: axum::Router::new(),
                    trusted_proxies: trusted_proxies.clone(),
                    ids: ids.clone(),
                    runtime: runtime.clone(),
                };
                listeners.push(tokio::spawn(server::serve(own, front, (limits, seats.clone()), stop.clone(), threads.clone())));
                None
            }
        };
        let (hooks, ids) = (gateway.hooks(), ids.clone());
        let front = server::Front { relay: relay(Listener::Main), proxy, hooks, router: inner, trusted_proxies, ids, runtime };
        listeners.push(tokio::spawn(server::serve(main, front, (limits, seats), stop.clone(), threads)));
        info!(%address, data = %data.display(), "the daemon serves");
        let admin_token = known_admin_token(&data);
        Ok(Self { address, gateway_address, admin_token, engine, stop, listeners, membership })
    }

    /// Ends every handler too, which otherwise runs on: for the demo. The next start on the same data starts them again.
    pub(crate) async fn shutdown_with_handlers(self) -> Result<()> {
        let runtime = self.engine.runtime.clone();
        self.shutdown().await;
        for deployment in runtime.list().await? {
            runtime.retire(&deployment, HANDLER_GRACE).await?;
        }
        Ok(())
    }

    /// Stops listening, lets requests in flight end, and ends the loops. Jobs and handlers run on.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        for listener in self.listeners {
            if let Err(failure) = listener.await {
                error!(%failure, "a listener ended badly");
            }
        }
        self.engine.gateway.shutdown().await;
        self.engine.control.shutdown().await;
        self.membership.abort();
        self.engine.member.leave().await;
    }
}

impl Engine {
    /// Leads, if nobody does, or follows until it can; the task keeps it so.
    async fn join(&self, (place, address): (Place, SocketAddr), rights: Rights, stop: CancellationToken) -> Result<JoinHandle<()>> {
        let (engine, member) = (self.clone(), self.member.clone());
        let written = format!("http://{address}\n");
        if self.member.start(place).await? {
            let keeping = tokio::spawn(async move { member.keep_leading().await });
            rights.measure(&self.store).await?;
            self.lead().await?;
            write_privately(&self.folder.path().join("address"), &written)?;
            return Ok(keeping);
        }
        self.control.follow();
        Ok(tokio::spawn(async move {
            tokio::select! {
                () = member.until_it_leads() => {}
                () = stop.cancelled() => return,
            }
            let begin = async {
                rights.measure(&engine.store).await?;
                engine.lead().await?;
                write_privately(&engine.folder.path().join("address"), &written)
            };
            let begun = async {
                if let Err(failure) = begin.await {
                    error!(error = &*failure as &dyn std::error::Error, "this daemon has the lease and cannot begin to lead");
                    member.leave().await;
                    member.begin_anew("it could not begin to lead");
                }
            };
            tokio::join!(begun, member.keep_leading());
        }))
    }
}

/// Opens what is listened on.
async fn listen(configuration: &Configuration) -> Result<Listening> {
    let main = server::listen(configuration.listen, 0).await.with_context(|| {
        format!("cannot listen on {}; is another daemon there? choose another address with --listen", configuration.listen)
    })?;
    let own = match configuration.gateway.listen {
        None => None,
        Some(own) => Some(server::listen(own, 1).await.with_context(|| format!("cannot listen on {own}, the `gateway.listen` setting"))?),
    };
    Ok(Listening { main, own })
}

/// Where other daemons reach this one.
fn advertised(configuration: &Configuration, address: SocketAddr) -> String {
    match configuration.cluster.advertise.trim().trim_end_matches('/') {
        "" => origin(address),
        advertised => advertised.to_owned(),
    }
}

/// The origin of an address that is listened on; of all addresses of a machine it is the one that the machine itself has.
fn origin(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

/// Opens the database. A daemon that begins anew waits for it; any other one says what is wrong.
async fn open_store(options: impl Fn() -> StoreOptions) -> Result<Store> {
    loop {
        match Store::open(options()).await {
            Err(failure @ (StoreError::Open { .. } | StoreError::Database { .. } | StoreError::OutOfReach)) if begins_anew() => {
                warn!(error = &failure as &dyn std::error::Error, "the database is not there; it is asked again");
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
            opened => return Ok(opened?),
        }
    }
}

fn settings(configuration: &Configuration, data: &Path) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Settings {
        public_url: configuration.public_url.trim_end_matches('/').to_owned(),
        executors: if configuration.executors == 0 { cores } else { configuration.executors },
        poll_interval: configuration.git.poll_interval,
        quiet_interval: configuration.git.quiet_interval,
        hooked_interval: configuration.git.hooked_interval,
        pull_requests: configuration.git.pull_requests,
        drain: configuration.gateway.drain,
        isolation: if configuration.sandbox == Sandbox::Off { Isolation::None } else { Isolation::Sandbox },
        limits: stage_limits(configuration),
        keep_runs: configuration.retention.runs,
        keep_deployments: configuration.retention.deployments,
        retention_interval: configuration.retention.interval,
        keep_cache: configuration.retention.cache,
        keep_events: configuration.retention.events,
        keep_event_bytes: configuration.retention.event_bytes,
        keep_event_keys: configuration.retention.event_keys,
        keep_given_up: configuration.retention.dead_letters,
        keep_traffic: configuration.retention.traffic,
        ..Settings::new(data)
    }
}

/// What registers triggers at the sources there are tokens of. Redirects could carry a token elsewhere and are not followed.
fn subscriber(configuration: &Configuration, clock: Arc<dyn Clock>, store: &Store) -> Result<HttpSubscriber> {
    let client = reqwest::Client::builder().timeout(PROVIDER_PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let mut providers = BTreeMap::new();
    for (name, provider) in &configuration.providers {
        let credential = provider.credential().with_context(|| format!("cannot use `providers.{name}` of the settings"))?;
        if let Some(credential) = credential {
            let api = Some(provider.api.clone()).filter(|api| !api.is_empty());
            providers.insert(name.clone(), Provider { credential, api });
        }
    }
    Ok(HttpSubscriber::new(client.context("cannot make a client for event sources")?, providers, clock, Arc::new(store.clone())))
}

/// A provider that people sign in at. Redirects could carry a code or a secret elsewhere and are not followed. No connection is kept: a code is for once, and
/// one that the provider closes just then would take it along.
pub(crate) fn openid_provider(settings: &OpenIdSettings) -> Result<OpenIdProvider> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = builder.connect_timeout(CONNECT_PATIENCE).pool_max_idle_per_host(0).build();
    Ok(OpenIdProvider::new(OpenIdOptions {
        issuer: settings.issuer.clone(),
        client_id: settings.client_id.clone(),
        client_secret: settings.client_secret.clone(),
        scopes: settings.scopes.clone(),
        name_claim: settings.name_claim.clone(),
        groups_claim: settings.groups_claim.clone(),
        http: http.context("cannot make a client for the OpenID provider")?,
        clock: Arc::new(SystemClock::new()),
    }))
}

/// The same with what it is worth here.
fn people_provider(settings: OpenIdSettings) -> Result<OpenId> {
    let provider = Arc::new(openid_provider(&settings)?);
    let OpenIdSettings { issuer, label, roles, groups_claim, session, .. } = settings;
    Ok(OpenId { provider, issuer, label, roles, groups_claim, session })
}

/// What the settings say of people whom a provider knows.
struct Rights {
    issuer: Option<String>,
    roles: RoleMap,
}

impl Rights {
    fn of(openid: Option<&OpenIdSettings>) -> Self {
        let roles = openid.map(|openid| openid.roles.clone()).unwrap_or_default();
        Self { issuer: openid.map(|openid| openid.issuer.clone()), roles }
    }

    /// Holds everybody against the settings of whoever begins to lead, which may be others than when they signed in.
    async fn measure(&self, store: &Store) -> Result<()> {
        let mut tx = store.begin().await?;
        let changed = tx.identity_measure(self.issuer.as_deref(), &self.roles).await?;
        for name in &changed {
            let detail = format!("{name}: `openid` of the settings was changed");
            tx.audit_append(NewAudit { user: ENGINE, action: "user.changed", webhook: None, environment: None, detail: &detail }).await?;
        }
        tx.commit("user.measured").await?;
        Ok(())
    }
}

/// What `doctor` says, for the page of settings.
fn examine(configuration: &Configuration) -> Examine {
    let configuration = configuration.clone();
    Arc::new(move || {
        // Asked on a thread that may block.
        let findings = tokio::runtime::Handle::current().block_on(doctor::findings(&configuration)).into_iter().map(
            |doctor::Finding { name, level, text }| {
                let fitness = match level {
                    Level::Ok => Fitness::Well,
                    Level::Missing => Fitness::Missing,
                    Level::Broken => Fitness::Broken,
                };
                hookwright_web::Finding { name, fitness, text }
            },
        );
        findings.collect()
    })
}

/// Bubblewrap as the settings want it, tried out once, with what it keeps in `folder`.
fn sandbox(wanted: Sandbox, folder: &Path) -> Result<Option<Arc<Bubblewrap>>> {
    if wanted == Sandbox::Off {
        return Ok(None);
    }
    match Bubblewrap::find() {
        Ok(found) => {
            let found = found.gathered(folder).with_context(|| format!("cannot write the folder `{}`", folder.display()))?;
            Ok(Some(Arc::new(found)))
        }
        Err(why) if wanted == Sandbox::Required => anyhow::bail!("the settings say `sandbox: required`, and there is none: {why}"),
        Err(why) => {
            warn!("stages and handlers run as plain processes and may read what the daemon may read: {why}");
            Ok(None)
        }
    }
}

fn stage_limits(configuration: &Configuration) -> Limits {
    let limits = &configuration.limits;
    Limits {
        memory_bytes: memory(limits.stage_memory),
        processes: Some(limits.stage_processes).filter(|count| *count > 0),
        disk_bytes: Some(limits.stage_disk).filter(|bytes| *bytes > 0),
    }
}

fn handler_limits(configuration: &Configuration) -> Limits {
    let limits = &configuration.limits;
    Limits {
        memory_bytes: memory(limits.handler_memory),
        processes: Some(limits.handler_processes).filter(|count| *count > 0),
        disk_bytes: Some(limits.handler_disk).filter(|bytes| *bytes > 0),
    }
}

/// Bytes; 0 is without a limit, and less than that three quarters of the machine's.
fn memory(setting: i64) -> Option<u64> {
    match u64::try_from(setting) {
        Ok(0) => None,
        Ok(bytes) => Some(bytes),
        Err(_) => {
            let text = std::fs::read_to_string("/proc/meminfo").ok()?;
            let total: u64 = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
            Some(total / 4 * 3 * 1024)
        }
    }
}

/// The admin's token: made at the first start and written where only the owner reads it, or given by `HOOKWRIGHT_ADMIN_TOKEN`.
async fn admin_token(store: &Store, data: &Path) -> Result<String> {
    let path = data.join("admin-token");
    let given = std::env::var("HOOKWRIGHT_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
    let written = std::fs::read_to_string(&path).ok().map(|text| text.trim().to_owned()).filter(|token| !token.is_empty());
    for token in [given.clone(), written].into_iter().flatten() {
        if store.token_authenticate(&token).await?.is_some() {
            return Ok(token);
        }
    }
    let grants = vec![Grant { role: Role::Admin, scope: Scope::default() }];
    let token = match given {
        Some(token) => {
            store.token_import("admin", &token, grants).await?;
            return Ok(token);
        }
        None => store.token_create("admin", Vec::new(), grants).await?.1,
    };
    write_privately(&path, &format!("{token}\n"))?;
    Ok(token)
}

/// Keeps a second daemon off the folder. One that was just killed may leave the lock for moments with a process that it was about to start.
async fn lock_folder(folder: &DataFolder) -> Result<()> {
    for _ in 0..LOCK_TRIES {
        if folder.try_lock()? {
            return Ok(());
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    bail!("another daemon already works on `{}`; stop it first, or give this one another --data folder", folder.path().display())
}

/// The admin's token that is written in the folder, or given.
fn known_admin_token(data: &Path) -> Option<String> {
    let given = std::env::var("HOOKWRIGHT_ADMIN_TOKEN").ok();
    let written = || std::fs::read_to_string(data.join("admin-token")).ok();
    given.filter(|token| !token.is_empty()).or_else(written).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Writes a file that only its owner can read; aside and renamed, so that nobody reads half of it.
fn write_privately(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

/// Tells the engine of pushes that the gateway took.
struct Pushed(Control);

#[async_trait]
impl PushSink for Pushed {
    async fn pushed(&self, repository: &RepositoryName, user: &str) -> Vec<PushNews> {
        match self.0.repository_changed(repository, Some(user)).await {
            Ok(news) => news,
            Err(failure) => {
                error!(repository = %repository, %failure, "a push could not be taken in; the refs are compared again soon");
                vec![PushNews { text: format!("what was pushed cannot be built: {failure}"), path: None }]
            }
        }
    }
}
