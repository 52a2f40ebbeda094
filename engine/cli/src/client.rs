//! The daemon's API over HTTP, as every command uses it.

use std::time::Duration;

use anyhow::Result;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the daemon did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// No answer.
    #[error("the daemon at {server} cannot be reached; start it with `hookwright serve`, or name another with --server")]
    Unreachable {
        /// Where it was looked for.
        server: String,
    },
    /// An answer that says no.
    #[error("{detail}")]
    Answered {
        /// The HTTP status.
        status: StatusCode,
        /// What the daemon said.
        detail: String,
    },
}

/// A client with a token.
pub(crate) struct Client {
    pub(crate) server: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// The token is that of `HOOKWRIGHT_TOKEN`, else the admin's of `./.hookwright` when it is readable.
    pub(crate) fn new(server: &str) -> Result<Self> {
        let written = || std::fs::read_to_string(".hookwright/admin-token").ok();
        let token = std::env::var("HOOKWRIGHT_TOKEN").ok().or_else(written).map(|token| token.trim().to_owned());
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { server: server.trim_end_matches('/').to_owned(), token: token.filter(|token| !token.is_empty()), http })
    }

    /// A client with a given token.
    pub(crate) fn with_token(server: &str, token: &str) -> Result<Self> {
        Ok(Self { server: server.to_owned(), token: Some(token.to_owned()), http: reqwest::Client::builder().timeout(PATIENCE).build()? })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Sends a request below `/api/v1`; an answer without body is `null`.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.server));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    /// Calls any address as anybody would.
    pub(crate) async fn plain(&self, url: &str) -> Result<String> {
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    async fn answer(&self, mut request: RequestBuilder) -> Result<Value> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let unreachable = |_| Refused::Unreachable { server: self.server.clone() };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
        Err(Refused::Answered { status, detail }.into())
    }
}
