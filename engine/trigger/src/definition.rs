//! The format of definitions, and those that come with the binary.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Error;
use crate::channel::Channels;
use crate::locator::Locator;
use crate::manifest::Manifest;
use crate::registration::{Registration, Way};
use crate::scheme::Scheme;
use crate::topics::Topics;

/// The definitions that come with the binary.
const EMBEDDED: &[(&str, &str)] = &[
    ("bitbucket", include_str!("../sources/bitbucket.yaml")),
    ("cloudevents", include_str!("../sources/cloudevents.yaml")),
    ("generic", include_str!("../sources/generic.yaml")),
    ("gitea", include_str!("../sources/gitea.yaml")),
    ("github", include_str!("../sources/github.yaml")),
    ("gitlab", include_str!("../sources/gitlab.yaml")),
    ("google-calendar", include_str!("../sources/google-calendar.yaml")),
    ("schedule", include_str!("../sources/schedule.yaml")),
    ("shopify", include_str!("../sources/shopify.yaml")),
    ("slack", include_str!("../sources/slack.yaml")),
    ("standard-webhooks", include_str!("../sources/standard-webhooks.yaml")),
    ("stripe", include_str!("../sources/stripe.yaml")),
];

/// An event source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// As `source:` of a trigger names it.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// Where the facts of this definition are documented.
    #[serde(default)]
    pub documentation: Vec<String>,
    /// After so many seconds the source gives up on an answer.
    #[serde(default)]
    deadline_seconds: Option<u64>,
    /// Whether anything is received over HTTP at all.
    #[serde(default = "yes")]
    pub(crate) receives: bool,
    /// Whether the trigger itself says how it is signed, in its options.
    #[serde(default)]
    pub(crate) by_options: bool,
    /// How events are verified: the first scheme whose secrets look like the configured one.
    #[serde(default)]
    pub(crate) verify: Vec<Scheme>,
    /// Where the type of an event stands: the first place that has it.
    #[serde(default)]
    pub(crate) kind: Vec<Locator>,
    /// Where its id stands.
    #[serde(default)]
    pub(crate) id: Vec<Locator>,
    /// What the payload of a type must have: types stand in headers that no signature covers, and a body of another type is refused.
    #[serde(default)]
    pub(crate) shapes: BTreeMap<String, String>,
    /// Types that only try the address out.
    #[serde(default)]
    pub(crate) pings: Vec<String>,
    /// A question that is answered once it is verified.
    #[serde(default)]
    pub(crate) challenge: Option<Challenge>,
    /// Whether events may come in the envelopes of CloudEvents, with its handshake.
    #[serde(default)]
    pub(crate) cloud_events: bool,
    /// Headers of an example, with `{event}`, `{kind}`, `{id}` and `{timestamp}` in them.
    #[serde(default)]
    pub(crate) example_headers: BTreeMap<String, String>,
    /// How the source is told where to send.
    #[serde(default)]
    pub(crate) registration: Option<Registration>,
    /// The same for servers of this source with another API, each with credentials of its own.
    #[serde(default)]
    pub(crate) other_servers: Vec<Registration>,
    /// How it is asked to send, when it sends through channels.
    #[serde(default)]
    pub(crate) channels: Option<Channels>,
    /// How it is told, when it has one hook for each type of event.
    #[serde(default)]
    pub(crate) topics: Option<Topics>,
    /// How it is told, when its applications have manifests.
    #[serde(default)]
    pub(crate) manifest: Option<Manifest>,
    /// What a person does to register an address; `{address}` and `{secret}` stand in it.
    #[serde(default)]
    pub manual: Option<String>,
    /// Example payloads by type, as JSON texts.
    pub events: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// A question of the source whether the address is ours.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Challenge {
    /// The field that says so,
    pub(crate) field: String,
    /// by having this text.
    pub(crate) equals: String,
    /// The field that the answer repeats, as plain text.
    pub(crate) answer: String,
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// [`Error::Definition`] when it is no definition, has no example, or an example is no JSON.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let unread = |message: String| Error::Definition { name: "unknown".to_owned(), message };
        let definition: Self = serde_saphyr::from_str(text).map_err(|error| unread(error.to_string()))?;
        definition.checked(true)
    }

    /// Reads the definition that a repository brings itself, as JSON. It may say no way to verify, which binds it to nothing but `verify: none`, and
    /// has the daemon call nobody.
    ///
    /// # Errors
    /// [`Error::Definition`]; the reader of `webhook.yaml` lets none through that is none.
    pub fn of_a_repository(json: &str) -> Result<Self, Error> {
        let unread = |message: String| Error::Definition { name: "of the repository".to_owned(), message };
        let definition: Self = serde_json::from_str(json).map_err(|error| unread(error.to_string()))?;
        if definition.ways().next().is_some() || !definition.receives || definition.by_options {
            return Err(unread("it says what only definitions that come with Hookwright say".to_owned()));
        }
        definition.checked(false)
    }

    fn checked(self, verifies: bool) -> Result<Self, Error> {
        let definition = self;
        let failed = |message: String| Error::Definition { name: definition.name.clone(), message };
        if definition.events.is_empty() {
            return Err(failed("it has no example of an event".to_owned()));
        }
        for (kind, example) in &definition.events {
            if !example.is_empty() {
                serde_json::from_str::<serde_json::Value>(example)
                    .map_err(|error| failed(format!("the example of `{kind}` is no JSON: {error}")))?;
            }
        }
        let receives = definition.receives && !definition.by_options;
        if receives && (verifies && definition.verify.is_empty() || definition.kind.is_empty()) {
            return Err(failed("it does not say how events are verified, or where their type stands".to_owned()));
        }
        Ok(definition)
    }

    /// How long the source waits for an answer.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_seconds.map(Duration::from_secs)
    }

    /// Every way to register, with the name that its credentials go by.
    pub(crate) fn registrations(&self) -> impl Iterator<Item = (&str, &Registration)> {
        let all = self.registration.iter().chain(&self.other_servers);
        all.map(|registration| (registration.provider.as_deref().unwrap_or(&self.name), registration))
    }

    /// Its channels, with the name that their credentials go by.
    pub(crate) fn channels(&self) -> Option<(&str, &Channels)> {
        self.channels.as_ref().map(|channels| (channels.provider.as_deref().unwrap_or(&self.name), channels))
    }

    /// Every way to tell it where to send, by the name that its credentials go by.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (&str, Way<'_>)> {
        let registrations = self.registrations().map(|(provider, registration)| (provider, registration.way()));
        let others = [
            self.channels().map(|(provider, channels)| (provider, channels.way())),
            self.topics().map(|(provider, topics)| (provider, topics.way())),
            self.manifest().map(|(provider, manifest)| (provider, manifest.way())),
        ];
        registrations.chain(others.into_iter().flatten())
    }

    /// Its hooks, one for each type of event, with the name that their credentials go by.
    pub(crate) fn topics(&self) -> Option<(&str, &Topics)> {
        self.topics.as_ref().map(|topics| (topics.provider.as_deref().unwrap_or(&self.name), topics))
    }

    /// Its manifests, likewise.
    pub(crate) fn manifest(&self) -> Option<(&str, &Manifest)> {
        self.manifest.as_ref().map(|manifest| (manifest.provider.as_deref().unwrap_or(&self.name), manifest))
    }

    /// Where credentials are exchanged for a token, below the address of the API.
    pub(crate) fn exchange(&self) -> &str {
        let of_topics = self.topics.as_ref().map(|topics| topics.exchange.as_str());
        of_topics.or(self.manifest.as_ref().map(|manifest| manifest.rotate.as_str())).unwrap_or_default()
    }

    /// What credentials are asked for when they are exchanged for a token.
    pub(crate) fn scope(&self) -> &str {
        self.channels.as_ref().map_or("", |channels| &channels.scope)
    }

    /// The credentials that the daemon can register it with, by their names in the settings, and the rights that they need.
    pub fn rights(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ways().map(|(provider, way)| (provider, way.rights))
    }

    /// How events are verified, for people; `None` when they are not.
    pub fn verification(&self) -> Option<String> {
        let ways: Vec<String> = self.verify.iter().map(ToString::to_string).collect();
        (!ways.is_empty()).then(|| ways.join(", or by "))
    }

    /// The types there are examples of.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.events.keys().map(String::as_str)
    }
}

/// Definitions by name.
#[derive(Clone, Default)]
pub struct Definitions {
    by_name: Arc<BTreeMap<String, Arc<Definition>>>,
}

impl Definitions {
    /// Those that come with the binary.
    ///
    /// # Panics
    /// Never: a test reads every one of them.
    pub fn embedded() -> Self {
        static ALL: LazyLock<Definitions> = LazyLock::new(|| {
            let read = |(name, text): &(&str, &str)| {
                let definition = Definition::parse(text).expect("a test reads every embedded definition");
                ((*name).to_owned(), Arc::new(definition))
            };
            Definitions { by_name: Arc::new(EMBEDDED.iter().map(read).collect()) }
        });
        ALL.clone()
    }

    /// The definition of that name.
    pub fn find(&self, name: &str) -> Option<Arc<Definition>> {
        self.by_name.get(name).cloned()
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_definition_is_read_has_an_example_and_says_how_to_register_it() {
        for (name, text) in EMBEDDED {
            let definition = Definition::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(definition.name, *name);
            assert!(!definition.receives || definition.manual.is_some(), "{name}");
        }
    }

    #[test]
    fn a_definition_without_an_example_or_with_an_unknown_field_is_refused() {
        let text = "name: x\ntitle: X\nverify: [{ token: { header: x } }]\nkind: [{ header: y }]\n";
        assert!(Definition::parse(&format!("{text}events: {{}}\n")).is_err());
        assert!(Definition::parse(&format!("{text}events: {{ a: '{{}}' }}\n")).is_ok());
        assert!(Definition::parse(&format!("{text}events: {{ a: '{{}}' }}\nverfy: 1\n")).is_err());
        assert!(Definition::parse(&format!("{text}events: {{ a: '{{' }}\n")).is_err());
    }
}
