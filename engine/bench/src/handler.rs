//! The handler behind the figures: a small native server, so that what is before it is measured and not the handler. Of events it notes how long after the
//! moment they were due they came, and tells it when it is asked. While the file that may be named to it exists, it does not start.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::load::since_epoch;

/// What it answers to all else.
const ANSWER: &[u8] = b"hello from a handler that does nothing else\n";

/// Where it tells how late events came, in milliseconds, and forgets it.
pub(crate) const DELAYS: &str = "/delays";

/// Where it is ended.
pub(crate) const END: &str = "/end";

type Delays = Arc<Mutex<Vec<f64>>>;

/// Serves on `$PORT` until it is ended.
pub(crate) fn main() -> Result<()> {
    if let Some(down) = std::env::args().nth(2) {
        ensure!(!std::path::Path::new(&down).exists(), "down for as long as `{down}` exists");
    }
    let port: u16 = std::env::var("PORT").context("PORT is not set")?.parse().context("PORT is no port")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(port))
}

async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("cannot listen on port {port}"))?;
    let delays = Delays::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let delays = delays.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, delays.clone()));
            // A connection ends however its client likes.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(request: Request<Incoming>, delays: Delays) -> Result<Response<Full<Bytes>>, Infallible> {
    let noted = || delays.lock().unwrap_or_else(PoisonError::into_inner);
    if request.method() == Method::POST {
        let came = since_epoch();
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if let Some(due) = due(&body) {
            noted().push((came.as_micros() as f64 - due) / 1000.0);
        }
    } else if request.uri().path() == DELAYS {
        let told = serde_json::to_vec(&std::mem::take(&mut *noted())).unwrap_or_default();
        return Ok(Response::new(Full::from(told)));
    } else if request.uri().path() == END {
        std::process::exit(0);
    }
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER))))
}

/// When an event was due, in microseconds of the wall clock.
fn due(body: &[u8]) -> Option<f64> {
    let rest = body.strip_prefix(br#"{"due":"#)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}
