//! `/w/<webhook>/<environment>/<path>`: passes requests to handlers, streaming both ways.
//! A request picks its backend at its head and keeps it, so that switching a route fails none.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hookwright_core::port::{Access, GatewayRequest};
use hookwright_core::{Action, EnvironmentName, WebhookName};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;

use crate::authenticate::strip_daemon_tokens;
use crate::handlers::{Answer, Failure, Handlers};
use crate::load::{InFlight, Load};
use crate::table::{Route, Table};
use crate::{GatewayOptions, Problem, clients_body, headers, token_holder};

/// Below it handlers are reached.
const PREFIX: &str = "/w/";

/// Passes requests on. It stands beside the router and not behind it: what every request to a handler pays for is in this file.
#[derive(Clone)]
pub struct Proxy {
    table: Arc<Table>,
    options: Arc<GatewayOptions>,
    pub(crate) handlers: Handlers,
}

impl Proxy {
    pub(crate) fn new(table: Arc<Table>, options: Arc<GatewayOptions>) -> Self {
        Self { table, options, handlers: Handlers::default() }
    }
}

/// The address split into webhook, environment and the rest, which is passed on as it came, never decoded.
fn split(uri: &Uri) -> Option<(&str, &str, &str)> {
    let below = uri.path_and_query()?.as_str().strip_prefix(PREFIX)?;
    let (webhook, below) = below.split_once('/')?;
    let end = below.find(['/', '?']).unwrap_or(below.len());
    let (environment, path) = below.split_at(end);
    (!webhook.contains('?')).then_some((webhook, environment, path))
}

/// The address of a request, who sent it, and its id.
type About<'a> = (&'a Uri, SocketAddr, &'a str);

/// Where a request goes, and what the handler is told of where it comes from.
struct Forwarded<'a> {
    backend: SocketAddr,
    path: &'a str,
    peer: IpAddr,
    request_id: &'a str,
    prefix: &'a str,
    /// Whether the client's connection can become one of another protocol.
    is_upgradable: bool,
}

impl Proxy {
    /// The same with connections to handlers of its own: those belong to the runtime that they were opened on.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::new(self.table.clone(), self.options.clone())
    }

    /// Whether a request is for a handler.
    pub fn takes(&self, uri: &Uri) -> bool {
        uri.path().starts_with(PREFIX)
    }

    /// The handler's answer to a request that came from `peer`, or why there is none.
    pub async fn answer(&self, request: Request, peer: SocketAddr) -> Response {
        let request_id = self.options.ids.uuid().simple().to_string();
        let (began, uri) = (self.options.clock.monotonic(), request.uri().clone());
        let mut load = None;
        let response = match self.pass(request, (&uri, peer, &request_id), &mut load).await {
            Ok(response) => response,
            Err(problem) => problem.about(&request_id).into_response(),
        };
        let took = self.options.clock.monotonic().saturating_sub(began);
        if let Some(load) = &load {
            load.count(Some(response.status()), took);
        }
        let place = split(&uri).map(|(webhook, environment, _)| (webhook, environment)).filter(|_| load.is_some());
        self.options.meter.gateway_request(GatewayRequest { place, status: response.status().as_u16(), took });
        response
    }

    /// Passes a request on; `load` becomes that of the deployment it is for.
    async fn pass(&self, mut request: Request, about: About<'_>, load: &mut Option<Arc<Load>>) -> Result<Response, Problem> {
        let (uri, peer, request_id) = about;
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "an address is /w/<webhook>/<environment>/<path>");
        let (webhook, environment, path) = split(uri).ok_or_else(unknown)?;
        let nothing = || {
            let text = format!("nothing is deployed at /w/{webhook}/{environment}/; `hookwright status` shows what waits");
            Problem::new(StatusCode::NOT_FOUND, text)
        };
        let (route, in_flight) = self.table.enter(webhook, environment).ok_or_else(nothing)?;
        *load = Some(Arc::clone(in_flight.load()));
        if Table::is_closed(&route, path) {
            let text = "events are delivered to this path, and nothing else: send them to the trigger's own address, which `hookwright triggers` shows";
            return Err(Problem::new(StatusCode::FORBIDDEN, text));
        }
        self.check_access(&route, webhook, environment, request.headers()).await?;
        let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > self.options.body_limit) {
            return Err(clients_body::too_large(self.options.body_limit));
        }
        let backend = match route.backend() {
            Some(backend) => backend,
            None => return Err(self.unavailable(&route, (webhook, environment), request.headers()).await),
        };
        let client_upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        strip_daemon_tokens(&self.options.store, request.headers_mut()).await?;
        let prefix = format!("{PREFIX}{webhook}/{environment}");
        let is_upgradable = client_upgrade.is_some();
        let forwarded = Forwarded { backend, path, peer: peer.ip(), request_id, prefix: &prefix, is_upgradable };
        let forward = self.forwarded(request, &forwarded)?;
        let upgrade = forward.headers().get(header::UPGRADE).cloned().zip(client_upgrade);
        let timeout = self.options.response_timeout.min(route.target.response_timeout);
        let answer = tokio::time::timeout(timeout, self.handlers.send(backend, forward)).await;
        let answer = answer.map_err(|_| {
            let text = format!("the handler took longer than {} s to answer", timeout.as_secs());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, text)
        })?;
        let answer = answer.map_err(|error| self.refusal(&error))?;
        self.answered(answer, upgrade, in_flight, request_id)
    }

    /// Why nobody answers: the reason holds lines of the handler's log, which are for people who may read them.
    async fn unavailable(&self, route: &Route, (webhook, environment): (&str, &str), headers: &HeaderMap) -> Problem {
        let (place, within) = (WebhookName::new(webhook).ok(), EnvironmentName::new(environment).ok());
        let may_know = match token_holder(&self.options.store, headers).await {
            Ok(actor) => actor.may(Action::Read, place.as_ref(), within.as_ref()),
            Err(_) => false,
        };
        let reason = route.target.unavailable_reason.clone().filter(|_| may_know);
        let text = || {
            format!("no instance of `{webhook}` is ready in `{environment}`; whoever runs it sees why with `hookwright status {webhook}`")
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.unwrap_or_else(text))
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
    fn forwarded(&self, request: Request, to: &Forwarded<'_>) -> Result<http::Request<Body>, Problem> {
        let (mut parts, body) = request.into_parts();
        let upgrade = headers::towards_handler(&mut parts.headers, to.request_id, to.peer, to.prefix);
        if let Some(protocol) = upgrade.filter(|protocols| to.is_upgradable && headers::is_foreign(protocols)) {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol);
        }
        if !parts.headers.contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_str(&to.backend.to_string())
        {
            parts.headers.insert(header::HOST, host);
        }
        let path = if to.path.starts_with('/') { Cow::from(to.path) } else { Cow::from(format!("/{}", to.path)) };
        let invalid = |_| Problem::new(StatusCode::BAD_REQUEST, "the path cannot be passed on");
        parts.uri = path.parse().map_err(invalid)?;
        parts.version = Version::HTTP_11;
        let limit = usize::try_from(self.options.body_limit).unwrap_or(usize::MAX);
        // Most requests have none.
        let body = if body.is_end_stream() { Body::empty() } else { Body::new(Limited::new(clients_body::marked(body), limit)) };
        Ok(http::Request::from_parts(parts, body))
    }

    /// Why a handler gave no answer.
    fn refusal(&self, failure: &Failure) -> Problem {
        let text = match failure {
            Failure::Connect => "the handler does not accept connections",
            Failure::Exchange(error) => match clients_body::blame(error, self.options.body_limit) {
                Some(problem) => return problem,
                None => "the handler closed the connection without an answer",
            },
        };
        Problem::new(StatusCode::BAD_GATEWAY, format!("{text}; `hookwright logs --deployment` shows what it says"))
    }

    /// The answer as the client gets it; it counts as in flight until its body or its upgraded connection ends.
    fn answered(
        &self,
        mut answer: http::Response<Answer>,
        asked: Option<(HeaderValue, hyper::upgrade::OnUpgrade)>,
        in_flight: InFlight,
        request_id: &str,
    ) -> Result<Response, Problem> {
        let protocol = headers::towards_client(answer.headers_mut(), request_id, self.options.sandbox_csp);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Taken for the client's wish otherwise, what the client sends next, its next request, would be raw bytes for the handler.
            let wished = protocol.zip(asked).filter(|(protocol, (asked, _))| headers::is_one_of(protocol, asked));
            let Some((protocol, (_, client))) = wished else {
                let text = "the handler switched to a protocol that the client did not ask for; it has to answer in HTTP";
                return Err(Problem::new(StatusCode::BAD_GATEWAY, text));
            };
            let handler = hyper::upgrade::on(&mut answer);
            let headers = answer.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol);
            tokio::spawn(async move {
                tunnel(client, handler).await;
                drop(in_flight);
            });
            return Ok(answer.map(|_| Body::empty()));
        }
        let held = move |frame| {
            let _in_flight = &in_flight;
            frame
        };
        Ok(answer.map(|body| Body::new(body.map_frame(held))))
    }
}

/// Copies both ways until one side ends.
pub(crate) async fn tunnel(client: hyper::upgrade::OnUpgrade, handler: hyper::upgrade::OnUpgrade) {
    if let (Ok(client), Ok(handler)) = tokio::join!(client, handler) {
        // Either side may end at any time; that is how such connections end.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(handler)).await;
    }
}
