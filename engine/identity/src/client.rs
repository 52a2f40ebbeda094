//! Calls to the provider, bounded in number, size and time.

use std::sync::Arc;
use std::time::Duration;

use hookwright_core::PortError;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

/// How long one answer may take, from the first byte sent to the last one read.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes: sets of keys with certificates are the largest and have some tens of thousands.
const LARGEST: usize = 512 << 10;
/// How many calls there are at the same time.
const AT_ONCE: usize = 32;

/// The client of one provider.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    slots: Arc<Semaphore>,
}

impl Client {
    /// With an HTTP client that must not follow redirects.
    pub(crate) fn new(http: reqwest::Client) -> Self {
        Self { http, slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    pub(crate) fn get(&self, url: Url) -> RequestBuilder {
        self.http.get(url).header("accept", "application/json")
    }

    pub(crate) fn post(&self, url: Url) -> RequestBuilder {
        self.http.post(url).header("accept", "application/json").header("content-type", "application/x-www-form-urlencoded")
    }

    /// Asks and reads JSON, whatever the status is. `what` says in a few words what is asked for.
    pub(crate) async fn json(&self, request: RequestBuilder, what: &str) -> Result<(StatusCode, Value), PortError> {
        let _slot =
            self.slots.try_acquire().map_err(|_| PortError::errored("too many people sign in at this moment; try again in a minute"))?;
        let unreachable = |cause: reqwest::Error| {
            let how = if cause.is_timeout() { "takes too long to answer" } else { "does not answer" };
            PortError::errored(format!("the provider {how} when it is asked for {what}")).because(cause)
        };
        let mut answer = request.timeout(PATIENCE).send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(PortError::errored(format!("the provider's answer about {what} is larger than {LARGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_redirection() {
            return Err(PortError::errored(format!(
                "the provider answers {} about {what}, and redirects are not followed",
                status.as_u16()
            )));
        }
        match serde_json::from_slice(&body) {
            Ok(value) => Ok((status, value)),
            Err(cause) => {
                Err(PortError::errored(format!("the provider's answer about {what} ({}) is no JSON", status.as_u16())).because(cause))
            }
        }
    }

    /// The same of what has to be there.
    pub(crate) async fn found(&self, request: RequestBuilder, what: &str) -> Result<Value, PortError> {
        let (status, value) = self.json(request, what).await?;
        if !status.is_success() {
            return Err(PortError::errored(format!("the provider answers {} about {what}", status.as_u16())));
        }
        Ok(value)
    }
}

/// A stranger's text, short enough for a sentence of ours.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
