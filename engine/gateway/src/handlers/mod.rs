//! Connections to handlers, kept between requests. A connection is driven by the task whose request it carries, so that neither request nor answer
//! crosses from task to task; while nothing is on its way it lies in the pool, driven by nobody.
//! Invariant: a request that may have reached a handler is never sent a second time.

mod bell;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use bell::Bell;

/// How long a connection to a handler on this machine may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection lies in the pool.
const KEPT: Duration = Duration::from_secs(10);

/// Of one handler's connections so many are kept.
const KEPT_AT_MOST: usize = 1024;

/// The way to handlers. Cloning it clones a handle.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    pool: Arc<Pool>,
}

/// Why a handler gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It does not accept connections.
    Connect,
    /// The exchange broke.
    Exchange(hyper::Error),
}

/// Connections that carry nothing.
#[derive(Default)]
struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: HashMap<SocketAddr, Vec<(Instant, Connection)>>,
    /// Whether somebody ends those that lie too long.
    is_swept: bool,
}

/// Reads and writes; `None` once it has ended.
type Driver = Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>;

/// A connection to a handler.
struct Connection {
    backend: SocketAddr,
    sender: SendRequest<Body>,
    driver: Driver,
    bell: Bell,
}

/// Reads and writes what can be.
fn drive(driver: &mut Driver, cx: &mut Context<'_>) {
    // Why it ended is told to whoever waits for the answer or its body.
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

impl Connection {
    async fn open(backend: SocketAddr) -> Result<Self, Failure> {
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(backend)).await;
        let stream = connecting.map_err(|_| Failure::Connect)?.map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(Failure::Exchange)?;
        Ok(Self { backend, sender, driver: Some(Box::pin(driver.with_upgrades())), bell: Bell::new() })
    }

    /// Whether a request may be sent.
    fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Ready for the next request, or ended.
    async fn settled(mut self) -> Self {
        let Self { sender, driver, bell, .. } = &mut self;
        poll_fn(|cx| {
            bell.poll(cx, |cx, _| {
                drive(driver, cx);
                if driver.is_none() || sender.is_ready() { Poll::Ready(()) } else { Poll::Pending }
            })
        })
        .await;
        self
    }
}

impl Pool {
    /// A connection that lies here and is still open.
    async fn take(&self, backend: SocketAddr) -> Option<Connection> {
        loop {
            let (_, mut connection) = self.lock().connections.get_mut(&backend)?.pop()?;
            let Connection { driver, bell, .. } = &mut connection;
            if bell.has_rung() {
                // What the handler did meanwhile, such as closing it, is seen only now.
                poll_fn(|cx| {
                    bell.poll(cx, |cx, _| {
                        drive(driver, cx);
                        Poll::Ready(())
                    })
                })
                .await;
            }
            if connection.is_ready() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, unless it has ended.
    fn keep(self: &Arc<Self>, connection: Connection) {
        if !connection.is_ready() {
            return;
        }
        connection.bell.forget();
        let mut idle = self.lock();
        let kept = idle.connections.entry(connection.backend).or_default();
        if kept.len() < KEPT_AT_MOST {
            kept.push((Instant::now(), connection));
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends connections that lie too long, until there are none.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(KEPT / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.lock();
        idle.connections.retain(|_, kept| {
            // The longest unused lie at the front.
            let old = kept.iter().take_while(|(since, _)| since.elapsed() >= KEPT).count();
            kept.drain(..old);
            !kept.is_empty()
        });
        if idle.connections.is_empty() {
            idle.is_swept = false;
            return;
        }
    }
}

impl Handlers {
    /// Sends a request to a handler and returns its answer once its head has come. Dropped before, it ends the connection.
    pub(crate) async fn send(&self, backend: SocketAddr, mut request: Request<Body>) -> Result<Response<Answer>, Failure> {
        while let Some(connection) = self.pool.take(backend).await {
            match self.exchange(connection, request).await {
                Ok(answer) => return Ok(answer),
                // The handler closed the connection before anything of the request was written.
                Err((_, Some(unsent))) => request = *unsent,
                Err((error, None)) => return Err(Failure::Exchange(error)),
            }
        }
        let connection = Connection::open(backend).await?;
        self.exchange(connection, request).await.map_err(|(error, _)| Failure::Exchange(error))
    }

    /// Sends over a connection. On failure the request comes back if nothing of it was sent.
    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<Body>,
    ) -> Result<Response<Answer>, (hyper::Error, Option<Box<Request<Body>>>)> {
        let Connection { sender, driver, bell, .. } = &mut connection;
        let mut answer = pin!(sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            bell.poll(cx, |cx, rings| {
                if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                    return Poll::Ready(answered);
                }
                // That there is a request to send, if it rang for that.
                rings.heard();
                drive(driver, cx);
                answer.as_mut().poll(cx)
            })
        })
        .await;
        match answered {
            Ok(answer) => Ok(self.answered(connection, answer)),
            Err(mut failure) => {
                let unsent = failure.take_message().map(Box::new);
                Err((failure.into_error(), unsent))
            }
        }
    }

    /// The answer, with its connection if that is not done yet.
    fn answered(&self, connection: Connection, answer: Response<Incoming>) -> Response<Answer> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // It hands the bytes over to the upgrade and ends.
            tokio::spawn(connection.settled());
            return answer.map(|incoming| Answer { incoming, under_way: None });
        }
        let under_way = if connection.is_ready() {
            // The whole answer has been read: what is left of it is in memory.
            self.pool.keep(connection);
            None
        } else {
            connection.driver.is_some().then(|| UnderWay { connection, pool: self.pool.clone() })
        };
        answer.map(|incoming| Answer { incoming, under_way })
    }
}

/// An exchange that is not over.
struct UnderWay {
    connection: Connection,
    pool: Arc<Pool>,
}

/// The body of an answer; reading it drives the connection. Dropped before its end, it ends the connection.
pub(crate) struct Answer {
    incoming: Incoming,
    under_way: Option<UnderWay>,
}

impl Answer {
    /// The body has been read to its end. What is left of the request is sent all the same.
    fn ended(&mut self) {
        if let Some(UnderWay { connection, pool }) = self.under_way.take() {
            if connection.is_ready() {
                pool.keep(connection);
            } else if connection.driver.is_some() {
                tokio::spawn(async move { pool.keep(connection.settled().await) });
            }
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { incoming, under_way } = &mut *self;
        let frame = match under_way {
            None => ready!(Pin::new(incoming).poll_frame(cx)),
            Some(UnderWay { connection: Connection { driver, bell, .. }, .. }) => ready!(bell.poll(cx, |cx, rings| {
                let polled = Pin::new(&mut *incoming).poll_frame(cx);
                // That there is room for what comes next.
                rings.heard();
                // After a frame too: the room it leaves is filled, and the end is seen with the last one.
                drive(driver, cx);
                if polled.is_pending() { Pin::new(&mut *incoming).poll_frame(cx) } else { polled }
            })),
        };
        if frame.is_none() || self.incoming.is_end_stream() {
            self.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
