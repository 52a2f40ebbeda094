//! The load generator: a closed loop over keep-alive connections; each sends its next request when the last answer is read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

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
        let events = load.secret.map(|secret| Events { secret, stem: format!("{connection}-{:?}", Instant::now()), number: 0 });
        let request = (load.address, load.path.to_owned(), events);
        connections.push(tokio::spawn(one(request, counted_from, until)));
    }
    let mut samples = Vec::new();
    for connection in connections {
        samples.extend(connection.await.context("a connection panicked")??);
    }
    ensure!(!samples.is_empty(), "no request was answered in time");
    Ok(Answered { per_second: samples.len() as f64 / load.time.as_secs_f64(), latency: Spread::of(samples) })
}

/// Events that no other connection and no other load sends.
struct Events {
    secret: &'static str,
    stem: String,
    number: u64,
}

impl Events {
    fn next(&mut self, path: &str, address: SocketAddr) -> Result<Request<Full<Bytes>>> {
        self.number += 1;
        let id = Sha256::digest(format!("{}-{}", self.stem, self.number));
        let id = hex::encode(&id[..16]);
        let filling = "x".repeat(850);
        let body = format!(
            r#"{{"action":"opened","issue":{{"number":{},"title":"{id}","body":"{filling}"}},"repository":{{"full_name":"acme/shop"}}}}"#,
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

async fn one((address, path, mut events): (SocketAddr, String, Option<Events>), counted_from: Instant, until: Instant) -> Result<Vec<f64>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut samples = Vec::new();
    loop {
        let request = match &mut events {
            Some(events) => events.next(&path, address)?,
            None => Request::get(&path).header("host", address.to_string()).body(Full::default())?,
        };
        let began = Instant::now();
        if began >= until {
            break;
        }
        sender.ready().await.context("the server closed a connection that should be kept")?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == 200, "{address}{path} answers {}", answer.status());
        answer.into_body().collect().await?;
        if began >= counted_from {
            samples.push(millis(began.elapsed()));
        }
    }
    drop(sender);
    // The connection ends because its sender is gone.
    let _ = driver.await;
    Ok(samples)
}
