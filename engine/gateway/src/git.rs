//! `/git/<name>.git/…`: git over smart HTTP. Any user name, a daemon token as password; the first push creates the repository.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use hookwright_core::port::{GitByteStream, GitHost, GitRequest, PushSink};
use hookwright_core::{Action, Actor, Blame, PortError, RepositoryKind, RepositoryName, WebhookName};
use hookwright_store::Store;
use http::{HeaderMap, StatusCode, header};

use crate::{Problem, token_holder};

/// What the git routes work with.
#[derive(Clone)]
pub(crate) struct GitState {
    pub(crate) host: Arc<dyn GitHost>,
    pub(crate) pushed: Arc<dyn PushSink>,
    pub(crate) store: Store,
}

pub(crate) fn routes(state: GitState) -> Router {
    Router::new()
        .route("/git/{repository}/info/refs", get(serve))
        .route("/git/{repository}/git-upload-pack", post(serve))
        .route("/git/{repository}/git-receive-pack", post(serve))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(state)
}

async fn serve(State(state): State<GitState>, Path(repository): Path<String>, request: Request) -> Response {
    state.serve(&repository, request).await.unwrap_or_else(IntoResponse::into_response)
}

impl GitState {
    async fn serve(&self, repository: &str, request: Request) -> Result<Response, Problem> {
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "an address is /git/<name>.git, the name a DNS label");
        let name = repository.strip_suffix(".git").and_then(|name| RepositoryName::new(name).ok()).ok_or_else(unknown)?;
        let actor = token_holder(&self.store, request.headers()).await?;
        let service_path = request.uri().path().rsplit_once(".git/").map(|(_, path)| path.to_owned()).ok_or_else(unknown)?;
        let query = request.uri().query().unwrap_or_default().to_owned();
        let pushes = service_path == "git-receive-pack" || query.contains("service=git-receive-pack");
        self.check(&actor, &name, pushes).await?;
        let announces = service_path == "git-receive-pack";
        let user = actor.user.clone();
        let (parts, body) = request.into_parts();
        let header = |name: &str| header_text(&parts.headers, name);
        let request = GitRequest {
            repository: name.clone(),
            service_path,
            query,
            method: parts.method.to_string(),
            content_type: header(header::CONTENT_TYPE.as_str()),
            content_encoding: header(header::CONTENT_ENCODING.as_str()),
            git_protocol: header("git-protocol"),
            user: user.clone(),
            body: Box::pin(body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other))),
        };
        let answer = self.host.serve(request).await.map_err(|error| problem(&error))?;
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        let body = if announces { self.announced(answer.body, name, user) } else { answer.body };
        response
            .body(Body::from_stream(body))
            .map_err(|_| Problem::new(StatusCode::BAD_GATEWAY, "git gave an answer that cannot be passed on"))
    }

    /// Rights, and the creation of a repository by the first push of somebody who may.
    async fn check(&self, actor: &Actor, name: &RepositoryName, pushes: bool) -> Result<(), Problem> {
        let webhook = WebhookName::new(name.as_str()).ok();
        let action = if pushes { Action::Develop } else { Action::Read };
        if !actor.may(action, webhook.as_ref(), None) {
            let what = if pushes { "push to" } else { "read" };
            let text = format!("{} may not {what} the repository `{name}`; ask an admin for a token that may", actor.user);
            return Err(Problem::new(StatusCode::FORBIDDEN, text));
        }
        let known = self.store.repository_fetch_by_name(name).await.map_err(|error| database(&error))?;
        match known.map(|repository| repository.kind) {
            Some(RepositoryKind::Hosted) => {}
            Some(RepositoryKind::Remote { .. }) => {
                return Err(Problem::new(StatusCode::CONFLICT, format!("`{name}` is watched elsewhere; push there")));
            }
            None if pushes => {
                self.store.repository_create(name, &RepositoryKind::Hosted).await.map_err(|error| database(&error))?;
            }
            None => return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no repository `{name}`; the first push creates it"))),
        }
        self.host.create(name).await.map_err(|error| problem(&error))
    }

    /// Tells the engine once the answer's body has ended: then refs are final.
    fn announced(&self, body: GitByteStream, name: RepositoryName, user: String) -> GitByteStream {
        let pushed = self.pushed.clone();
        let end = futures_util::stream::once(async move {
            pushed.pushed(&name, &user).await;
            Ok(Bytes::new())
        });
        Box::pin(body.chain(end))
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn problem(error: &PortError) -> Problem {
    let status = if error.blame == Blame::Failed { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_GATEWAY };
    tracing::warn!(%error, cause = ?error.cause, "a git request failed");
    Problem::new(status, error.message.clone())
}

fn database(error: &hookwright_store::Error) -> Problem {
    tracing::error!(%error, "the store failed during a git request");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again soon")
}
