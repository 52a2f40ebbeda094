//! One source while it is asked: a call of its API, its bounded answer, and what a refusal means for people.

use std::sync::Arc;
use std::time::Duration;

use hookwright_core::{PortError, SecretValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::Value;

use crate::Definition;
use crate::channel::Channels;
use crate::credential::{Exchange, Keyring};
use crate::registration::{Cursor, Registration, Way, form};
use crate::subscriber::{Provider, is_repository};

/// What is escaped in paths and queries; dots too, because some servers give them a meaning.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'~');

/// Pages of a list; sources allow a few hundred hooks at most.
pub(crate) const MOST_PAGES: usize = 10;

/// The largest answer, in bytes.
const LARGEST: usize = 8 << 20;

/// Characters of a source's own words that are passed on.
const SAID: usize = 300;

/// The longest that a source is left alone because it says so.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// See the module.
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Client,
    pub(crate) keyring: &'a Keyring,
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
    /// A secret in the body, which the source may repeat when it refuses it.
    pub(crate) secret: Option<&'a SecretValue>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// `Null` when it is empty.
    pub(crate) value: Value,
    /// The query of the next page (RFC 8288). Only the query is taken: an answer never says whom to send a token to.
    pub(crate) next: Option<String>,
}

/// An answer that says no, or none.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: PortError,
    pub(crate) status: Option<StatusCode>,
    /// There is one of that id already.
    pub(crate) taken: bool,
}

impl From<PortError> for Refused {
    fn from(error: PortError) -> Self {
        Self { error, status: None, taken: false }
    }
}

impl From<Refused> for PortError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl Asked<'_> {
    pub(crate) fn registration(&self) -> Result<&Registration, PortError> {
        let found = self.definition.registrations().find(|(provider, _)| *provider == self.provider_name);
        found.map(|(_, registration)| registration).ok_or_else(|| PortError::failed("this source cannot be asked"))
    }

    pub(crate) fn channels(&self) -> Result<&Channels, PortError> {
        let found = self.definition.channels().filter(|(provider, _)| *provider == self.provider_name);
        found.map(|(_, channels)| channels).ok_or_else(|| PortError::failed("this source opens no channels"))
    }

    /// Refuses a name that could lead a call elsewhere.
    pub(crate) fn check_name(&self) -> Result<(), PortError> {
        let whose = self.way()?.whose;
        let is_good = match whose {
            "repository" => is_repository(self.repository),
            // It is percent-encoded wherever it stands in a path; dots stay what they are there.
            _ => self.repository != "." && self.repository != ".." && !self.repository.contains(char::is_control),
        };
        let example = if whose == "repository" { "; write `repository: owner/name`" } else { "" };
        if is_good { Ok(()) } else { Err(PortError::failed(format!("the trigger's `{whose}` is none{example}"))) }
    }

    /// What the source has with this address.
    pub(crate) async fn ours(&self, url: &str) -> Result<Vec<Value>, PortError> {
        let registration = self.registration()?;
        let mut ours = Vec::new();
        let mut after = None;
        for page in 1..=MOST_PAGES {
            let offset = (page - 1) * registration.page_size;
            let path = registration.list.replace("{page}", &page.to_string()).replace("{offset}", &offset.to_string());
            let path = format!("{path}{}", after.take().unwrap_or_default());
            let value = self.call(Method::GET, &path, Said::default()).await?.value;
            let (entries, next) =
                self.page(value, (registration.entries.as_ref(), registration.cursor.as_ref()), (&registration.id, "hooks"))?;
            let is_last = if registration.cursor.is_some() { next.is_none() } else { entries.len() < registration.page_size };
            after = next;
            let is_ours = |entry: &Value| entry.pointer(&registration.address).and_then(Value::as_str) == Some(url);
            ours.extend(entries.into_iter().filter(is_ours));
            if is_last {
                break;
            }
        }
        Ok(ours)
    }

    /// The entries of a page, and what is appended to a query to get the next one.
    pub(crate) fn page(
        &self,
        mut value: Value,
        (entries, cursor): (Option<&String>, Option<&Cursor>),
        (id, what): (&str, &str),
    ) -> Result<(Vec<Value>, Option<String>), PortError> {
        let has_more = cursor.is_some_and(|cursor| value.pointer(&cursor.more).and_then(Value::as_bool) == Some(true));
        if let Some(place) = entries {
            value = value.pointer_mut(place).map(Value::take).unwrap_or_default();
        }
        let entries = self.list(value, what)?;
        let last = entries.last().and_then(|entry| entry.pointer(id)?.as_str()).map(encoded);
        let next = cursor.filter(|_| has_more).zip(last).map(|(cursor, last)| format!("&{}={last}", cursor.parameter));
        Ok((entries, next))
    }

    pub(crate) fn list(&self, value: Value, what: &str) -> Result<Vec<Value>, PortError> {
        match value {
            Value::Array(entries) => Ok(entries),
            _ => Err(PortError::errored(format!("{} lists its {what} as something else than a list", self.definition.title))),
        }
    }

    /// How the source is reached, whichever way it is told.
    fn way(&self) -> Result<Way<'_>, PortError> {
        let found = self.definition.ways().find(|(provider, _)| *provider == self.provider_name);
        found.map(|(_, way)| way).ok_or_else(|| PortError::failed("this source cannot be asked"))
    }

    pub(crate) async fn call(&self, method: Method, path: &str, said: Said<'_>) -> Result<Reply, Refused> {
        let way = self.way()?;
        let token = self.token(None).await?;
        let answer = self.send((&method, path), (way, &token), said).await?;
        let (answer, token) = if answer.status() == StatusCode::UNAUTHORIZED && self.provider.credential.renews() {
            let token = self.token(Some(&token)).await?;
            (self.send((&method, path), (way, &token), said).await?, token)
        } else {
            (answer, token)
        };
        let is_removal = method == Method::DELETE;
        let status = answer.status();
        let title = &self.definition.title;
        if !(status.is_success() || is_removal && status == StatusCode::NOT_FOUND) {
            let wait = retry_after(&answer);
            let body = read(title, answer).await.ok().and_then(|read| serde_json::from_slice(&read).ok()).unwrap_or_default();
            let secrets = [Some(&token), said.secret].into_iter().flatten();
            return Err(self.refusal((status, wait), way, (&body, secrets.cloned().collect())));
        }
        let next = next_query(&answer);
        let read = read(title, answer).await?;
        if read.is_empty() || is_removal {
            return Ok(Reply { value: Value::Null, next });
        }
        let unread = |_| PortError::errored(format!("{title} answers with something that is no JSON"));
        Ok(Reply { value: serde_json::from_slice(&read).map_err(unread)?, next })
    }

    async fn token(&self, refused: Option<&SecretValue>) -> Result<SecretValue, PortError> {
        let exchange = Exchange {
            provider: &self.provider_name,
            title: &self.definition.title,
            credential: &self.provider.credential,
            scope: self.definition.scope(),
            address: format!("{}{}", self.api(self.way()?)?, self.definition.exchange()),
        };
        self.keyring.token(self.client, &exchange, refused).await
    }

    /// Another token than the one that was not taken; `false` when there is none.
    pub(crate) async fn renew(&self) -> Result<bool, PortError> {
        if !self.provider.credential.renews() {
            return Ok(false);
        }
        let token = self.token(None).await?;
        self.token(Some(&token)).await.map(|_| true)
    }

    fn api<'a>(&'a self, way: Way<'a>) -> Result<&'a str, PortError> {
        let unset =
            || PortError::failed(format!("set the address of the server: `api` of `providers.{}` in the settings", self.provider_name));
        Ok(self.provider.api.as_deref().or(way.api).ok_or_else(unset)?.trim_end_matches('/'))
    }

    /// What is wrong, as an answer says it that looks well otherwise.
    pub(crate) fn problem(&self, way: Way<'_>, said: &Value, forbidden: &[String]) -> PortError {
        let title = &self.definition.title;
        let text = |places: &[String]| places.iter().find_map(|place| said.pointer(place)?.as_str()).unwrap_or_default().to_owned();
        let (reason, says) = (text(&way.refusals.reason), quoted(&text(&way.refusals.says), &[]));
        if way.refusals.busy.contains(&reason) {
            return self.enough(None);
        }
        if forbidden.contains(&reason) {
            return PortError::failed(format!("{title} does not let the token do this. It needs {}{says}", way.rights));
        }
        PortError::failed(format!("{title} refuses the hook: the address, or what the trigger asks for{says}"))
    }

    async fn send(
        &self,
        (method, path): (&Method, &str),
        (way, token): (Way<'_>, &SecretValue),
        said: Said<'_>,
    ) -> Result<Response, PortError> {
        let path = path
            .replace("{repository}", self.repository)
            .replace("{owner}", self.repository.split('/').next().unwrap_or_default())
            .replace("{name}", self.repository.rsplit('/').next().unwrap_or_default())
            .replace("{encoded_repository}", &encoded(self.repository))
            .replace("{id}", &encoded(said.id))
            .replace("{delivery}", &encoded(said.delivery));
        let api = self.api(way)?;
        let mut request = self.client.request(method.clone(), format!("{api}{path}"));
        for (name, value) in way.headers {
            request = request.header(name, value.replace("{token}", token.expose()));
        }
        match said.body {
            Some(body) if way.form => request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(body)),
            Some(body) => request = request.json(body),
            None => {}
        }
        request.send().await.map_err(|error| silent(&self.definition.title, error))
    }

    fn refusal(
        &self,
        (status, wait): (StatusCode, Option<Duration>),
        way: Way<'_>,
        (body, secrets): (&Value, Vec<SecretValue>),
    ) -> Refused {
        let (title, repository, whose, rights) = (&self.definition.title, self.repository, way.whose, way.rights);
        let of = if repository.is_empty() { String::new() } else { format!(" of `{repository}`") };
        let text = |places: &[String]| places.iter().find_map(|place| body.pointer(place)?.as_str()).map(str::to_owned);
        let reason = text(&way.refusals.reason).unwrap_or_default();
        let is_one_of = |words: &[String]| words.contains(&reason);
        let says = text(&way.refusals.says).map(|said| quoted(&said, &secrets)).unwrap_or_default();
        let error = match status.as_u16() {
            // GitHub and Google say so when they were asked too often.
            403 if wait.is_some() || is_one_of(&way.refusals.busy) => self.enough(wait),
            429 => self.enough(wait),
            401 => PortError::failed(format!("{title} does not take the token; renew it in the settings. It needs {rights}")),
            403 => PortError::failed(format!("the token may not manage the hooks{of}, or asked too often. It needs {rights}{says}")),
            404 if repository.is_empty() => PortError::errored(format!("{title} does not know any more what it listed; it is asked again")),
            404 => {
                PortError::failed(format!("{title} knows no {whose} `{repository}`, or does not show it to the token. It needs {rights}"))
            }
            409 | 422 => PortError::failed(format!(
                "{title} refuses the hook with {status}: there may be too many{of}, or the address is one it does not call{says}"
            )),
            400 => PortError::failed(format!("{title} refuses the hook with {status}: the address, or what the trigger asks for{says}")),
            _ => PortError::errored(format!("{title} answered {status}; it is asked again")).after(wait),
        };
        Refused { error, status: Some(status), taken: is_one_of(&way.refusals.taken) }
    }

    fn enough(&self, wait: Option<Duration>) -> PortError {
        PortError::errored(format!("{} has had enough for the moment; it is asked again", self.definition.title)).after(wait)
    }
}

pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Reads an answer, within bounds.
pub(crate) async fn read(title: &str, mut answer: Response) -> Result<Vec<u8>, PortError> {
    let mut read = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| silent(title, error))? {
        if read.len() + part.len() > LARGEST {
            return Err(PortError::errored(format!("{title} answers with more than {LARGEST} bytes")));
        }
        read.extend_from_slice(&part);
    }
    Ok(read)
}

/// What no answer means.
pub(crate) fn silent(title: &str, error: reqwest::Error) -> PortError {
    let what = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
    PortError::errored(format!("{title} {what}; it is asked again")).because(error.without_url())
}

/// A sentence of the source for people: a stranger's text, short, on one line, without what it must not repeat.
fn quoted(said: &str, secrets: &[SecretValue]) -> String {
    let hidden = secrets.iter().map(SecretValue::expose).filter(|secret| !secret.is_empty());
    let said = hidden.fold(said.to_owned(), |said, secret| said.replace(secret, "[secret]"));
    let said: String =
        said.chars().map(|character| if character.is_control() || character == '`' { ' ' } else { character }).take(SAID).collect();
    format!(". It says: {}", said.trim())
}

/// How long the source wants to be left alone: `Retry-After` in seconds.
pub(crate) fn retry_after(answer: &Response) -> Option<Duration> {
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
