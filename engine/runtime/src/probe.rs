//! Asking an instance whether it is well: a connection, or a path that answers 2xx or 3xx.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an instance may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the instance answers.
pub(crate) async fn answers(address: SocketAddr, path: Option<&str>) -> bool {
    tokio::time::timeout(PATIENCE, ask(address, path)).await.unwrap_or(false)
}

async fn ask(address: SocketAddr, path: Option<&str>) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    let Some(path) = path else { return true };
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else { return false };
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path).header("Host", address.to_string()).header("User-Agent", "hookwright-probe");
    let Ok(request) = request.body(Empty::<Bytes>::new()) else { return false };
    let answer = sender.send_request(request).await;
    driver.abort();
    answer.is_ok_and(|answer| answer.status().is_success() || answer.status().is_redirection())
}
