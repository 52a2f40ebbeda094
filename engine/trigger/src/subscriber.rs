//! Carries registrations out over HTTP. Answers are bounded and never believed: an entry is ours only when its address is.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hookwright_core::port::{Subscriber, WantedSubscription};
use hookwright_core::{PortError, SecretValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::registration::Registration;
use crate::{Definition, Definitions};

/// Pages of a list; sources allow a few hundred hooks at most.
const MOST_PAGES: usize = 10;

/// The largest answer, in bytes.
const LARGEST: usize = 8 << 20;

/// What a source is asked with.
#[derive(Clone)]
pub struct Provider {
    /// Its token.
    pub token: SecretValue,
    /// The address of its API when it is not the public one.
    pub api: Option<String>,
}

/// Registers triggers with the sources there are credentials of.
pub struct HttpSubscriber {
    client: Client,
    providers: BTreeMap<String, Provider>,
}

/// One source while it is asked.
struct Asked<'a> {
    client: &'a Client,
    definition: Arc<Definition>,
    provider: &'a Provider,
    repository: &'a str,
}

impl HttpSubscriber {
    /// A client is to have time limits and to follow no redirects; providers go by the names of their sources.
    pub fn new(client: Client, providers: BTreeMap<String, Provider>) -> Self {
        Self { client, providers }
    }

    fn ask<'a>(&'a self, source: &str, repository: &'a str) -> Result<Asked<'a>, PortError> {
        let found =
            Definitions::embedded().find(source).filter(|definition| definition.registration.is_some()).zip(self.providers.get(source));
        let (definition, provider) =
            found.ok_or_else(|| PortError::failed(format!("there are no credentials of `{source}` in the settings")))?;
        let is_name = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() < 2 || !parts.into_iter().all(is_name) {
            return Err(PortError::failed("the trigger's `repository` is none; write `repository: owner/name`"));
        }
        Ok(Asked { client: &self.client, definition, provider, repository })
    }
}

#[async_trait]
impl Subscriber for HttpSubscriber {
    fn registers(&self, source: &str) -> bool {
        self.providers.contains_key(source) && Definitions::embedded().find(source).is_some_and(|found| found.registration.is_some())
    }

    async fn ensure(&self, wanted: &WantedSubscription) -> Result<String, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        let registration = asked.registration()?;
        let body = registration.body(wanted);
        let mut ours = asked.ours(&wanted.url).await?.into_iter();
        let Some(entry) = ours.next() else {
            let made = asked.call(Method::POST, &registration.create, ("", Some(&body))).await?;
            return id(&made, registration);
        };
        let known = id(&entry, registration)?;
        // Sources do not tell which secret they have: it is written again each time.
        let method = registration.update.method.parse().map_err(|_| PortError::errored("the definition names no method"))?;
        asked.call(method, &registration.update.path, (&known, Some(&body))).await?;
        for twice in ours {
            asked.call(Method::DELETE, &registration.remove, (&id(&twice, registration)?, None)).await?;
        }
        Ok(known)
    }

    async fn remove(&self, source: &str, repository: &str, url: &str) -> Result<(), PortError> {
        let asked = self.ask(source, repository)?;
        let registration = asked.registration()?;
        for entry in asked.ours(url).await? {
            asked.call(Method::DELETE, &registration.remove, (&id(&entry, registration)?, None)).await?;
        }
        Ok(())
    }

    async fn is_intact(&self, wanted: &WantedSubscription) -> Result<bool, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        let registration = asked.registration()?;
        let ours = asked.ours(&wanted.url).await?;
        Ok(ours.len() == 1 && ours.iter().all(|entry| registration.is_as_wanted(entry, wanted)))
    }
}

impl Asked<'_> {
    fn registration(&self) -> Result<&Registration, PortError> {
        self.definition.registration.as_ref().ok_or_else(|| PortError::failed("this source cannot be asked"))
    }

    /// What the source has with this address.
    async fn ours(&self, url: &str) -> Result<Vec<Value>, PortError> {
        let registration = self.registration()?;
        let mut ours = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = registration.list.replace("{page}", &page.to_string());
            let Value::Array(entries) = self.call(Method::GET, &path, ("", None)).await? else {
                return Err(PortError::errored(format!("{} lists its hooks as something else than a list", self.definition.title)));
            };
            let is_last = entries.len() < registration.page_size;
            let is_ours = |entry: &Value| entry.pointer(&registration.address).and_then(Value::as_str) == Some(url);
            ours.extend(entries.into_iter().filter(is_ours));
            if is_last {
                break;
            }
        }
        Ok(ours)
    }

    async fn call(&self, method: Method, path: &str, (id, body): (&str, Option<&Value>)) -> Result<Value, PortError> {
        let registration = self.registration()?;
        let encoded = utf8_percent_encode(self.repository, NON_ALPHANUMERIC).to_string();
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
        let path = path.replace("{repository}", self.repository).replace("{encoded_repository}", &encoded).replace("{id}", &id);
        let api = self.provider.api.as_deref().unwrap_or(&registration.api).trim_end_matches('/');
        let is_removal = method == Method::DELETE;
        let mut request = self.client.request(method, format!("{api}{path}"));
        for (name, value) in &registration.headers {
            request = request.header(name, value.replace("{token}", self.provider.token.expose()));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let title = &self.definition.title;
        let silent = |error: reqwest::Error| {
            let what = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
            PortError::errored(format!("{title} {what}; it is asked again")).because(error.without_url())
        };
        let mut answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        if status.is_success() || (is_removal && status == StatusCode::NOT_FOUND) {
            let mut read = Vec::new();
            while let Some(part) = answer.chunk().await.map_err(silent)? {
                if read.len() + part.len() > LARGEST {
                    return Err(PortError::errored(format!("{title} answers with more than {LARGEST} bytes")));
                }
                read.extend_from_slice(&part);
            }
            if read.is_empty() || is_removal {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&read)
                .map_err(|_| PortError::errored(format!("{title} answers with something that is no JSON")));
        }
        Err(self.refusal(status, &registration.rights))
    }

    fn refusal(&self, status: StatusCode, rights: &str) -> PortError {
        let (title, repository) = (&self.definition.title, self.repository);
        match status.as_u16() {
            401 => PortError::failed(format!("{title} does not take the token; renew it in the settings. It needs {rights}")),
            403 => {
                PortError::failed(format!("the token may not manage the hooks of `{repository}`, or asked too often. It needs {rights}"))
            }
            404 => PortError::failed(format!(
                "{title} knows no repository `{repository}`, or does not show it to the token. It needs {rights}"
            )),
            409 | 422 => PortError::failed(format!(
                "{title} refuses the hook with {status}: `{repository}` may have too many, or the address is one it does not call"
            )),
            429 => PortError::errored(format!("{title} has had enough for the moment; it is asked again")),
            _ => PortError::errored(format!("{title} answered {status}; it is asked again")),
        }
    }
}

fn id(entry: &Value, registration: &Registration) -> Result<String, PortError> {
    let found = match entry.pointer(&registration.id) {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    found.ok_or_else(|| PortError::errored("the source names a hook without an id"))
}
