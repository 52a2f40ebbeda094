//! The HTTP listener: accepts connections, says what answers the requests that they bring, and drains at shutdown.

mod connection;
mod elsewhere;
mod seat;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures_util::future::join_all;
use hookwright_core::IdSource;
use hookwright_gateway::{Diverted, Hooks, Proxy, Relay, refuse_unclear};
use hookwright_web::client_address;
use hyper::body::Incoming;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::cluster::Sockets;

use connection::{Moving, Shared};
use elsewhere::made_on;
use seat::Seated;
pub(crate) use seat::Seats;
pub(crate) use threads::Threads;
use threads::{Place, Turns};

/// Pause after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections that are kept alive may bring another request after the stop; it is answered, and the connection closed with the
/// answer. Closing them at once would lose the requests that are on their way.
const LINGER: Duration = Duration::from_millis(500);

/// How a listener behaves.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// How long a client may take to send its headers.
    pub(crate) header_timeout: Duration,
    /// How long requests in flight may take at shutdown.
    pub(crate) drain: Duration,
}

/// An event up to this size is taken in on its connection's thread. To verify and to read a larger one takes a while.
const SMALL_EVENT: u64 = 64 << 10;

/// What answers at a listener.
#[derive(Clone)]
pub(crate) struct Front {
    /// Passes requests on while this daemon follows; `None` for one that is alone.
    pub(crate) relay: Option<Relay>,
    /// Requests to handlers, if they are taken here. They do not go through the router.
    pub(crate) proxy: Option<Proxy>,
    /// Events of sources, which do not go through it either.
    pub(crate) hooks: Hooks,
    /// All others.
    pub(crate) router: Router,
    /// Whose word counts for where a request comes from.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// For requests that are refused before anybody gave them one.
    pub(crate) ids: Arc<dyn IdSource>,
    /// Where all is answered that is not for a handler and no small event.
    pub(crate) runtime: Handle,
}

impl Front {
    async fn answer(&self, request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        let mut request = request.map(Body::new);
        if let Some(refusal) = refuse_unclear(&mut request, &*self.ids) {
            return refusal;
        }
        if let Some(relay) = &self.relay {
            match relay.divert(request, peer).await {
                Diverted::Answered(response) => return response,
                Diverted::Here(same) => request = same,
            }
        }
        if self.hooks.takes(request.uri()) {
            let from = client_address(peer.ip(), request.headers(), &self.trusted_proxies);
            if request.body().size_hint().upper().is_some_and(|most| most <= SMALL_EVENT) {
                return self.hooks.answer(request, from).await;
            }
            let hooks = self.hooks.clone();
            return self.elsewhere(async move { hooks.answer(request, from).await }).await;
        }
        match &self.proxy {
            Some(proxy) if proxy.takes(request.uri()) => proxy.answer(request, peer).await,
            _ => {
                if !request.body().is_end_stream() {
                    request = request.map(|body| Body::new(Moving::new(body)));
                }
                request.extensions_mut().insert(ConnectInfo(peer));
                let Ok(response) = self.elsewhere(self.router.clone().oneshot(request)).await;
                response.map(|body| made_on(&self.runtime, body))
            }
        }
    }

    /// Has something done on the runtime of the rest of the daemon; it is given up with the request that it is for.
    async fn elsewhere<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match AbortOnDropHandle::new(self.runtime.spawn(work)).await {
            Ok(done) => done,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // That runtime ends, and the process with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The same for one thread, with connections to handlers of its own.
    fn apart(&self) -> Self {
        Self { proxy: self.proxy.as_ref().map(Proxy::apart), ..self.clone() }
    }
}

/// Opens the address, or takes the socket that was passed in as systemd does (`LISTEN_FDS`), so that an upgrade loses no request.
pub(crate) async fn listen(address: SocketAddr, passed_index: usize) -> std::io::Result<TcpListener> {
    if let Some(socket) = listenfd::ListenFd::from_env().take_tcp_listener(Sockets::place(passed_index))? {
        socket.set_nonblocking(true)?;
        return TcpListener::from_std(socket);
    }
    TcpListener::bind(address).await
}

/// Serves until `stop`, then lets requests in flight end.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Front,
    (limits, seats): (Limits, Seats),
    stop: CancellationToken,
    threads: Threads,
) {
    let (turns, drain, head) = (Turns::default(), CancellationToken::new(), limits.header_timeout);
    let places: Vec<Place<Shared>> = threads
        .handles()
        .map(|runtime| Place {
            runtime: runtime.clone(),
            connections: TaskTracker::new(),
            shared: Arc::new(Shared {
                front: front.apart(),
                builder: connection::builder(head),
                head,
                stops: AtomicBool::new(false),
                drain: drain.clone(),
            }),
        })
        .collect();
    let mut said = None;
    loop {
        let seat = tokio::select! {
            seat = seats.next(&mut said) => seat,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "cannot switch off Nagle's algorithm");
        }
        let Some(Place { runtime, connections, shared }) = turns.next(&places) else { break };
        let (stream, shared) = (stream.into_std(), shared.clone());
        connections.spawn_on(
            async move {
                match stream.and_then(TcpStream::from_std) {
                    Ok(stream) => connection::hold(Seated::new(stream, seat), peer, shared).await,
                    Err(error) => warn!(%peer, %error, "a connection cannot be served"),
                }
            },
            runtime,
        );
    }
    drop(listener);
    for Place { connections, shared, .. } in &places {
        shared.stops.store(true, Ordering::Relaxed);
        connections.close();
    }
    let ended = || join_all(places.iter().map(|place| place.connections.wait()));
    // Whichever is first: every client has gone, or the time is over.
    let _ = tokio::time::timeout(LINGER, ended()).await;
    drain.cancel();
    if tokio::time::timeout(limits.drain, ended()).await.is_err() {
        warn!("requests were still in flight when the time for shutdown was over");
    }
}
