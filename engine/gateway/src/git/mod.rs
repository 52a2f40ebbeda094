//! `/git/<name>.git/…`: git over smart HTTP. Any user name, a daemon token as password; the first push creates the repository.

mod band;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use hookwright_core::port::{GitByteStream, GitHost, GitRequest, PushNews, PushSink};
use hookwright_core::{Action, Actor, Blame, PortError, Repository, RepositoryKind, RepositoryName, WebhookName};
use hookwright_store::Store;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{Mutex, oneshot};

use crate::{Problem, token_holder};

/// How long the answer to a push waits for the engine to take it in.
const TOLD: Duration = Duration::from_secs(30);

/// What the git routes work with.
#[derive(Clone)]
pub(crate) struct GitState {
    pub(crate) host: Arc<dyn GitHost>,
    pub(crate) pushed: Arc<dyn PushSink>,
    pub(crate) store: Store,
    /// Held while a repository is recorded or forgotten after a push.
    pub(crate) registering: Arc<Mutex<()>>,
}

/// A push that is being taken.
struct Push {
    name: RepositoryName,
    user: String,
    is_new: bool,
    /// Where the daemon is, as whoever pushes sees it.
    address: String,
}

type Answer = (u16, Vec<(String, String)>, GitByteStream);

pub(crate) fn routes(state: GitState) -> Router {
    Router::new()
        .route("/git/{repository}/info/refs", get(serve))
        .route("/git/{repository}/git-upload-pack", post(serve))
        .route("/git/{repository}/git-receive-pack", post(deliver))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(state)
}

async fn serve(State(state): State<GitState>, Path(repository): Path<String>, request: Request) -> Response {
    state.serve(&repository, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// Takes a push in a task of its own from its first moment: a client that goes away takes neither the push nor the word of it with it.
async fn deliver(State(state): State<GitState>, Path(repository): Path<String>, request: Request) -> Response {
    let served = tokio::spawn(async move { state.serve(&repository, request).await }).await;
    let broken = |_| Err(Problem::new(StatusCode::BAD_GATEWAY, "the push could not be taken; push again"));
    served.unwrap_or_else(broken).unwrap_or_else(IntoResponse::into_response)
}

/// Where the daemon is for whoever sent these headers; who forges them is misled alone.
fn address(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let scheme = if text("x-forwarded-proto") == "https" { "https" } else { "http" };
    format!("{scheme}://{}", text(header::HOST.as_str()))
}

/// A piece of news as git shows it, line by line.
fn lines(news: &PushNews, address: &str) -> Vec<String> {
    let mut lines: Vec<String> = news.text.lines().map(str::to_owned).collect();
    if let Some(path) = &news.path {
        lines.push(format!("  {address}{path}"));
    }
    lines
}

/// Whether the engine knows a repository already.
enum Known {
    Yes,
    /// It becomes one by this push, if anything arrives.
    NotYet,
}

impl GitState {
    async fn serve(&self, repository: &str, request: Request) -> Result<Response, Problem> {
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "an address is /git/<name>.git, the name a DNS label");
        let name = repository.strip_suffix(".git").and_then(|name| RepositoryName::new(name).ok()).ok_or_else(unknown)?;
        let actor = token_holder(&self.store, request.headers()).await?;
        let service_path = request.uri().path().rsplit_once(".git/").map(|(_, path)| path.to_owned()).ok_or_else(unknown)?;
        let query = request.uri().query().unwrap_or_default().to_owned();
        let delivers = service_path == "git-receive-pack";
        let pushes = delivers || query.contains("service=git-receive-pack");
        let known = self.check(&actor, &name, pushes).await?;
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
        let answer = if delivers {
            let address = address(&parts.headers);
            self.take(Push { name, user, is_new: matches!(known, Known::NotYet), address }, request).await?
        } else {
            let answer = self.host.serve(request).await.map_err(|error| problem(&error))?;
            (answer.status, answer.headers, answer.body)
        };
        let (status, headers, body) = answer;
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response
            .body(Body::from_stream(body))
            .map_err(|_| Problem::new(StatusCode::BAD_GATEWAY, "git gave an answer that cannot be passed on"))
    }

    /// Rights, and whether the repository is there or may come to be.
    async fn check(&self, actor: &Actor, name: &RepositoryName, pushes: bool) -> Result<Known, Problem> {
        let webhook = WebhookName::new(name.as_str()).ok();
        let action = if pushes { Action::Develop } else { Action::Read };
        if !actor.may(action, webhook.as_ref(), None) {
            let what = if pushes { "push to" } else { "read" };
            let text = format!("{} may not {what} the repository `{name}`; ask an admin for a token that may", actor.user);
            return Err(Problem::new(StatusCode::FORBIDDEN, text));
        }
        let known = self.store.repository_fetch_by_name(name).await.map_err(|error| database(&error))?;
        match known {
            Some(Repository { kind: RepositoryKind::Remote { .. }, .. }) => {
                Err(Problem::new(StatusCode::CONFLICT, format!("`{name}` is watched elsewhere; push there")))
            }
            Some(Repository { default_branch: Some(_), .. }) if !self.host.exists(name).await.map_err(|error| problem(&error))? => {
                tracing::error!(repository = %name, "the folder of the repository `{name}` is gone");
                let text = format!("the repository `{name}` is gone from the daemon's disk; restore it, or remove it and push it anew");
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, text))
            }
            Some(_) => Ok(Known::Yes),
            None if pushes => Ok(Known::NotYet),
            None => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no repository `{name}`; the first push creates it"))),
        }
    }

    /// Takes a push. The repository is known before the first ref of it moves, so that a crash loses no push; one into which
    /// nothing came is forgotten again. The body ends once the engine was told.
    async fn take(&self, push: Push, request: GitRequest) -> Result<Answer, Problem> {
        if push.is_new {
            self.store.repository_create(&push.name, &RepositoryKind::Hosted).await.map_err(|error| database(&error))?;
        }
        let answer = match self.host.serve(request).await {
            Ok(answer) => answer,
            Err(error) => {
                self.tell(&push).await;
                return Err(problem(&error));
            }
        };
        let (told_sender, told) = oneshot::channel::<Vec<String>>();
        let state = self.clone();
        tokio::spawn(async move {
            answer.ended.await;
            let news = state.tell(&push).await;
            // A client that has gone does not wait for it.
            let _ = told_sender.send(news.iter().flat_map(|news| lines(news, &push.address)).collect());
        });
        // The runs are there when `git push` returns, unless that takes long; they come in any case.
        let told = async move { tokio::time::timeout(TOLD, told).await.ok().and_then(Result::ok).unwrap_or_default() };
        Ok((answer.status, answer.headers, band::with_words(answer.body, told)))
    }

    /// After a push: refs are final. Returns what became of it.
    async fn tell(&self, push: &Push) -> Vec<PushNews> {
        {
            // Whether a repository is there is decided by one push at a time.
            let _one_at_a_time = self.registering.lock().await;
            if push.is_new && self.forget_if_empty(&push.name).await {
                return Vec::new();
            }
            if let Err(error) = self.store.repository_create(&push.name, &RepositoryKind::Hosted).await {
                tracing::error!(%error, repository = %push.name, "a pushed repository could not be recorded");
                return Vec::new();
            }
        }
        self.pushed.pushed(&push.name, &push.user).await
    }

    async fn forget_if_empty(&self, name: &RepositoryName) -> bool {
        match self.host.remove_if_empty(name).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::warn!(%error, repository = %name, "an empty repository stays");
                return false;
            }
        }
        let forgotten = async {
            if let Some(repository) = self.store.repository_fetch_by_name(name).await? {
                let mut tx = self.store.begin().await?;
                tx.repository_delete(&repository.id).await?;
                tx.commit("repository.deleted").await?;
            }
            Ok::<(), hookwright_store::Error>(())
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, repository = %name, "an empty repository stays listed");
        }
        true
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
