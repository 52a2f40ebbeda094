//! The load generators, over keep-alive connections: a closed loop, in which each sends its next request when the last answer is read, and a steady
//! rate, at which every event is due at its time however slow the answers are: what waits for a free connection has its waiting counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::sample::{Spread, millis};

/// Where requests go, how many at once, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path of every request.
    pub(crate) path: &'a str,
    /// Sends an event of about 1 KB, each another one, as GitHub signs it with this secret; `None` sends GET.
    pub(crate) secret: Option<&'static str>,
    /// How many keep-alive connections.
    pub(crate) connections: usize,
    /// How long is counted; a fifth of it more is run before, uncounted.
    pub(crate) time: Duration,
}

/// What a server did under a load.
pub(crate) struct Answered {
    /// Requests answered per second.
    pub(crate) per_second: f64,
    /// From the request to the end of its answer, in milliseconds.
    pub(crate) latency: Spread,
    /// How many were answered in all, those before the counting too.
    pub(crate) all: usize,
}

/// Runs a load to its end.
///
/// # Errors
/// When a connection breaks or an answer is not 200.
pub(crate) async fn run(load: Load<'_>) -> Result<Answered> {
    let counted_from = Instant::now() + load.time / 5;
    let until = counted_from + load.time;
    let mut connections = Vec::new();
    for connection in 0..load.connections {
        let events = load.secret.map(|secret| Events::new(secret, connection));
        let request = (load.address, load.path.to_owned(), events);
        connections.push(tokio::spawn(one(request, counted_from, until)));
    }
    let (mut samples, mut all) = (Vec::new(), 0);
    for connection in connections {
        let (counted, sent) = connection.await.context("a connection panicked")??;
        samples.extend(counted);
        all += sent;
    }
    ensure!(!samples.is_empty(), "no request was answered in time");
    Ok(Answered { per_second: samples.len() as f64 / load.time.as_secs_f64(), latency: Spread::of(samples), all })
}

/// Events that no other connection and no other load sends.
struct Events {
    secret: &'static str,
    stem: String,
    number: u64,
}

impl Events {
    fn new(secret: &'static str, connection: usize) -> Self {
        Self { secret, stem: format!("{connection}-{:?}", Instant::now()), number: 0 }
    }

    /// The next one, with the time it is due at, for the handler to compare.
    fn next(&mut self, path: &str, address: SocketAddr, due: Duration) -> Result<Request<Full<Bytes>>> {
        self.number += 1;
        let id = Sha256::digest(format!("{}-{}", self.stem, self.number));
        let id = hex::encode(&id[..16]);
        let filling = "x".repeat(830);
        let body = format!(
            r#"{{"due":{},"action":"opened","issue":{{"number":{},"title":"{id}","body":"{filling}"}},"repository":{{"full_name":"acme/shop"}}}}"#,
            due.as_micros(),
            self.number
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).context("no key")?;
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let request = Request::post(path).header("host", address.to_string()).header("content-type", "application/json");
        let request = request.header("x-github-event", "issues").header("x-github-delivery", id).header("x-hub-signature-256", signature);
        Ok(request.body(Full::from(body))?)
    }
}

/// The wall clock, which the handler's process has too.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn connect(address: SocketAddr) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>)> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    Ok((sender, tokio::spawn(connection)))
}

/// Sends and reads the answer, which must be a good one.
async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<()> {
    sender.ready().await.context("the server closed a connection that should be kept")?;
    let answer = sender.send_request(request).await?;
    ensure!(answer.status() == 200, "the answer is {}", answer.status());
    answer.into_body().collect().await?;
    Ok(())
}

async fn one(
    (address, path, mut events): (SocketAddr, String, Option<Events>),
    counted_from: Instant,
    until: Instant,
) -> Result<(Vec<f64>, usize)> {
    let (mut sender, driver) = connect(address).await?;
    let (mut samples, mut sent) = (Vec::new(), 0);
    loop {
        let request = match &mut events {
            Some(events) => events.next(&path, address, since_epoch())?,
            None => Request::get(&path).header("host", address.to_string()).body(Full::default())?,
        };
        let began = Instant::now();
        if began >= until {
            break;
        }
        exchange(&mut sender, request).await.with_context(|| format!("{address}{path}"))?;
        sent += 1;
        if began >= counted_from {
            samples.push(millis(began.elapsed()));
        }
    }
    drop(sender);
    // The connection ends because its sender is gone.
    let _ = driver.await;
    Ok((samples, sent))
}

/// Events at a steady rate.
#[derive(Clone, Copy)]
pub(crate) struct Steady<'a> {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path of every event.
    pub(crate) path: &'a str,
    /// What they are signed with.
    pub(crate) secret: &'static str,
    /// How many a second.
    pub(crate) per_second: u32,
    /// How many keep-alive connections they share.
    pub(crate) connections: usize,
    /// For how long.
    pub(crate) time: Duration,
}

/// Sends events at a steady rate; returns how long each took from the moment it was due to the end of its answer, in milliseconds.
///
/// # Errors
/// When a connection breaks or an answer is not 200.
pub(crate) async fn steady(load: Steady<'_>) -> Result<Spread> {
    let (due, queue) = mpsc::unbounded_channel();
    let queue = Arc::new(Mutex::new(queue));
    let count = (f64::from(load.per_second) * load.time.as_secs_f64()) as u32;
    let each = Duration::from_secs(1) / load.per_second;
    // A thread, because it wakes up more exactly than the runtime's timer, which counts milliseconds.
    let clock = std::thread::spawn(move || {
        let began = since_epoch();
        for number in 0..count {
            let at = began + each * number;
            std::thread::sleep(at.saturating_sub(since_epoch()));
            if due.send(at).is_err() {
                return;
            }
        }
    });
    let mut connections = Vec::new();
    for connection in 0..load.connections {
        let (queue, address, path) = (queue.clone(), load.address, load.path.to_owned());
        let mut events = Events::new(load.secret, connection);
        connections.push(tokio::spawn(async move {
            let (mut sender, driver) = connect(address).await?;
            let mut samples = Vec::new();
            loop {
                let Some(due) = queue.lock().await.recv().await else { break };
                exchange(&mut sender, events.next(&path, address, due)?).await.with_context(|| format!("{address}{path}"))?;
                samples.push(millis(since_epoch().saturating_sub(due)));
            }
            drop(sender);
            let _ = driver.await;
            Ok::<_, anyhow::Error>(samples)
        }));
    }
    let mut samples = Vec::new();
    for connection in connections {
        samples.extend(connection.await.context("a connection panicked")??);
    }
    ensure!(clock.join().is_ok(), "the clock of the load broke");
    Ok(Spread::of(samples))
}
