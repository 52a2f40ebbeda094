//! Sources whose applications are described by a manifest: it is read, the places that say where to send are changed, and the rest of it is left as it is.

use std::collections::{BTreeMap, BTreeSet};

use hookwright_core::PortError;
use hookwright_core::port::{Registered, WantedSubscription};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::asked::{Asked, Refused, Said};
use crate::registration::{Refusals, Way, repository};

/// Types of events that are no events of the source's API but come in other ways.
const COMMAND: &str = "slash_command";

/// The calls of a source; `repository` of the trigger is the application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) provider: Option<String>,
    #[serde(default)]
    api: Option<String>,
    headers: BTreeMap<String, String>,
    export: String,
    update: String,
    /// Where single-use refresh tokens are exchanged.
    pub(crate) rotate: String,
    /// Types that come when somebody uses something that the application shows.
    interactions: Vec<String>,
    /// A type of event → what it is called when it is asked for.
    asked_as: BTreeMap<String, String>,
    pub(crate) rights: String,
    #[serde(default = "repository")]
    whose: String,
    #[serde(default)]
    refusals: Refusals,
    /// Words of the refusals: the token is none; may not; there is no such application; not now.
    unknown_token: Vec<String>,
    forbidden: Vec<String>,
    unknown: Vec<String>,
}

impl Manifest {
    pub(crate) fn way(&self) -> Way<'_> {
        Way {
            api: self.api.as_deref(),
            headers: &self.headers,
            whose: &self.whose,
            rights: &self.rights,
            refusals: &self.refusals,
            form: true,
        }
    }

    /// The manifest with everything in it that is wanted. Without events everything is left that is there, and sent to the address.
    fn with(&self, manifest: &Value, wanted: &WantedSubscription) -> Value {
        let mut manifest = manifest.clone();
        let is_interaction = |event: &&String| self.interactions.contains(event);
        let is_command = |event: &&String| *event == COMMAND;
        let asked: BTreeSet<&str> = wanted
            .events
            .iter()
            .filter(|event| !is_interaction(event) && !is_command(event))
            .map(|event| self.asked_as.get(event).unwrap_or(event).as_str())
            .collect();
        if wanted.events.is_empty() || !asked.is_empty() {
            let subscriptions = section(&mut manifest, &["settings", "event_subscriptions"]);
            subscriptions.insert("request_url".to_owned(), wanted.url.as_str().into());
            let known = subscriptions.get("bot_events").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            if !asked.is_empty() && known.collect::<BTreeSet<_>>() != asked {
                subscriptions.insert("bot_events".to_owned(), asked.into_iter().collect());
            }
        }
        if wanted.events.iter().any(|event| is_interaction(&event)) {
            let interactivity = section(&mut manifest, &["settings", "interactivity"]);
            interactivity.insert("is_enabled".to_owned(), true.into());
            interactivity.insert("request_url".to_owned(), wanted.url.as_str().into());
        }
        if wanted.events.iter().any(|event| is_command(&event)) {
            for command in manifest.pointer_mut("/features/slash_commands").and_then(Value::as_array_mut).into_iter().flatten() {
                command["url"] = wanted.url.as_str().into();
            }
        }
        manifest
    }

    /// The manifest without what sends to an address.
    fn without(&self, manifest: &Value, url: &str) -> Value {
        let mut manifest = manifest.clone();
        for name in ["event_subscriptions", "interactivity"] {
            let is_ours = manifest.pointer(&format!("/settings/{name}/request_url")).and_then(Value::as_str) == Some(url);
            if let Some(settings) = manifest.get_mut("settings").and_then(Value::as_object_mut).filter(|_| is_ours) {
                if name == "interactivity" {
                    settings.insert(name.to_owned(), json!({ "is_enabled": false }));
                } else {
                    settings.remove(name);
                }
            }
        }
        // A command has to have an address; one that answers nothing is of no use.
        if let Some(commands) = manifest.pointer_mut("/features/slash_commands").and_then(Value::as_array_mut) {
            commands.retain(|command| command["url"] != url);
        }
        manifest
    }
}

/// An object inside others, made where it is missing.
fn section<'a>(manifest: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut at = manifest;
    for name in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[*name];
    }
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    at.as_object_mut().expect("it was just made one")
}

impl Asked<'_> {
    pub(crate) async fn ensure_manifest(&self, how: &Manifest, wanted: &WantedSubscription) -> Result<Registered, PortError> {
        let before = self.export(how).await?;
        // Whoever was here first keeps it: two triggers would take the address from each other for ever.
        let other = before.pointer("/settings/event_subscriptions/request_url").and_then(Value::as_str).filter(|url| *url != wanted.url);
        let ours = wanted.url.rsplit_once('/').map_or("", |(ours, _)| ours);
        if other.is_some_and(|other| other.strip_prefix(ours).is_some_and(|rest| rest.starts_with('/'))) {
            let app = self.repository;
            return Err(PortError::failed(format!(
                "the app `{app}` sends to another trigger of this daemon, and an app has one address: name another app for each environment, or take the address out of the app's settings"
            )));
        }
        let after = how.with(&before, wanted);
        // Slack asks the address whether it is there only when something changes.
        if after != before {
            self.change(how, &after).await?;
        }
        Ok(Registered { id: self.repository.to_owned(), secret: None })
    }

    pub(crate) async fn has_manifest(&self, how: &Manifest, wanted: &WantedSubscription) -> Result<bool, PortError> {
        let found = self.export(how).await?;
        Ok(how.with(&found, wanted) == found)
    }

    pub(crate) async fn remove_manifest(&self, how: &Manifest, url: &str) -> Result<(), PortError> {
        let before = self.export(how).await?;
        let after = how.without(&before, url);
        if after == before { Ok(()) } else { self.change(how, &after).await }
    }

    async fn export(&self, how: &Manifest) -> Result<Value, PortError> {
        let mut answer = self.ask_manifest(how, &how.export, json!({ "app_id": self.repository })).await?;
        let manifest = answer.get_mut("manifest").map(Value::take).filter(Value::is_object);
        manifest.ok_or_else(|| PortError::errored(format!("{} shows something else than a manifest", self.definition.title)))
    }

    async fn change(&self, how: &Manifest, manifest: &Value) -> Result<(), PortError> {
        self.ask_manifest(how, &how.update, json!({ "app_id": self.repository, "manifest": manifest.to_string() })).await.map(drop)
    }

    /// Asks one question; `ok: false` stands in an answer that looks well.
    async fn ask_manifest(&self, how: &Manifest, path: &str, body: Value) -> Result<Value, PortError> {
        for again in [false, true] {
            let said = Said { body: Some(&body), ..Said::default() };
            let answer = self.call(Method::POST, path, said).await.map_err(|Refused { error, .. }| error)?.value;
            if answer["ok"] == true {
                return Ok(answer);
            }
            let word = answer["error"].as_str().unwrap_or_default().to_owned();
            let is = |words: &[String]| words.contains(&word);
            if is(&how.unknown_token) && !again && self.renew().await? {
                continue;
            }
            let (title, rights, app) = (&self.definition.title, &how.rights, self.repository);
            return Err(if is(&how.unknown_token) {
                PortError::failed(format!("{title} does not take the token (`{word}`); set others in the settings. It needs {rights}"))
            } else if is(&how.forbidden) {
                PortError::failed(format!("the token may not manage the app `{app}` (`{word}`). It needs {rights}"))
            } else if is(&how.unknown) {
                PortError::failed(format!("{title} knows no app `{app}`, or does not show it to the token. It needs {rights}"))
            } else if is(&how.refusals.busy) {
                PortError::errored(format!("{title} has had enough for the moment; it is asked again"))
            } else {
                let said = answer["errors"].get(0).cloned().unwrap_or_else(|| json!({ "message": word }));
                self.problem(how.way(), &said, &[])
            });
        }
        Err(PortError::errored("the source was asked twice"))
    }
}
