//! One connection: how much a client may ask at once, and how long it is held while it asks for nothing.
//! Invariant: whatever a client sends or leaves out, its connection takes bounded memory, and ends soon unless a request is in flight on it. How soon
//! the setting `gateway.header_timeout` says: so long may a head take, and so long may there be no request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{HeaderValue, Request, Version, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Front;
use super::seat::Seated;

/// What HTTP/1 keeps of a connection in each direction, and with it the largest head, in bytes: four times what nginx takes by default, because
/// tokens and cookies grow; hyper would keep seven times as much for whoever sends a line without end.
const HTTP1_BUFFER: usize = 64 << 10;

/// The largest head in HTTP/2, unpacked, as RFC 9113 counts it (32 bytes more for each field). Larger ones are 431, and of `CONTINUATION` frames
/// no more are read than it takes to know.
const HTTP2_HEAD: u32 = 64 << 10;

/// How many requests may be in flight on one connection of HTTP/2: RFC 9113 wants at least 100, and a proxy before us shares one among its clients.
const HTTP2_STREAMS: u32 = 256;

/// The smallest that there is, and enough: larger frames keep other streams waiting.
const HTTP2_FRAME: u32 = 16 << 10;

/// How much of bodies a client may send before somebody reads it, in a stream and in the whole connection. It bounds what a connection keeps:
/// streams together have no more than one of them.
const HTTP2_WINDOW: u32 = 1 << 20;

/// How much of an answer is kept of a stream whose client does not read.
const HTTP2_UNSENT: usize = 128 << 10;

/// How many streams may be reset before they were even looked at. More are the attack "Rapid Reset" (CVE-2023-44487).
const HTTP2_RESET_UNSEEN: usize = 20;

/// How many streams we may have to reset for a client's mistakes. More are the attack "MadeYouReset" (CVE-2025-8671); honest clients make none.
const HTTP2_RESET_BY_US: usize = 64;

/// How many requests a client may take back before they were answered, in the time that a head may take. Each was begun and passed on, which costs
/// more than the frame that takes it back; browsers take back some when somebody leaves a page, proxies when their clients give up.
const TAKEN_BACK: u64 = 2 * HTTP2_STREAMS as u64;

/// How long a connection of HTTP/2 may be silent before it is asked whether it lives, and how long it may take to say so.
const HTTP2_PING: Duration = Duration::from_secs(30);
const HTTP2_PONG: Duration = Duration::from_secs(10);

/// How long a body may stand still on its way to us. Without it a client that says how much it sends, and then sends nothing, would be waited for.
/// What handlers and event sources are sent has shorter bounds of its own.
const BODY_PAUSE: Duration = Duration::from_secs(60);

/// Builds connections within these limits.
pub(super) fn builder(head: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Half-closed connections are served to the end: a client that hangs up once its push or its event is sent has sent it all the
    // same, and otherwise the request would be dropped before anybody has seen it. That a head has no more than 100 fields is hyper's own
    // bound, and saying it once more would cost every request an allocation.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HTTP1_BUFFER).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HTTP2_HEAD)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_frame_size(HTTP2_FRAME)
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_send_buf_size(HTTP2_UNSENT)
        .max_pending_accept_reset_streams(HTTP2_RESET_UNSEEN)
        .max_local_error_reset_streams(HTTP2_RESET_BY_US)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PONG);
    builder
}

/// What a listener's connections have in common.
pub(super) struct Shared {
    pub(super) front: Front,
    pub(super) builder: auto::Builder<TokioExecutor>,
    /// How long a client may take for a head.
    pub(super) head: Duration,
    /// The daemon stops: connections are not to be used again.
    pub(super) stops: AtomicBool,
    /// Connections end with the requests that are in flight on them.
    pub(super) drain: CancellationToken,
}

/// What has come by a connection.
struct Held {
    shared: Arc<Shared>,
    peer: SocketAddr,
    begun: AtomicU64,
    ended: AtomicU64,
    taken_back: AtomicU64,
    /// Whether it carries many requests at a time.
    is_http2: AtomicBool,
    abused: Notify,
}

/// What a connection comes to.
enum Verdict {
    /// It ends with the requests that are in flight on it.
    Ending,
    /// It ends at once.
    Over(&'static str),
}

/// Serves a connection until it ends.
pub(super) async fn hold(stream: Seated, peer: SocketAddr, shared: Arc<Shared>) {
    let builder = shared.builder.clone();
    let (begun, ended, taken_back) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let held = Arc::new(Held { shared, peer, begun, ended, taken_back, is_http2: AtomicBool::new(false), abused: Notify::new() });
    let serving = held.clone();
    let service = service_fn(move |request| serving.clone().answer(request));
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    // Looked at when it has something to say alone: to ask what it waits for, with each step of each request, would take a lock that all connections share.
    let mut watching = FuturesUnordered::from_iter([held.watch(false).boxed()]);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%peer, %error, "a connection ended early");
                }
                return;
            }
            Some(verdict) = watching.next() => match verdict {
                Verdict::Ending => {
                    connection.as_mut().graceful_shutdown();
                    watching.push(held.watch(true).boxed());
                }
                Verdict::Over(why) => {
                    debug!(%peer, "a connection was ended that {why}");
                    return;
                }
            }
        }
    }
}

impl Held {
    /// Watches over a connection until it comes to something.
    async fn watch(&self, is_ending: bool) -> Verdict {
        let mut look = pin!(sleep(self.shared.head));
        let (mut is_watched, mut seen) = (true, 0);
        loop {
            tokio::select! {
                () = self.shared.drain.cancelled(), if !is_ending => return Verdict::Ending,
                () = self.abused.notified() => return Verdict::Over("took back more requests than a client has reason to"),
                () = look.as_mut(), if is_watched => {
                    let begun = self.begun.load(Ordering::Relaxed);
                    if begun == 0 {
                        // hyper waits without bound for what tells HTTP/1 from HTTP/2.
                        return Verdict::Over("brought no request");
                    }
                    // HTTP/1 has hyper's own bound from here on; HTTP/2 has none, and a client without requests may answer pings for ever.
                    is_watched = self.is_http2.load(Ordering::Relaxed);
                    let is_quiet = begun == seen && self.ended.load(Ordering::Relaxed) == begun;
                    seen = begun;
                    self.taken_back.store(0, Ordering::Relaxed);
                    look.as_mut().reset(Instant::now() + self.shared.head);
                    if is_quiet && !is_ending {
                        return Verdict::Ending;
                    }
                }
            }
        }
    }

    /// Answers a request. Once the daemon stops, it tells HTTP/1.1 clients not to use the connection again; HTTP/2 has a frame of its own for it.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response, Infallible> {
        let version = request.version();
        self.begun.fetch_add(1, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.is_http2.store(true, Ordering::Relaxed);
            let mut in_flight = InFlight { held: self, is_answered: false };
            let Held { shared, peer, .. } = &*in_flight.held;
            let response = shared.front.answer(request, *peer).await;
            in_flight.is_answered = true;
            return Ok(response.map(|body| Body::new(Counted { body, _in_flight: in_flight })));
        }
        let mut response = self.shared.front.answer(request, self.peer).await;
        if self.shared.stops.load(Ordering::Relaxed) && !response.headers().contains_key(header::UPGRADE) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// A request of HTTP/2, until its answer has been read to the end or nobody wants it any more.
struct InFlight {
    held: Arc<Held>,
    is_answered: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.held.ended.fetch_add(1, Ordering::Relaxed);
        if !self.is_answered && self.held.taken_back.fetch_add(1, Ordering::Relaxed) >= TAKEN_BACK {
            self.held.abused.notify_one();
        }
    }
}

/// The body of an answer whose request is in flight while it is read.
struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request that may not stand still.
pub(super) struct Moving {
    body: Body,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Moving {
    pub(super) fn new(body: Body) -> Self {
        Self { body, pause: None }
    }
}

impl HttpBody for Moving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.pause = None;
            return Poll::Ready(frame);
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + BODY_PAUSE)));
        pause.as_mut().poll(cx).map(|()| Some(Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
