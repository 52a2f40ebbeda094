//! What a daemon that follows does with requests: events it takes in itself, all else it passes on to the daemon that leads.
//! Invariant: nothing is passed on twice, so that two daemons that each think the other one leads cannot play ball.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hookwright_core::port::{Leadership, Standing};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::proxy::tunnel;
use crate::{Problem, clients_body, headers};

/// How long a connection to the leader may take.
const CONNECT: Duration = Duration::from_secs(2);

/// When to ask again while nobody leads, in seconds.
const AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Marks what was passed on.
const PASSED_ON: HeaderName = HeaderName::from_static(headers::PASSED_ON);

/// How a follower and every proxy before it name the client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Every daemon answers for itself here.
const OWN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What only the leader has, even to read: handlers, repositories, images.
const LEADERS: [&str; 3] = ["/w/", "/git/", "/v2/"];

/// Which of a daemon's listeners requests came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The daemon's own.
    Main,
    /// That of handlers alone.
    Handlers,
}

/// What becomes of a request.
pub enum Diverted {
    /// It was answered.
    Answered(Response),
    /// This daemon answers it.
    Here(Request),
}

/// Passes requests on while this daemon follows. Cloning it clones a handle.
#[derive(Clone)]
pub struct Relay {
    leadership: Arc<dyn Leadership>,
    listener: Listener,
    client: Client<HttpConnector, Body>,
}

impl Relay {
    /// For one listener.
    pub fn new(leadership: Arc<dyn Leadership>, listener: Listener) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(10)).build(connector);
        Self { leadership, listener, client }
    }

    /// Passes a request on, unless this daemon answers it itself.
    pub async fn divert(&self, request: Request, peer: SocketAddr) -> Diverted {
        let Standing::Follows { leader, gateway, .. } = self.leadership.standing() else { return Diverted::Here(request) };
        let path = request.uri().path();
        if OWN.contains(&path) || path.starts_with("/hooks/") {
            return Diverted::Here(request);
        }
        let leader = if self.listener == Listener::Main { leader } else { gateway };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let from_database = reads && !LEADERS.iter().any(|prefix| path.starts_with(prefix));
        let Some(leader) = leader.filter(|_| !request.headers().contains_key(&PASSED_ON)) else {
            return if from_database { Diverted::Here(request) } else { nobody("no daemon leads at the moment") };
        };
        let again = from_database.then(|| without_body(&request));
        match (self.exchange(request, (&leader, peer)).await, again) {
            (Ok(response), _) => Diverted::Answered(response),
            (Err(_), Some(again)) => Diverted::Here(again),
            (Err(error), None) if error.is_connect() => nobody(&format!("the daemon that leads, at {leader}, is not reached")),
            (Err(error), None) => {
                if let Some(problem) = clients_body::blame(&error, u64::MAX) {
                    return Diverted::Answered(problem.into_response());
                }
                let text = format!("the daemon that leads, at {leader}, broke off; look whether it was done, and ask again if not");
                Diverted::Answered(Problem::new(StatusCode::BAD_GATEWAY, text).into_response())
            }
        }
    }

    /// Passes a request on. When no connection comes about, nobody has seen it.
    async fn exchange(&self, mut request: Request, to: (&str, SocketAddr)) -> Result<Response, hyper_util::client::legacy::Error> {
        let (leader, peer) = to;
        let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let (mut parts, body) = request.into_parts();
        let protocol = headers::strip_hop_by_hop(&mut parts.headers);
        renew_upgrade(&mut parts.headers, protocol.filter(|_| upgrade.is_some()));
        parts.headers.insert(PASSED_ON, HeaderValue::from_static("1"));
        if let Ok(peer) = HeaderValue::from_str(&peer.ip().to_string()) {
            parts.headers.append(FORWARDED_FOR, peer);
        }
        parts.uri = address(leader, &parts.uri);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let mut answer = self.client.request(http::Request::from_parts(parts, clients_body::marked(body))).await?;
        let protocol = headers::strip_hop_by_hop(answer.headers_mut());
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let leaders = hyper::upgrade::on(&mut answer);
            renew_upgrade(answer.headers_mut(), protocol);
            if let Some(clients) = upgrade {
                tokio::spawn(tunnel(clients, leaders));
            }
            return Ok(answer.map(|_| Body::empty()));
        }
        Ok(answer.map(Body::new))
    }
}

fn nobody(why: &str) -> Diverted {
    let text = format!("{why}; another one takes over within 20 s, and events are taken in meanwhile");
    let mut response = Problem::new(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, AGAIN);
    Diverted::Answered(response)
}

/// A reading request once more.
fn without_body(request: &Request) -> Request {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

fn renew_upgrade(headers: &mut HeaderMap, protocol: Option<HeaderValue>) {
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// The same path at the leader; `leader` is an origin such as `http://10.0.0.1:8080`.
fn address(leader: &str, uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{}{path}", leader.trim_end_matches('/')).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_passed_on_as_it_came() {
        let uri: Uri = "/w/a/b/%2e%2e//x?y=%20".parse().expect("an address");
        assert_eq!(address("http://10.0.0.1:8080/", &uri).to_string(), "http://10.0.0.1:8080/w/a/b/%2e%2e//x?y=%20");
    }
}
