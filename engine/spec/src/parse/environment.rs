//! `environments:`, with the defaults where there are none.

use std::collections::BTreeMap;

use hookwright_core::{ConfigName, EnvironmentName, TriggerName};

use super::check;
use super::handler::{scale, setting_value};
use super::pipeline::cycle;
use crate::reader::{Reader, cut, nearest};
use crate::tree::Tree;
use crate::{Approvals, ConfigEntry, Environment, Gates, Promote, Scale, Trigger};

/// What environments refer to.
pub(super) struct Around<'a> {
    pub(super) scale: Scale,
    pub(super) triggers: &'a BTreeMap<TriggerName, Trigger>,
    pub(super) config: &'a BTreeMap<ConfigName, ConfigEntry>,
}

const ONE_APPROVAL: Approvals = Approvals { count: 1, from: Vec::new(), by_author: None, expires: None };

pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Tree>, around: &Around<'_>) -> Vec<Environment> {
    let mut environments: Vec<Environment> = Vec::new();
    let mut named_triggers: Vec<bool> = Vec::new();
    let entries = node.map(|node| reader.fields(node, "`environments`", &[]).entries).unwrap_or_default();
    let names: Vec<&str> = entries.iter().map(|(name, ..)| *name).collect();
    for (_, key, value) in &entries {
        let Some(name) = reader.name::<EnvironmentName>(key, "the name of an environment") else { continue };
        if name.as_str() == "build" {
            reader.problem(key, "`build` is reserved: it holds build secrets", "choose another name");
            continue;
        }
        let fields = reader.fields(value, &format!("environment `{name}`"), &["after", "promote", "scale", "triggers", "config", "gates"]);
        let after: Vec<EnvironmentName> = match fields.get("after") {
            Some(node) => {
                let mut after = Vec::new();
                for (text, node) in reader.texts(node, "`after`") {
                    match EnvironmentName::new(text.clone()) {
                        Ok(name) if names.contains(&name.as_str()) => after.push(name),
                        _ => reader.problem(node, format!("there is no environment `{}`", cut(&text)), nearest(&text, &names)),
                    }
                }
                after
            }
            // The first one that names no other is where releases come in; it may stand anywhere.
            None if !environments.iter().any(|one| one.after.is_empty()) => Vec::new(),
            None => environments.last().map(|before| before.name.clone()).into_iter().collect(),
        };
        let (gates, written) = check::read(reader, fields.get("gates"));
        let promote = match fields.get("promote").and_then(|node| reader.choice(node, "`promote`", &["automatic", "manual"])).as_deref() {
            Some("automatic") => Promote::Automatic,
            Some(_) => Promote::Manual,
            None if after.is_empty() && written.is_none() => Promote::Automatic,
            None => Promote::Manual,
        };
        let approvals = if promote == Promote::Manual { written.or(Some(ONE_APPROVAL)) } else { written };
        let scale = fields.get("scale").map_or(around.scale, |node| scale(reader, node, around.scale));
        named_triggers.push(fields.get("triggers").is_some());
        let triggers = fields.get("triggers").map(|node| triggers(reader, node, around)).unwrap_or_default();
        let config = fields.get("config").map(|node| settings(reader, node, around)).unwrap_or_default();
        environments.push(Environment { name, after, promote, scale, triggers, config, gates, approvals });
    }
    let graph = environments.iter().map(|one| (one.name.to_string(), one.after.iter().map(ToString::to_string).collect())).collect();
    if let Some(cycle) = cycle(&graph)
        && let Some((_, key, _)) = entries.iter().find(|(name, ..)| cycle.iter().any(|one| one == name))
    {
        reader.problem(key, format!("environments wait for each other in a circle: {}", cycle.join(" → ")), "remove one of these `after`");
    }
    if environments.is_empty() {
        environments = defaults(around.scale);
        named_triggers = vec![false; environments.len()];
    }
    resolve_triggers(&mut environments, &named_triggers, around);
    environments
}

fn defaults(scale: Scale) -> Vec<Environment> {
    let mut environments: Vec<Environment> = Vec::new();
    for (name, promote, approvals) in [("development", Promote::Automatic, None), ("production", Promote::Manual, Some(ONE_APPROVAL))] {
        let Ok(name) = EnvironmentName::new(name) else { continue };
        let after = environments.last().map(|before| before.name.clone()).into_iter().collect();
        let (triggers, config, gates) = (Vec::new(), BTreeMap::new(), Gates::default());
        environments.push(Environment { name, after, promote, scale, triggers, config, gates, approvals });
    }
    environments
}

/// Without `triggers:` all fire but schedules, which fire in the last environment unless some environment names them.
fn resolve_triggers(environments: &mut [Environment], named: &[bool], around: &Around<'_>) {
    let claimed: Vec<TriggerName> = environments.iter().flat_map(|one| one.triggers.iter().cloned()).collect();
    let last = environments.len().saturating_sub(1);
    for (index, environment) in environments.iter_mut().enumerate() {
        if named.get(index) == Some(&true) {
            continue;
        }
        let fires = |(name, trigger): &(&TriggerName, &Trigger)| trigger.source != "schedule" || (index == last && !claimed.contains(name));
        environment.triggers = around.triggers.iter().filter(fires).map(|(name, _)| name.clone()).collect();
    }
}

fn triggers(reader: &mut Reader<'_>, node: &Tree, around: &Around<'_>) -> Vec<TriggerName> {
    let known: Vec<&str> = around.triggers.keys().map(TriggerName::as_str).collect();
    let texts = reader.texts(node, "`triggers`");
    let mut triggers = Vec::new();
    for (text, node) in texts {
        match TriggerName::new(text.clone()) {
            Ok(name) if around.triggers.contains_key(&name) => triggers.push(name),
            _ => reader.problem(node, format!("there is no trigger `{}`", cut(&text)), nearest(&text, &known)),
        }
    }
    triggers
}

fn settings(reader: &mut Reader<'_>, node: &Tree, around: &Around<'_>) -> BTreeMap<ConfigName, String> {
    let known: Vec<&str> = around.config.keys().map(ConfigName::as_str).collect();
    let mut settings = BTreeMap::new();
    for (name, key, value) in reader.fields(node, "`config`", &[]).entries {
        match around.config.iter().find(|(known, _)| known.as_str() == name) {
            None => {
                let help = if known.is_empty() { "declare it under the file's `config:` first".to_owned() } else { nearest(name, &known) };
                reader.problem(key, format!("there is no setting `{}`", cut(name)), help);
            }
            Some((_, entry)) if entry.secret => {
                reader.problem(
                    key,
                    format!("`{name}` is a secret, and everybody who reads the repository would know it"),
                    "remove it; set the value with `hookwright secret set`",
                );
            }
            Some((declared, entry)) => {
                if let Some(value) = setting_value(reader, value, &format!("`{name}`"), entry.kind) {
                    settings.insert(declared.clone(), value);
                }
            }
        }
    }
    settings
}
