//! The daemon's API over HTTP, as every command uses it.

use std::time::Duration;

use anyhow::Result;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::named;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the daemon may be silent: streams say every few seconds that they live.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a stream may take: as long as what it is about.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

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

/// Whether an address is of this machine: no other is sent a token that was not meant for it.
fn is_here(server: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(server) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(PATIENCE).read_timeout(SILENCE).build()
}

impl Client {
    /// The token is that of `HOOKWRIGHT_TOKEN`, else the admin's of `./.hookwright` when it is readable and the daemon is on this machine.
    pub(crate) fn new(server: &str) -> Result<Self> {
        let written = || is_here(server).then(|| std::fs::read_to_string(".hookwright/admin-token").ok()).flatten();
        let token = std::env::var("HOOKWRIGHT_TOKEN").ok().or_else(written).map(|token| token.trim().to_owned());
        let http = http()?;
        Ok(Self { server: server.trim_end_matches('/').to_owned(), token: token.filter(|token| !token.is_empty()), http })
    }

    /// A client with a given token.
    pub(crate) fn with_token(server: &str, token: &str) -> Result<Self> {
        Ok(Self { server: server.to_owned(), token: Some(token.to_owned()), http: http()? })
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

    /// Sends an event to any address as its source would; returns the answer, whatever it is.
    pub(crate) async fn deliver<'a>(
        &self,
        url: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &str,
    ) -> Result<(StatusCode, String)> {
        let request = headers.fold(self.http.post(url), |request, (name, value)| request.header(name, value));
        let unreachable = |_| Refused::Unreachable { server: self.server.clone() };
        let response = request.body(body.to_owned()).send().await.map_err(unreachable)?;
        Ok((response.status(), response.text().await.unwrap_or_default()))
    }

    /// Opens a stream of events below `/api/v1`, after the event `last`.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Result<Response> {
        let mut request = self.http.get(format!("{}/api/v1{path}", self.server)).timeout(FOREVER);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = self.sent(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn sent(&self, mut request: RequestBuilder) -> Result<Response> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let unreachable = |_| Refused::Unreachable { server: self.server.clone() };
        Ok(request.send().await.map_err(unreachable)?)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value> {
        let response = self.sent(request).await?;
        if response.status().is_success() { Ok(response.json().await.unwrap_or_default()) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response) -> anyhow::Error {
        let (status, url) = (response.status(), response.url().clone());
        let body: Value = response.json().await.unwrap_or_default();
        let detail = body["detail"].as_str().map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
        let detail = match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => format!(
                "the daemon at {} asks for a token: set HOOKWRIGHT_TOKEN to one. The admin's is in `.hookwright/admin-token` of the folder in which \
                 the daemon was started; an admin makes others with `hookwright token create NAME --role ROLE`",
                self.server
            ),
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                format!("{detail}; it is that of HOOKWRIGHT_TOKEN, or of `.hookwright/admin-token` here when that is not set")
            }
            // What the daemon says of a name that is mistyped is more than that it is not there only where it knows what is meant.
            (StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST, _) if !detail.contains("hookwright ") => match named::how_to_list(&url) {
                Some(list) => format!("{detail}; {list}"),
                None => detail,
            },
            _ => detail,
        };
        Refused::Answered { status, detail }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn the_admin_token_of_this_folder_is_offered_to_this_machine_only() {
        for server in ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080/", "http://127.9.9.9"] {
            assert!(is_here(server), "{server}");
        }
        for server in
            ["https://hooks.example.com", "http://10.0.0.1:8080", "http://localhost.example.com", "http://127.0.0.1@evil.example", "x"]
        {
            assert!(!is_here(server), "{server}");
        }
    }
}
