//! `/v2/…`: the registry by the OCI distribution specification 1.1. Any user name, a daemon token as password or as bearer.
//! Invariant: nothing is said about a repository, not even that it exists, before the token was found to cover the webhook of its name.

mod address;
mod blob;
mod list;
mod manifest;
mod range;
mod refusal;
mod upload;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{Stream, StreamExt};
use hookwright_core::port::{BlobReader, ImageRegistry};
use hookwright_core::{Action, Actor, IdSource, WebhookName};
use hookwright_store::{NewAudit, Store};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::token_holder;
use address::{Address, Query};
use refusal::{Code, Refusal};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// A client that sends nothing of its body for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// What the registry's routes work with.
#[derive(Clone)]
pub(crate) struct RegistryState {
    pub(crate) registry: Arc<dyn ImageRegistry>,
    pub(crate) store: Store,
    pub(crate) ids: Arc<dyn IdSource>,
}

/// A request that was authenticated and allowed, without its body.
struct Call {
    actor: Actor,
    query: Query,
    method: Method,
    headers: HeaderMap,
}

pub(crate) fn routes(state: RegistryState) -> Router {
    Router::new().route("/v2", any(serve)).route("/v2/", any(serve)).route("/v2/{*rest}", any(serve)).with_state(state)
}

async fn serve(State(state): State<RegistryState>, request: Request) -> Response {
    let is_head = request.method() == Method::HEAD;
    let mut response = state.serve(request).await.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // Everybody who may push says what lies at these addresses, which are on the daemon's own origin.
    response.headers_mut().insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    if is_head { response.map(|_| Body::empty()) } else { response }
}

impl RegistryState {
    async fn serve(&self, request: Request) -> Result<Response, Refusal> {
        let actor = token_holder(&self.store, request.headers()).await.map_err(Refusal::from)?;
        let address = Address::parse(request.uri().path())?;
        let query = Query::of(request.uri())?;
        if let Some(repository) = address.repository() {
            check(&actor, needed(request.method(), &address), repository)?;
        }
        let (parts, body) = request.into_parts();
        let call = Call { actor, query, method: parts.method, headers: parts.headers };
        self.answer(address, &call, body).await
    }

    async fn answer(&self, address: Address, call: &Call, body: Body) -> Result<Response, Refusal> {
        match (call.method.as_str(), address) {
            ("GET" | "HEAD", Address::Base) => Ok(([(header::CONTENT_TYPE, "application/json")], "{}").into_response()),
            ("GET" | "HEAD", Address::Catalog) => self.catalog(call).await,
            ("GET" | "HEAD", Address::Tags(repository)) => self.tags(&repository, call).await,
            ("GET" | "HEAD", Address::Referrers(repository, subject)) => self.referrers(&repository, &subject, call).await,
            ("GET" | "HEAD", Address::Manifest(repository, reference)) => self.manifest(&repository, &reference, call).await,
            ("PUT", Address::Manifest(repository, reference)) => self.put_manifest(&repository, reference, call, body).await,
            ("DELETE", Address::Manifest(repository, reference)) => self.remove_manifest(&repository, &reference, call).await,
            ("GET" | "HEAD", Address::Blob(repository, blob)) => self.blob(&repository, &blob, call).await,
            ("POST", Address::Uploads(repository)) => self.begin_upload(repository, call, body).await,
            ("GET" | "HEAD", Address::Upload(upload)) => self.upload_status(&upload).await,
            ("PATCH", Address::Upload(upload)) => self.append_upload(&upload, call, body).await,
            ("PUT", Address::Upload(upload)) => self.finish_upload(&upload, call, body).await,
            ("DELETE", Address::Upload(upload)) => self.cancel_upload(&upload).await,
            (_, address) => Err(not_offered(&call.method, &address)),
        }
    }

    /// Writes into the audit log who changed a repository.
    async fn audit(&self, actor: &Actor, action: &'static str, repository: &WebhookName, detail: &str) -> Result<(), Refusal> {
        let write = async {
            let mut tx = self.store.begin().await?;
            let line = NewAudit { user: &actor.user, action, webhook: Some(repository), environment: None, detail };
            tx.audit_append(line).await?;
            tx.commit(action).await
        };
        write.await.map_err(|error| {
            tracing::error!(%error, "the audit log could not be written during a request to the registry");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unknown, "the database does not answer; try again soon")
        })
    }
}

/// What one must be allowed to do: pushing an image needs what pushing a commit needs.
fn needed(method: &Method, address: &Address) -> Action {
    match (method.as_str(), address) {
        (_, Address::Upload(_) | Address::Uploads(_)) => Action::Develop,
        ("GET" | "HEAD", _) => Action::Read,
        ("DELETE", _) => Action::Administer,
        _ => Action::Develop,
    }
}

fn check(actor: &Actor, action: Action, repository: &WebhookName) -> Result<(), Refusal> {
    if actor.may(action, Some(repository), None) {
        return Ok(());
    }
    let what = match action {
        Action::Read => "pull from",
        Action::Administer => "delete from",
        _ => "push to",
    };
    let text = format!("{} may not {what} `{repository}`; ask an admin for a token that may", actor.user);
    Err(Refusal::new(StatusCode::FORBIDDEN, Code::Denied, text))
}

fn not_offered(method: &Method, address: &Address) -> Refusal {
    let (allowed, text) = match address {
        Address::Blob(..) if method == Method::DELETE => (
            "GET, HEAD",
            "blobs are not deleted one by one: they go by themselves an hour after the last manifest that names them".to_owned(),
        ),
        Address::Base | Address::Catalog | Address::Tags(_) | Address::Referrers(..) | Address::Blob(..) => {
            ("GET, HEAD", format!("{method} is not offered here"))
        }
        Address::Manifest(..) => ("GET, HEAD, PUT, DELETE", format!("{method} is not offered here")),
        Address::Uploads(_) => ("POST", format!("{method} is not offered here; an upload begins with POST")),
        Address::Upload(_) => ("GET, HEAD, PATCH, PUT, DELETE", format!("{method} is not offered here")),
    };
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, text).with(header::ALLOW, allowed)
}

/// A body that fails when its sender is silent for too long.
fn patient(body: Body) -> BlobReader {
    Box::pin(patient_stream(body.into_data_stream().map(|part| part.map_err(io::Error::other)), SILENCE))
}

fn patient_stream<S, T>(stream: S, silence: Duration) -> impl Stream<Item = io::Result<T>> + Send
where
    S: Stream<Item = io::Result<T>> + Send + Unpin,
    T: Send,
{
    futures_util::stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        match tokio::time::timeout(silence, stream.next()).await {
            Ok(part) => part.map(|part| (part, Some(stream))),
            Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, "the sender is silent")), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_that_falls_silent_is_given_up() {
        let body = futures_util::stream::iter([Ok(1)]).chain(futures_util::stream::pending());
        let parts: Vec<_> = patient_stream(Box::pin(body), Duration::from_millis(1)).collect().await;
        assert_eq!(parts.len(), 2);
        assert!(parts[1].as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_viewer_pulls_a_developer_pushes_and_an_admin_deletes() {
        let address = |path: &str| Address::parse(path).unwrap_or_else(|_| panic!("{path}"));
        let (manifest, blob) = (address("/v2/shop/manifests/latest"), address(&format!("/v2/shop/blobs/sha256:{}", "0".repeat(64))));
        let (uploads, upload) = (address("/v2/shop/blobs/uploads/"), address(&format!("/v2/shop/blobs/uploads/up_{}", "0".repeat(32))));
        for (method, address, action) in [
            (Method::GET, &manifest, Action::Read),
            (Method::HEAD, &blob, Action::Read),
            (Method::PUT, &manifest, Action::Develop),
            (Method::DELETE, &manifest, Action::Administer),
            (Method::DELETE, &blob, Action::Administer),
            (Method::POST, &uploads, Action::Develop),
            (Method::GET, &upload, Action::Develop),
            (Method::DELETE, &upload, Action::Develop),
        ] {
            assert_eq!(needed(&method, address), action, "{method} {address:?}");
        }
    }
}
