//! Sources that are told over GraphQL, with one hook for each type of event: what is missing is made, what is too many is removed.

use std::collections::{BTreeMap, BTreeSet};

use hookwright_core::PortError;
use hookwright_core::port::{Registered, WantedSubscription};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::asked::{Asked, MOST_PAGES, Refused, Said};
use crate::registration::{Refusals, Way, repository};

/// The queries of a source: their variables are `after`; `topic` and `url`; `id` and `url`; `id`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topics {
    #[serde(default)]
    pub(crate) provider: Option<String>,
    #[serde(default)]
    api: Option<String>,
    headers: BTreeMap<String, String>,
    /// Where all of them are sent.
    path: String,
    list: String,
    create: String,
    update: String,
    remove: String,
    /// Where the answers of the four have what was asked for,
    entries: String,
    created: String,
    /// where a list says that there is more, and what comes after,
    more: String,
    next: String,
    /// and where a hook has its id, its address, its topic, and how it writes events.
    id: String,
    address: String,
    topic: String,
    format: String,
    format_is: String,
    /// Lists of what is wrong, in answers that have the status 200.
    problems: Vec<String>,
    /// The path below the address at which an application's own credentials are exchanged for a token.
    pub(crate) exchange: String,
    pub(crate) rights: String,
    #[serde(default = "repository")]
    whose: String,
    #[serde(default)]
    refusals: Refusals,
    /// Words of the refusals that mean: these credentials may not.
    forbidden: Vec<String>,
}

impl Topics {
    pub(crate) fn way(&self) -> Way<'_> {
        Way {
            api: self.api.as_deref(),
            headers: &self.headers,
            whose: &self.whose,
            rights: &self.rights,
            refusals: &self.refusals,
            form: false,
        }
    }

    /// A type of event as the source's API names it: `orders/create` is `ORDERS_CREATE` there.
    fn topics(&self, wanted: &WantedSubscription) -> BTreeSet<String> {
        let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
        wanted.events.iter().map(|event| event.chars().map(letter).collect()).collect()
    }

    fn text<'a>(&self, hook: &'a Value, place: &str) -> &'a str {
        hook.pointer(place).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Asked<'_> {
    pub(crate) async fn ensure_topics(&self, topics: &Topics, wanted: &WantedSubscription) -> Result<Registered, PortError> {
        let title = &self.definition.title;
        let mut missing = topics.topics(wanted);
        if missing.is_empty() {
            return Err(PortError::failed(format!(
                "{title} has no hook for all types of events; name those that are wanted, `events: […]`"
            )));
        }
        let mut ids = Vec::new();
        for hook in self.own_topics(topics, &wanted.url).await? {
            let id = topics.text(&hook, &topics.id);
            if !missing.remove(topics.text(&hook, &topics.topic)) {
                self.ask_topics(topics, (&topics.remove, json!({ "id": id }))).await?;
                continue;
            }
            if topics.text(&hook, &topics.format) != topics.format_is {
                self.ask_topics(topics, (&topics.update, json!({ "id": id, "url": wanted.url }))).await?;
            }
            ids.push(id.to_owned());
        }
        for topic in missing {
            let made = self.ask_topics(topics, (&topics.create, json!({ "topic": topic, "url": wanted.url }))).await?;
            let id = made.pointer(&topics.created).and_then(Value::as_str).filter(|id| !id.is_empty());
            ids.push(id.ok_or_else(|| PortError::errored(format!("{title} names a hook without an id")))?.to_owned());
        }
        ids.sort();
        Ok(Registered { id: ids.join(" "), secret: self.provider.credential.client_secret().cloned() })
    }

    pub(crate) async fn has_topics(&self, topics: &Topics, wanted: &WantedSubscription) -> Result<bool, PortError> {
        let is_known = |secret| wanted.secret.as_ref() == Some(secret);
        if !self.provider.credential.client_secret().is_none_or(is_known) {
            return Ok(false);
        }
        let ours = self.own_topics(topics, &wanted.url).await?;
        let found: BTreeSet<String> = ours.iter().map(|hook| topics.text(hook, &topics.topic).to_owned()).collect();
        let are_written_so = ours.iter().all(|hook| topics.text(hook, &topics.format) == topics.format_is);
        Ok(are_written_so && found.len() == ours.len() && found == topics.topics(wanted))
    }

    pub(crate) async fn remove_topics(&self, topics: &Topics, url: &str) -> Result<(), PortError> {
        for hook in self.own_topics(topics, url).await? {
            self.ask_topics(topics, (&topics.remove, json!({ "id": topics.text(&hook, &topics.id) }))).await?;
        }
        Ok(())
    }

    /// What the source has with this address.
    async fn own_topics(&self, topics: &Topics, url: &str) -> Result<Vec<Value>, PortError> {
        let (mut ours, mut after) = (Vec::new(), Value::Null);
        for _ in 0..MOST_PAGES {
            let mut answer = self.ask_topics(topics, (&topics.list, json!({ "after": after }))).await?;
            let entries = answer.pointer_mut(&topics.entries).map(Value::take).unwrap_or_default();
            ours.extend(self.list(entries, "hooks")?.into_iter().filter(|hook| topics.text(hook, &topics.address) == url));
            if answer.pointer(&topics.more).and_then(Value::as_bool) != Some(true) {
                break;
            }
            after = answer.pointer(&topics.next).cloned().unwrap_or_default();
        }
        Ok(ours)
    }

    /// Asks one question. What is wrong stands in an answer that looks well.
    async fn ask_topics(&self, topics: &Topics, (query, variables): (&str, Value)) -> Result<Value, PortError> {
        let body = json!({ "query": query, "variables": variables });
        let answer = self
            .call(Method::POST, &topics.path, Said { body: Some(&body), ..Said::default() })
            .await
            .map_err(|Refused { error, .. }| error)?
            .value;
        let problem = topics.problems.iter().find_map(|place| answer.pointer(place)?.as_array()?.first());
        match problem {
            None => Ok(answer),
            Some(problem) => Err(self.problem(topics.way(), problem, &topics.forbidden)),
        }
    }
}
