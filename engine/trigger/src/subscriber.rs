//! Carries registrations out over HTTP. Answers are bounded and never believed: an entry is ours only when its address is.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hookwright_core::port::{ListedDeliveries, RegisteredHook, Subscriber, WantedSubscription};
use hookwright_core::{PortError, SecretValue, Timestamp};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::asked::{Asked, Said};
use crate::registration::Registration;
use crate::{Definition, Definitions};

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

impl HttpSubscriber {
    /// A client is to have time limits and to follow no redirects; providers go by the names of their sources.
    pub fn new(client: Client, providers: BTreeMap<String, Provider>) -> Self {
        Self { client, providers }
    }

    fn ask<'a>(&'a self, source: &str, repository: &'a str) -> Result<Asked<'a>, PortError> {
        let unknown = || PortError::failed(format!("there are no credentials of `{source}` in the settings"));
        let (definition, provider_name) = self.find(source).ok_or_else(unknown)?;
        let provider = self.providers.get(&provider_name).ok_or_else(unknown)?;
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
        Ok(Asked { client: &self.client, definition, provider_name, provider, repository })
    }

    /// A source with the first of its APIs that there are credentials of.
    fn find(&self, source: &str) -> Option<(Arc<Definition>, String)> {
        let definition = Definitions::embedded().find(source)?;
        let name = definition.registrations().find(|(provider, _)| self.providers.contains_key(*provider))?.0.to_owned();
        Some((definition, name))
    }
}

#[async_trait]
impl Subscriber for HttpSubscriber {
    fn registers(&self, source: &str) -> bool {
        self.find(source).is_some()
    }

    async fn ensure(&self, wanted: &WantedSubscription) -> Result<String, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        let registration = asked.registration()?;
        let body = registration.body(wanted);
        let mut ours = asked.ours(&wanted.url).await?.into_iter();
        let Some(entry) = ours.next() else {
            let made = asked.call(Method::POST, &registration.create, Said { body: Some(&body), ..Said::default() }).await?;
            return id(&made.value, registration);
        };
        let known = id(&entry, registration)?;
        // Sources do not tell which secret they have: it is written again each time.
        let method = registration.update.method.parse().map_err(|_| PortError::errored("the definition names no method"))?;
        let mut body = body;
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|name, _| !registration.update.without.contains(name));
        }
        asked.call(method, &registration.update.path, Said { id: &known, body: Some(&body), ..Said::default() }).await?;
        for twice in ours {
            asked.call(Method::DELETE, &registration.remove, Said { id: &id(&twice, registration)?, ..Said::default() }).await?;
        }
        Ok(known)
    }

    async fn remove(&self, source: &str, repository: &str, url: &str) -> Result<(), PortError> {
        let asked = self.ask(source, repository)?;
        let registration = asked.registration()?;
        for entry in asked.ours(url).await? {
            asked.call(Method::DELETE, &registration.remove, Said { id: &id(&entry, registration)?, ..Said::default() }).await?;
        }
        Ok(())
    }

    async fn is_intact(&self, wanted: &WantedSubscription) -> Result<bool, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        let registration = asked.registration()?;
        let ours = asked.ours(&wanted.url).await?;
        Ok(ours.len() == 1 && ours.iter().all(|entry| registration.is_as_wanted(entry, wanted)))
    }

    async fn undelivered(&self, hook: RegisteredHook<'_>, after: u64, now: Timestamp) -> Result<Option<ListedDeliveries>, PortError> {
        self.ask(hook.source, hook.repository)?.undelivered(hook.id, (after, now)).await
    }

    async fn deliver_again(&self, hook: RegisteredHook<'_>, delivery: &str) -> Result<(), PortError> {
        let asked = self.ask(hook.source, hook.repository)?;
        let none = || PortError::failed("this source repeats no deliveries");
        let again = &asked.registration()?.undelivered.as_ref().ok_or_else(none)?.again;
        asked.call(Method::POST, again, Said { id: hook.id, delivery, ..Said::default() }).await.map(drop)
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
