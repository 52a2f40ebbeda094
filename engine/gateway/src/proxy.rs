//! `/w/<webhook>/<environment>/<path>`: passes requests to handlers, streaming both ways.
//! A request picks its backend at its head and keeps it, so that switching a route fails none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use hookwright_core::port::{Access, GatewayRequest};
use hookwright_core::{Action, EnvironmentName, WebhookName};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::authenticate::strip_daemon_tokens;
use crate::load::{InFlight, Load};
use crate::table::{Route, Table};
use crate::{GatewayOptions, Problem, headers, token_holder};

/// How long a connection to a handler on this machine may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Passes requests on.
#[derive(Clone)]
pub(crate) struct Proxy {
    table: Arc<Table>,
    options: Arc<GatewayOptions>,
    pub(crate) client: Client<HttpConnector, Body>,
}

impl Proxy {
    pub(crate) fn new(table: Arc<Table>, options: Arc<GatewayOptions>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(10)).build(connector);
        Self { table, options, client }
    }
}

pub(crate) fn routes(proxy: Proxy) -> Router {
    Router::new().route("/w/{*rest}", axum::routing::any(pass)).with_state(proxy)
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response {
    let request_id = proxy.options.ids.uuid().simple().to_string();
    let (began, uri) = (proxy.options.clock.monotonic(), request.uri().clone());
    let mut load = None;
    let response = match proxy.pass(request, &request_id, &mut load).await {
        Ok(response) => response,
        Err(problem) => problem.about(&request_id).into_response(),
    };
    let took = proxy.options.clock.monotonic().saturating_sub(began);
    if let Some(load) = &load {
        load.count(Some(response.status()), took);
    }
    let place = split(&uri).map(|(webhook, environment, _)| (webhook, environment)).filter(|_| load.is_some());
    proxy.options.meter.gateway_request(GatewayRequest { place, status: response.status().as_u16(), took });
    response
}

/// The address split into webhook, environment and the rest, which is passed on as it came, never decoded.
fn split(uri: &Uri) -> Option<(&str, &str, String)> {
    let below = uri.path().strip_prefix("/w/")?;
    let (webhook, below) = below.split_once('/')?;
    let (environment, path) = below.split_once('/').unwrap_or((below, ""));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some((webhook, environment, format!("/{path}{query}")))
}

impl Proxy {
    /// Passes a request on; `load` becomes that of the deployment it is for.
    async fn pass(&self, mut request: Request, request_id: &str, load: &mut Option<Arc<Load>>) -> Result<Response, Problem> {
        let uri = request.uri().clone();
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "an address is /w/<webhook>/<environment>/<path>");
        let (webhook, environment, path) = split(&uri).ok_or_else(unknown)?;
        let nothing = || {
            let text = format!("nothing is deployed at /w/{webhook}/{environment}/; `hookwright status` shows what waits");
            Problem::new(StatusCode::NOT_FOUND, text)
        };
        let (route, in_flight) = self.table.enter(webhook, environment).ok_or_else(nothing)?;
        *load = Some(Arc::clone(in_flight.load()));
        if Table::is_closed(&route, &path) {
            let text = "events are delivered to this path, and nothing else: send them to the trigger's own address, which `hookwright triggers` shows";
            return Err(Problem::new(StatusCode::FORBIDDEN, text));
        }
        self.check_access(&route, webhook, environment, request.headers()).await?;
        let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > self.options.body_limit) {
            return Err(self.too_large());
        }
        let unavailable = || {
            let reason = route.target.unavailable_reason.clone().unwrap_or_else(|| "no instance is ready".to_owned());
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        };
        let backend = route.backend().ok_or_else(unavailable)?;
        let client_upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        strip_daemon_tokens(&self.options.store, request.headers_mut()).await?;
        let prefix = format!("/w/{webhook}/{environment}");
        let forward = self.forwarded(request, backend, &path, (request_id, &prefix))?;
        let timeout = self.options.response_timeout.min(route.target.response_timeout);
        let answer = tokio::time::timeout(timeout, self.client.request(forward)).await;
        let answer = answer.map_err(|_| {
            let text = format!("the handler took longer than {} s to answer", timeout.as_secs());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, text)
        })?;
        let answer = answer.map_err(|error| self.refusal(&error))?;
        Ok(self.answered(answer, client_upgrade, in_flight, request_id))
    }

    async fn check_access(&self, route: &Route, webhook: &str, environment: &str, headers: &HeaderMap) -> Result<(), Problem> {
        if route.target.access == Access::Open {
            return Ok(());
        }
        let actor = token_holder(&self.options.store, headers).await?;
        let (webhook, environment) = (WebhookName::new(webhook).ok(), EnvironmentName::new(environment).ok());
        if actor.may(Action::Read, webhook.as_ref(), environment.as_ref()) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "the token does not cover this webhook"))
    }

    /// The request as the handler gets it.
    fn forwarded(&self, request: Request, backend: SocketAddr, path: &str, names: (&str, &str)) -> Result<http::Request<Body>, Problem> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string()).unwrap_or_default();
        let (mut parts, body) = request.into_parts();
        if parts.version == Version::HTTP_2
            && let Some(host) = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        {
            parts.headers.entry(header::HOST).or_insert(host);
        }
        let upgrade = headers::towards_handler(&mut parts.headers, names.0, &peer, names.1);
        if let Some(protocol) = upgrade {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol);
        }
        let invalid = |_| Problem::new(StatusCode::BAD_REQUEST, "the path cannot be passed on");
        parts.uri = format!("http://{backend}{path}").parse().map_err(invalid)?;
        parts.version = Version::HTTP_11;
        let limit = usize::try_from(self.options.body_limit).unwrap_or(usize::MAX);
        Ok(http::Request::from_parts(parts, Body::new(Limited::new(body, limit))))
    }

    fn too_large(&self) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {} bytes", self.options.body_limit))
    }

    /// Why a handler gave no answer.
    fn refusal(&self, error: &hyper_util::client::legacy::Error) -> Problem {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(inner) = cause {
            if inner.is::<LengthLimitError>() {
                return self.too_large();
            }
            cause = inner.source();
        }
        let text = if error.is_connect() {
            "the handler does not accept connections"
        } else {
            "the handler closed the connection without an answer"
        };
        Problem::new(StatusCode::BAD_GATEWAY, format!("{text}; `hookwright logs --deployment` shows what it says"))
    }

    /// The answer as the client gets it; it counts as in flight until its body or its upgraded connection ends.
    fn answered(
        &self,
        mut answer: http::Response<hyper::body::Incoming>,
        client: Option<hyper::upgrade::OnUpgrade>,
        in_flight: InFlight,
        request_id: &str,
    ) -> Response {
        let protocol = headers::towards_client(answer.headers_mut(), request_id, self.options.sandbox_csp);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let handler = hyper::upgrade::on(&mut answer);
            let headers = answer.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = protocol {
                headers.insert(header::UPGRADE, protocol);
            }
            if let Some(client) = client {
                tokio::spawn(tunnel(client, handler, in_flight));
            }
            return answer.map(|_| Body::empty());
        }
        let held = move |frame| {
            let _in_flight = &in_flight;
            frame
        };
        answer.map(|body| Body::new(body.map_frame(held)))
    }
}

/// Copies both ways until one side ends.
async fn tunnel(client: hyper::upgrade::OnUpgrade, handler: hyper::upgrade::OnUpgrade, in_flight: InFlight) {
    if let (Ok(client), Ok(handler)) = tokio::join!(client, handler) {
        // Either side may end at any time; that is how such connections end.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(handler)).await;
    }
    drop(in_flight);
}
