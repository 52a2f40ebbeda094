//! The load generator: a closed loop over keep-alive connections; each sends its next request when the last answer is read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::sample::{Spread, millis};

/// Where requests go, how many at once, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path of every request.
    pub(crate) path: &'a str,
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
    for _ in 0..load.connections {
        let request = (load.address, load.path.to_owned());
        connections.push(tokio::spawn(one(request, counted_from, until)));
    }
    let mut samples = Vec::new();
    for connection in connections {
        samples.extend(connection.await.context("a connection panicked")??);
    }
    ensure!(!samples.is_empty(), "no request was answered in time");
    Ok(Answered { per_second: samples.len() as f64 / load.time.as_secs_f64(), latency: Spread::of(samples) })
}

async fn one((address, path): (SocketAddr, String), counted_from: Instant, until: Instant) -> Result<Vec<f64>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut samples = Vec::new();
    loop {
        let began = Instant::now();
        if began >= until {
            break;
        }
        let request = Request::get(&path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
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
