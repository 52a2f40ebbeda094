//! What a handler is configured with in an environment: defaults of the spec, then the environment's own values, then secrets.
//! Values of secrets are read only when a deployment is applied; gates and snapshots know their names alone.

use std::collections::{BTreeMap, BTreeSet};

use hookwright_core::{ConfigName, EnvironmentName, TriggerName};
use hookwright_spec::{Spec, Verify};

/// The settings that are no secrets, as the handler gets them.
pub(crate) fn resolve(spec: &Spec, environment: &EnvironmentName) -> BTreeMap<ConfigName, String> {
    let own = spec.environment(environment).map(|environment| &environment.config);
    let plain = spec.config.iter().filter(|(_, entry)| !entry.secret);
    plain
        .filter_map(|(name, entry)| {
            let value = own.and_then(|own| own.get(name)).or(entry.default.as_ref())?;
            Some((name.clone(), value.clone()))
        })
        .collect()
}

/// A required setting without a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Which.
    pub(crate) name: ConfigName,
    /// Whether it is a secret.
    pub(crate) secret: bool,
}

/// Every required setting that has no value; `secrets` are the names that are set. The secret of a trigger that fires there is required, whatever the
/// setting says: without it no event could be verified.
pub(crate) fn missing(spec: &Spec, environment: &EnvironmentName, secrets: &BTreeSet<ConfigName>) -> Vec<Missing> {
    let values = resolve(spec, environment);
    let fires = |name: &TriggerName| spec.environment(environment).is_some_and(|environment| environment.triggers.contains(name));
    let verifies = |name: &ConfigName| {
        let mut triggers = spec.triggers.iter().filter(|(trigger, _)| fires(trigger));
        triggers.any(|(_, trigger)| trigger.verify == Verify::Source && trigger.secret.as_ref() == Some(name))
    };
    let required = spec.config.iter().filter(|(name, entry)| entry.required || verifies(name));
    required
        .filter(|(name, entry)| if entry.secret { !secrets.contains(*name) } else { !values.contains_key(*name) })
        .map(|(name, entry)| Missing { name: name.clone(), secret: entry.secret })
        .collect()
}

/// The triggers that fire in an environment and name no secret although their events are verified, by their sources: something has to hand one out.
pub(crate) fn left_to_sources<'a>(spec: &'a Spec, environment: &EnvironmentName) -> Vec<(&'a TriggerName, &'a str)> {
    let Some(environment) = spec.environment(environment) else { return Vec::new() };
    let fires = spec.triggers.iter().filter(|(name, _)| environment.triggers.contains(name));
    let is_left =
        |trigger: &hookwright_spec::Trigger| trigger.verify == Verify::Source && trigger.secret.is_none() && trigger.cron.is_none();
    fires.filter(|(_, trigger)| is_left(trigger)).map(|(name, trigger)| (name, trigger.source.as_str())).collect()
}
