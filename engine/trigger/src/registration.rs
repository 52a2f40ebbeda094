//! How an event source is told where to send: calls of its API as data.

use std::collections::{BTreeMap, BTreeSet};

use hookwright_core::port::WantedSubscription;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// How a source's API is reached, and what its refusals mean.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    /// The address of the API when the settings say no other; none for servers that everybody runs on their own.
    pub(crate) api: Option<&'a str>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    /// What the trigger names, in a word: `repository`.
    pub(crate) whose: &'a str,
    /// The rights that credentials need, for messages.
    pub(crate) rights: &'a str,
    pub(crate) refusals: &'a Refusals,
    /// Whether bodies are forms.
    pub(crate) form: bool,
}

/// Where an answer that says no has its reason, and which reasons mean that the source was asked too often.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Refusals {
    /// A word for machines.
    pub(crate) reason: Vec<String>,
    /// A sentence for people.
    pub(crate) says: Vec<String>,
    /// Words that mean: not now.
    pub(crate) busy: Vec<String>,
    /// Words that mean: there is one of that id already.
    pub(crate) taken: Vec<String>,
}

pub(crate) fn repository() -> String {
    "repository".to_owned()
}

/// The calls of a source. `{repository}` and its first and last part (`{owner}`, `{name}`), `{encoded_repository}`, `{id}`, `{page}` (from 1), `{offset}`,
/// `{url}`, `{secret}` and `{token}` stand in them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// Whose credentials are used, when not those by the source's own name.
    #[serde(default)]
    pub(crate) provider: Option<String>,
    /// The address of the API when the settings say no other; none for servers that everybody runs on their own.
    #[serde(default)]
    pub(crate) api: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// Lists what there is, page by page.
    pub(crate) list: String,
    /// Where an answer has the list, when it is not all of it.
    #[serde(default)]
    pub(crate) entries: Option<String>,
    /// Entries of a whole page.
    pub(crate) page_size: usize,
    /// Pages that begin after the last entry of the one before, instead of being numbered.
    #[serde(default)]
    pub(crate) cursor: Option<Cursor>,
    pub(crate) create: String,
    pub(crate) update: Call,
    pub(crate) remove: String,
    /// The body that creates and updates, whole each time: what an update leaves out some sources remove.
    pub(crate) body: Map<String, Value>,
    /// Whether bodies are forms instead of JSON: `a[b]=c`, `list[]=d`.
    #[serde(default)]
    pub(crate) form: bool,
    /// Where the answer that creates has the secret, at sources that make it themselves. No other answer has it.
    #[serde(default)]
    pub(crate) secret: Option<String>,
    /// What stands in the body besides, and instead, for secrets of a kind.
    #[serde(default)]
    pub(crate) signing: Option<Signing>,
    /// Whether what was switched off there has to be made anew: an update does not switch it on.
    #[serde(default)]
    pub(crate) anew: bool,
    /// Where an entry of the list has its id, its address and whether it is switched on.
    pub(crate) id: String,
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) active: Option<String>,
    /// What stands there when it is, if that is no boolean. Without the field it is.
    #[serde(default)]
    pub(crate) active_is: Option<String>,
    /// Where it has its events, as a list of texts.
    #[serde(default)]
    pub(crate) events: Option<String>,
    /// Whether types are named whole, and not without what comes behind the dot.
    #[serde(default)]
    pub(crate) whole_names: bool,
    /// What stands for all events.
    #[serde(default)]
    pub(crate) all_events: Vec<String>,
    /// Sources with one switch for each type instead of a list: type → switch.
    #[serde(default)]
    pub(crate) switches: BTreeMap<String, String>,
    /// How the source is asked for what it could not deliver.
    #[serde(default)]
    pub(crate) undelivered: Option<Undelivered>,
    /// The rights that credentials need, for messages.
    pub(crate) rights: String,
    /// What the trigger names, in a word.
    #[serde(default = "repository")]
    pub(crate) whose: String,
    #[serde(default)]
    pub(crate) refusals: Refusals,
    /// What the engine itself asks of it for watched repositories; for forges.
    #[serde(default)]
    pub(crate) intake: Option<Intake>,
}

/// What a forge is asked to tell the engine, and which remotes are on it: those on the host of its API, without an `api.` before it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intake {
    /// Types that say that refs may have moved,
    pub(crate) refs: Vec<String>,
    /// and those that are comments on pull requests.
    pub(crate) comments: Vec<String>,
    /// Further hosts of the public server, for git alone.
    #[serde(default)]
    pub(crate) git_hosts: Vec<String>,
    /// What stands before the repository in the path of a remote read over HTTP.
    #[serde(default)]
    pub(crate) git_folder: Option<String>,
}

/// A source's list of deliveries, the newest first, and the call that repeats one; `{id}` is the hook and `{delivery}` the delivery.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undelivered {
    pub(crate) list: String,
    /// Where an answer has the list, when it is not all of it.
    #[serde(default)]
    pub(crate) entries: Option<String>,
    #[serde(default)]
    pub(crate) cursor: Option<Cursor>,
    /// The call that has a delivery made again,
    #[serde(default)]
    pub(crate) again: Option<String>,
    /// or, at sources without one, the call that reads the event, which then is taken in as if it had been sent.
    #[serde(default)]
    pub(crate) read: Option<String>,
    /// Where an entry has its number; where, the first that is there, what its event is known by; and where the status that it was answered with.
    pub(crate) number: String,
    pub(crate) event_id: Vec<String>,
    /// Without it everything that is listed has failed.
    #[serde(default)]
    pub(crate) status: Option<String>,
    /// Where an entry has its name for `{delivery}`, when that is not its number.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Where it has the type of its event: what the trigger does not ask for is left out.
    #[serde(default)]
    pub(crate) kind: Option<String>,
    /// The hook itself, and where it says from which number on it was sent anything: lists of some sources are not the hook's alone.
    #[serde(default)]
    pub(crate) since: Option<Since>,
    /// Numbers are seconds since 1970, and what is younger than so many of them may still be on its way.
    #[serde(default)]
    pub(crate) settled_after: Option<u64>,
    /// Where it says when it was made (RFC 3339).
    #[serde(default)]
    pub(crate) at: Option<String>,
    /// For how many days the source can repeat one.
    pub(crate) days: u32,
    /// How many it is asked for at once: sources allow so many calls.
    pub(crate) asks: u32,
}

/// Secrets that only newer servers sign with. An older one would take such a secret and send without it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    /// How such secrets begin.
    pub(crate) secrets: String,
    pub(crate) fields: Map<String, Value>,
    /// The call that tells the server's version, where its answer has it, and the first one that signs.
    pub(crate) version: String,
    pub(crate) at: String,
    pub(crate) least: u64,
}

/// A parameter of the query that says after which entry a page begins, and where an answer says that there is one more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    pub(crate) parameter: String,
    pub(crate) more: String,
}

/// See [`Undelivered::since`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    pub(crate) path: String,
    pub(crate) number: String,
}

/// A method and a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Fields of the body that only what creates has.
    #[serde(default)]
    pub(crate) without: Vec<String>,
    /// Fields that only what updates has.
    #[serde(default)]
    pub(crate) also: Map<String, Value>,
}

impl Intake {
    /// All types that it is asked for.
    pub(crate) fn events(&self) -> Vec<String> {
        self.refs.iter().chain(&self.comments).cloned().collect()
    }
}

impl Registration {
    pub(crate) fn way(&self) -> Way<'_> {
        Way {
            api: self.api.as_deref(),
            headers: &self.headers,
            whose: &self.whose,
            rights: &self.rights,
            refusals: &self.refusals,
            form: self.form,
        }
    }

    /// The types as the source's API names them: without what comes behind the dot.
    pub(crate) fn families(&self, events: &[String]) -> BTreeSet<String> {
        if events.is_empty() {
            return self.all_events.iter().cloned().collect();
        }
        let named = |event: &String| if self.whole_names { event.clone() } else { event.split('.').next().unwrap_or(event).to_owned() };
        events.iter().map(named).collect()
    }

    /// The body of a call.
    pub(crate) fn body(&self, wanted: &WantedSubscription) -> Value {
        let families = self.families(&wanted.events);
        let mut body = fill(&Value::Object(self.body.clone()), wanted, &families);
        if let (Some(signing), Some(fields)) = (self.signing(wanted), body.as_object_mut())
            && let Value::Object(instead) = fill(&Value::Object(signing.fields.clone()), wanted, &families)
        {
            fields.extend(instead);
        }
        if let Some(fields) = body.as_object_mut() {
            for (family, switch) in &self.switches {
                fields.insert(switch.clone(), Value::Bool(wanted.events.is_empty() || families.contains(family)));
            }
        }
        body
    }

    /// Whether an entry of the list is switched on.
    pub(crate) fn is_active(&self, entry: &Value) -> bool {
        match (&self.active, &self.active_is) {
            (None, _) => true,
            (Some(field), None) => entry.pointer(field).and_then(Value::as_bool) == Some(true),
            (Some(field), Some(word)) => entry.pointer(field).and_then(Value::as_str).is_none_or(|found| found == word),
        }
    }

    /// How the secret is given, when it is one that only newer servers sign with.
    pub(crate) fn signing(&self, wanted: &WantedSubscription) -> Option<&Signing> {
        self.signing.as_ref().filter(|signing| wanted.secret.as_ref().is_some_and(|secret| secret.expose().starts_with(&signing.secrets)))
    }

    /// The body of a call that updates.
    pub(crate) fn update_body(&self, wanted: &WantedSubscription) -> Value {
        let mut body = self.body(wanted);
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|name, _| !self.update.without.contains(name));
            fields.extend(self.update.also.clone());
        }
        body
    }

    /// Whether an entry of the list already is what is wanted, as far as the list tells: secrets it does not.
    pub(crate) fn is_as_wanted(&self, entry: &Value, wanted: &WantedSubscription) -> bool {
        let is_active = self.is_active(entry);
        let has_events = self.events.as_ref().is_none_or(|field| {
            let texts = entry.pointer(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect::<BTreeSet<_>>() == self.families(&wanted.events)
        });
        let has_switches = self.switches.iter().all(|(family, switch)| {
            let is_wanted = wanted.events.is_empty() || self.families(&wanted.events).contains(family);
            entry.get(switch).and_then(Value::as_bool).is_none_or(|on| on == is_wanted)
        });
        is_active && has_events && has_switches
    }
}

fn fill(template: &Value, wanted: &WantedSubscription, families: &BTreeSet<String>) -> Value {
    match template {
        Value::String(text) if text == "{events}" => families.iter().cloned().map(Value::String).collect(),
        Value::String(text) => Value::String(
            text.replace("{url}", &wanted.url).replace("{secret}", wanted.secret.as_ref().map_or("", |secret| secret.expose())),
        ),
        Value::Array(list) => list.iter().map(|item| fill(item, wanted, families)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), fill(value, wanted, families))).collect(),
        other => other.clone(),
    }
}

/// The fields of a body as those of a form.
pub(crate) fn form(body: &Value) -> String {
    fn walk(name: &str, value: &Value, into: &mut Vec<(String, String)>) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    let name = if name.is_empty() { field.clone() } else { format!("{name}[{field}]") };
                    walk(&name, value, into);
                }
            }
            Value::Array(list) => list.iter().for_each(|item| walk(&format!("{name}[]"), item, into)),
            Value::String(text) => into.push((name.to_owned(), text.clone())),
            other => into.push((name.to_owned(), other.to_string())),
        }
    }
    let mut pairs = Vec::new();
    walk("", body, &mut pairs);
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
