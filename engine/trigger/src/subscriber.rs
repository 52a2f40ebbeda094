//! Carries registrations out over HTTP. Answers are bounded and never believed: an entry is ours only when its address is.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hookwright_core::port::{
    ChannelToClose, ListedDeliveries, OpenedChannel, Registered, RegisteredHook, Subscriber, WantedChannel, WantedSubscription,
};
use hookwright_core::{Clock, PortError, Timestamp};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::asked::{Asked, Said};
use crate::credential::Keyring;
use crate::registration::Registration;
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
    pub fn new(client: Client, providers: BTreeMap<String, Provider>, clock: Arc<dyn Clock>) -> Self {
        Self { client, keyring: Keyring::new(clock), providers }
    }

    fn ask<'a>(&'a self, source: &str, repository: &'a str) -> Result<Asked<'a>, PortError> {
        let unknown = || PortError::failed(format!("there are no credentials of `{source}` in the settings"));
        let (definition, provider_name) = self.find(source).ok_or_else(unknown)?;
        let provider = self.providers.get(&provider_name).ok_or_else(unknown)?;
        let asked = Asked { client: &self.client, keyring: &self.keyring, definition, provider_name, provider, repository };
        asked.check_name()?;
        Ok(asked)
    }

    /// A source with the first of its APIs that there are credentials of.
    fn find(&self, source: &str) -> Option<(Arc<Definition>, String)> {
        let definition = Definitions::embedded().find(source)?;
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
        self.opens_channels(source)
    }

    fn opens_channels(&self, source: &str) -> bool {
        self.find(source).is_some_and(|(definition, name)| definition.channels().is_some_and(|(provider, _)| provider == name))
    }

    async fn ensure(&self, wanted: &WantedSubscription) -> Result<Registered, PortError> {
        let asked = self.ask(&wanted.source, &wanted.repository)?;
        let registration = asked.registration()?;
        let body = registration.body(wanted);
        let mut ours = asked.ours(&wanted.url).await?.into_iter();
        let Some(entry) = ours.next() else {
            let said = Said { body: Some(&body), secret: wanted.secret.as_ref(), ..Said::default() };
            let made = asked.call(Method::POST, &registration.create, said).await?;
            return Ok(Registered { id: id(&made.value, registration)?, secret: None });
        };
        let known = id(&entry, registration)?;
        // Sources do not tell which secret they have: it is written again each time.
        let method = registration.update.method.parse().map_err(|_| PortError::errored("the definition names no method"))?;
        let mut body = body;
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|name, _| !registration.update.without.contains(name));
        }
        let said = Said { id: &known, body: Some(&body), secret: wanted.secret.as_ref(), ..Said::default() };
        asked.call(method, &registration.update.path, said).await?;
        for twice in ours {
            asked.call(Method::DELETE, &registration.remove, Said { id: &id(&twice, registration)?, ..Said::default() }).await?;
        }
        Ok(Registered { id: known, secret: None })
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
        asked.call(Method::POST, again, Said { id: hook.id, delivery, ..Said::default() }).await?;
        Ok(())
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

fn id(entry: &Value, registration: &Registration) -> Result<String, PortError> {
    let found = match entry.pointer(&registration.id) {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    found.ok_or_else(|| PortError::errored("the source names a hook without an id"))
}
