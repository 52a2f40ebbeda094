//! One source while it is asked: a call of its API, its bounded answer, and what a refusal means for people.

use std::sync::Arc;
use std::time::Duration;

use hookwright_core::PortError;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::Value;

use crate::Definition;
use crate::registration::Registration;
use crate::subscriber::Provider;

/// Pages of a list; sources allow a few hundred hooks at most.
const MOST_PAGES: usize = 10;

/// The largest answer, in bytes.
const LARGEST: usize = 8 << 20;

/// The longest that a source is left alone because it says so.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// See the module.
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Client,
    pub(crate) definition: Arc<Definition>,
    /// The name of the credentials, which says which of the source's APIs it is.
    pub(crate) provider_name: String,
    pub(crate) provider: &'a Provider,
    pub(crate) repository: &'a str,
}

/// What a call says, besides its path.
#[derive(Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    /// `{id}`, the hook.
    pub(crate) id: &'a str,
    /// `{delivery}`.
    pub(crate) delivery: &'a str,
    pub(crate) body: Option<&'a Value>,
}

/// An answer.
pub(crate) struct Reply {
    /// `Null` when it is empty.
    pub(crate) value: Value,
    /// The query of the next page (RFC 8288). Only the query is taken: an answer never says whom to send a token to.
    pub(crate) next: Option<String>,
}

impl Asked<'_> {
    pub(crate) fn registration(&self) -> Result<&Registration, PortError> {
        let found = self.definition.registrations().find(|(provider, _)| *provider == self.provider_name);
        found.map(|(_, registration)| registration).ok_or_else(|| PortError::failed("this source cannot be asked"))
    }

    /// What the source has with this address.
    pub(crate) async fn ours(&self, url: &str) -> Result<Vec<Value>, PortError> {
        let registration = self.registration()?;
        let mut ours = Vec::new();
        for page in 1..=MOST_PAGES {
            let offset = (page - 1) * registration.page_size;
            let path = registration.list.replace("{page}", &page.to_string()).replace("{offset}", &offset.to_string());
            let mut value = self.call(Method::GET, &path, Said::default()).await?.value;
            if let Some(place) = &registration.entries {
                value = value.pointer_mut(place).map(Value::take).unwrap_or_default();
            }
            let entries = self.list(value, "hooks")?;
            let is_last = entries.len() < registration.page_size;
            let is_ours = |entry: &Value| entry.pointer(&registration.address).and_then(Value::as_str) == Some(url);
            ours.extend(entries.into_iter().filter(is_ours));
            if is_last {
                break;
            }
        }
        Ok(ours)
    }

    pub(crate) fn list(&self, value: Value, what: &str) -> Result<Vec<Value>, PortError> {
        match value {
            Value::Array(entries) => Ok(entries),
            _ => Err(PortError::errored(format!("{} lists its {what} as something else than a list", self.definition.title))),
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, said: Said<'_>) -> Result<Reply, PortError> {
        let registration = self.registration()?;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let path = path
            .replace("{repository}", self.repository)
            .replace("{owner}", self.repository.split('/').next().unwrap_or_default())
            .replace("{name}", self.repository.rsplit('/').next().unwrap_or_default())
            .replace("{encoded_repository}", &encoded(self.repository))
            .replace("{id}", &encoded(said.id))
            .replace("{delivery}", &encoded(said.delivery));
        let unset =
            || PortError::failed(format!("set the address of the server: `api` of `providers.{}` in the settings", self.provider_name));
        let api = self.provider.api.as_deref().or(registration.api.as_deref()).ok_or_else(unset)?.trim_end_matches('/');
        let is_removal = method == Method::DELETE;
        let mut request = self.client.request(method, format!("{api}{path}"));
        for (name, value) in &registration.headers {
            request = request.header(name, value.replace("{token}", self.provider.token.expose()));
        }
        if let Some(body) = said.body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.silent(error))?;
        let status = answer.status();
        if !(status.is_success() || is_removal && status == StatusCode::NOT_FOUND) {
            return Err(self.refusal(&answer, &registration.rights));
        }
        let next = next_query(&answer);
        let read = self.read(answer).await?;
        if read.is_empty() || is_removal {
            return Ok(Reply { value: Value::Null, next });
        }
        let unread = |_| PortError::errored(format!("{} answers with something that is no JSON", self.definition.title));
        Ok(Reply { value: serde_json::from_slice(&read).map_err(unread)?, next })
    }

    async fn read(&self, mut answer: Response) -> Result<Vec<u8>, PortError> {
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| self.silent(error))? {
            if read.len() + part.len() > LARGEST {
                return Err(PortError::errored(format!("{} answers with more than {LARGEST} bytes", self.definition.title)));
            }
            read.extend_from_slice(&part);
        }
        Ok(read)
    }

    fn silent(&self, error: reqwest::Error) -> PortError {
        let what = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
        PortError::errored(format!("{} {what}; it is asked again", self.definition.title)).because(error.without_url())
    }
    fn refusal(&self, answer: &Response, rights: &str) -> PortError {
        let (title, repository, status) = (&self.definition.title, self.repository, answer.status());
        let wait = retry_after(answer);
        match status.as_u16() {
            401 => PortError::failed(format!("{title} does not take the token; renew it in the settings. It needs {rights}")),
            // GitHub says so when it was asked too often.
            403 if wait.is_some() => self.enough(wait),
            403 => {
                PortError::failed(format!("the token may not manage the hooks of `{repository}`, or asked too often. It needs {rights}"))
            }
            404 => PortError::failed(format!(
                "{title} knows no repository `{repository}`, or does not show it to the token. It needs {rights}"
            )),
            409 | 422 => PortError::failed(format!(
                "{title} refuses the hook with {status}: `{repository}` may have too many, or the address is one it does not call"
            )),
            429 => self.enough(wait),
            _ => PortError::errored(format!("{title} answered {status}; it is asked again")).after(wait),
        }
    }

    fn enough(&self, wait: Option<Duration>) -> PortError {
        PortError::errored(format!("{} has had enough for the moment; it is asked again", self.definition.title)).after(wait)
    }
}

/// How long the source wants to be left alone: `Retry-After` in seconds.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs).map(|wait| wait.min(LONGEST_WAIT))
}

fn next_query(answer: &Response) -> Option<String> {
    let links = answer.headers().get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.split(';').skip(1).any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next")))?;
    let address = next.split(';').next()?.trim().strip_prefix('<')?.strip_suffix('>')?;
    let query = address.split_once('?')?.1;
    // What is appended to an address is to stay a query.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"#<>\"\\".contains(&byte);
    query.bytes().all(is_plain).then(|| query.to_owned())
}
