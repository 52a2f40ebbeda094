//! Carries registrations out over HTTP. Answers are bounded and never believed: an entry is ours only when its address is.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hookwright_core::port::{
    ChannelToClose, ForgeRepository, KeptCredentials, ListedChanges, ListedDeliveries, OpenedChannel, Registered, RegisteredHook,
    Subscriber, WantedChannel, WantedSubscription,
};
use hookwright_core::{Clock, PortError, SecretValue, Timestamp};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::asked::{Asked, Said};
use crate::credential::Keyring;
use crate::registration::{Registration, Signing};
use crate::{Credential, Definition, Definitions};

/// What a source is asked with.
#[derive(Clone)]
pub struct Provider {
    /// How it is shown who asks.
    pub credential: Credential,
    /// The address of its API when it is not the public one.
    pub api: Option<String>,
}

/// Registers triggers with the sources there are credentials of.
pub struct HttpSubscriber {
    client: Client,
    keyring: Keyring,
    providers: BTreeMap<String, Provider>,
}

impl HttpSubscriber {
    /// A client is to have time limits and to follow no redirects; providers go by the names of their sources.
    pub fn new(client: Client, providers: BTreeMap<String, Provider>, clock: Arc<dyn Clock>, kept: Arc<dyn KeptCredentials>) -> Self {
        Self { client, keyring: Keyring::new(clock, kept), providers }
    }

    fn ask<'a>(&'a self, source: &str, repository: &'a str) -> Result<Asked<'a>, PortError> {
        let unknown = || PortError::failed(format!("there are no credentials of `{source}` in the settings"));
        let (definition, provider_name) = self.find(source).ok_or_else(unknown)?;
        let provider = self.providers.get(&provider_name).ok_or_else(unknown)?;
        let asked = Asked { client: &self.client, keyring: &self.keyring, definition, provider_name, provider, repository };
        asked.check_name()?;
        Ok(asked)
    }

    /// A source with the first of its APIs that there are credentials of; one of its other APIs goes by the name of its credentials.
    fn find(&self, source: &str) -> Option<(Arc<Definition>, String)> {
        let definitions = Definitions::embedded();
        let Some(definition) = definitions.find(source) else {
            let of_it = |definition: &Arc<Definition>| definition.registrations().any(|(provider, _)| provider == source);
            let definition = definitions.names().filter_map(|name| definitions.find(name)).find(of_it)?;
            return self.providers.contains_key(source).then(|| (definition, source.to_owned()));
        };
        let name = definition.ways().find(|(provider, _)| self.providers.contains_key(*provider))?.0.to_owned();
        Some((definition, name))
    }
}

#[async_trait]
impl Subscriber for HttpSubscriber {
    fn registers(&self, source: &str) -> bool {
        self.find(source).is_some()
    }

    fn hands_out_secrets(&self, source: &str) -> bool {
        let hands_out = |(definition, name): (Arc<Definition>, String)| {
            let is_applications = self.providers.get(&name).is_some_and(|provider| provider.credential.client_secret().is_some());
            is_applications || definition.registrations().any(|(provider, registration)| provider == name && registration.secret.is_some())
        };
        self.opens_channels(source) || self.find(source).is_some_and(hands_out)
    }

    fn opens_channels(&self, source: &str) -> bool {
        self.find(source).is_some_and(|(definition, name)| definition.channels().is_some_and(|(provider, _)| provider == name))
    }

    fn forge_of(&self, url: &str) -> Option<ForgeRepository> {
        crate::forge::forge_of(&self.providers, url)
    }

    fn forge_events(&self, provider: &str) -> Vec<String> {
        crate::forge::events_of(provider)
    }

    async fn ensure(&self, wanted: &WantedSubscription) -> Result<Registered, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        if let Some((_, topics)) = asked.definition.topics() {
            return asked.ensure_topics(topics, wanted).await;
        }
        if let Some((_, manifest)) = asked.definition.manifest() {
            return asked.ensure_manifest(manifest, wanted).await;
        }
        let registration = asked.registration()?;
        let mut ours = asked.ours(&wanted.url).await?;
        if registration.secret.is_some() && wanted.secret.is_none() {
            // What they sign with was told once, and not kept.
            for unknown in std::mem::take(&mut ours) {
                asked.forget(registration, &unknown).await?;
            }
        }
        if let Some(signing) = registration.signing(wanted) {
            asked.check_version(signing).await?;
        }
        if registration.anew {
            let (on, off) = ours.into_iter().partition(|entry| registration.is_active(entry));
            ours = on;
            let off: Vec<Value> = off;
            for entry in &off {
                asked.forget(registration, entry).await?;
            }
        }
        let mut ours = ours.into_iter();
        let Some(entry) = ours.next() else { return asked.create(registration, wanted).await };
        let known = id(&entry, registration)?;
        // Sources do not tell which secret they have: it is written again each time.
        let method = registration.update.method.parse().map_err(|_| PortError::errored("the definition names no method"))?;
        let body = registration.update_body(wanted);
        let said = Said { id: &known, body: Some(&body), secret: wanted.secret.as_ref(), ..Said::default() };
        asked.call(method, &registration.update.path, said).await?;
        for twice in ours {
            asked.forget(registration, &twice).await?;
        }
        Ok(Registered { id: known, secret: None })
    }

    async fn remove(&self, source: &str, repository: &str, url: &str) -> Result<(), PortError> {
        let asked = self.ask(source, repository)?;
        if let Some((_, topics)) = asked.definition.topics() {
            return asked.remove_topics(topics, url).await;
        }
        if let Some((_, manifest)) = asked.definition.manifest() {
            return asked.remove_manifest(manifest, url).await;
        }
        let registration = asked.registration()?;
        for entry in asked.ours(url).await? {
            asked.forget(registration, &entry).await?;
        }
        Ok(())
    }

    async fn is_intact(&self, wanted: &WantedSubscription) -> Result<bool, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        if let Some((_, topics)) = asked.definition.topics() {
            return asked.has_topics(topics, wanted).await;
        }
        if let Some((_, manifest)) = asked.definition.manifest() {
            return asked.has_manifest(manifest, wanted).await;
        }
        let registration = asked.registration()?;
        if registration.secret.is_some() && wanted.secret.is_none() {
            return Ok(false);
        }
        let ours = asked.ours(&wanted.url).await?;
        Ok(ours.len() == 1 && ours.iter().all(|entry| registration.is_as_wanted(entry, wanted)))
    }

    async fn undelivered(&self, hook: RegisteredHook<'_>, after: u64, now: Timestamp) -> Result<Option<ListedDeliveries>, PortError> {
        self.ask(hook.source, hook.repository)?.undelivered(hook, (after, now)).await
    }

    async fn deliver_again(&self, hook: RegisteredHook<'_>, delivery: &str) -> Result<Option<String>, PortError> {
        self.ask(hook.source, hook.repository)?.again(hook.id, delivery).await
    }

    async fn changes(&self, hook: RegisteredHook<'_>, mark: Option<&str>) -> Result<Option<ListedChanges>, PortError> {
        self.ask(hook.source, hook.repository)?.changes(hook, mark).await
    }

    async fn open(&self, channel: WantedChannel<'_>, now: Timestamp) -> Result<Option<OpenedChannel>, PortError> {
        let asked = self.ask(&channel.wanted.source, &channel.wanted.repository)?;
        asked.open(asked.channels()?, channel, now).await
    }

    async fn close(&self, channel: ChannelToClose<'_>) -> Result<(), PortError> {
        let asked = self.ask(channel.source, "")?;
        asked.close(asked.channels()?, channel).await
    }
}

impl Asked<'_> {
    async fn create(&self, registration: &Registration, wanted: &WantedSubscription) -> Result<Registered, PortError> {
        let body = registration.body(wanted);
        let said = Said { body: Some(&body), secret: wanted.secret.as_ref(), ..Said::default() };
        let made = self.call(Method::POST, &registration.create, said).await?.value;
        let secret = registration.secret.as_ref().map(|place| {
            let secret = made.pointer(place).and_then(Value::as_str).filter(|secret| !secret.is_empty());
            let none = || PortError::errored(format!("{} hands out no secret; it is asked for another one", self.definition.title));
            secret.map(SecretValue::new).ok_or_else(none)
        });
        Ok(Registered { id: id(&made, registration)?, secret: secret.transpose()? })
    }

    /// Refuses a secret that the server would not sign with.
    async fn check_version(&self, signing: &Signing) -> Result<(), PortError> {
        let title = &self.definition.title;
        let reply = self.call(Method::GET, &signing.version, Said::default()).await?.value;
        let version = reply.pointer(&signing.at).and_then(Value::as_str).unwrap_or_default();
        let number = version.split('.').next().and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| PortError::errored(format!("{title} does not tell its version")))?;
        if number >= signing.least {
            return Ok(());
        }
        let (prefix, least) = (&signing.secrets, signing.least);
        Err(PortError::failed(format!(
            "this server is {title} {number}, and {title} signs from {least} on: its events could not be verified with a secret that begins with `{prefix}`. Set another secret, or renew the server"
        )))
    }

    async fn forget(&self, registration: &Registration, entry: &Value) -> Result<(), PortError> {
        self.call(Method::DELETE, &registration.remove, Said { id: &id(entry, registration)?, ..Said::default() }).await?;
        Ok(())
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

/// Whether a text can be a repository's name at a source: two parts or more, none of which leads anywhere else.
pub(crate) fn is_repository(text: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() >= 2 && parts.into_iter().all(is_name)
}
