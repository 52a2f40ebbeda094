//! The HTTP listener: accepts connections, bounds how long a client may take for its headers, and drains at shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hookwright_gateway::{Diverted, Proxy, Relay};
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::cluster::Sockets;

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

/// What answers at a listener.
#[derive(Clone)]
pub(crate) struct Front {
    /// Passes requests on while this daemon follows; `None` for one that is alone.
    pub(crate) relay: Option<Relay>,
    /// Requests to handlers, if they are taken here. They do not go through the router.
    pub(crate) proxy: Option<Proxy>,
    /// All others.
    pub(crate) router: Router,
}

impl Front {
    async fn answer(&self, request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        let mut request = request.map(Body::new);
        if let Some(relay) = &self.relay {
            match relay.divert(request, peer).await {
                Diverted::Answered(response) => return response,
                Diverted::Here(same) => request = same,
            }
        }
        match &self.proxy {
            Some(proxy) if proxy.takes(request.uri()) => proxy.answer(request, peer).await,
            _ => {
                request.extensions_mut().insert(ConnectInfo(peer));
                let Ok(response) = self.router.clone().oneshot(request).await;
                response
            }
        }
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
pub(crate) async fn serve(listener: TcpListener, front: Front, limits: Limits, stop: CancellationToken) {
    let (graceful, connections) = (GracefulShutdown::new(), TaskTracker::new());
    let front = Arc::new((front, stop.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Half-closed connections are served to the end: a client that hangs up once its push or its event is sent has sent it all the
    // same, and otherwise the request would be dropped before anybody has seen it.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).half_close(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256).keep_alive_interval(Duration::from_secs(30));
    loop {
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
        let front = front.clone();
        let service = service_fn(move |request| answer(front.clone(), request, peer));
        let connection = graceful.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%peer, %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    connections.close();
    // Whichever is first: every client has gone, or the time is over.
    let _ = tokio::time::timeout(LINGER, connections.wait()).await;
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(limits.drain) => warn!("requests were still in flight when the time for shutdown was over"),
    }
}

/// Answers a request. Once the daemon stops, it tells HTTP/1.1 clients not to use the connection again; HTTP/2 has a frame of its own for it.
async fn answer(
    front: Arc<(Front, CancellationToken)>,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Infallible> {
    let (front, stop) = &*front;
    let version = request.version();
    let mut response = front.answer(request, peer).await;
    if stop.is_cancelled() && version <= Version::HTTP_11 && !response.headers().contains_key(header::UPGRADE) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
