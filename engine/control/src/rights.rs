//! Whether somebody may do something; the refusal says which role it takes and where.

use hookwright_core::{Action, Actor, EnvironmentName, WebhookName};

use crate::{Error, Result};

/// Refuses what the actor's grants do not cover. `doing` completes "… may not": `retry runs of`, with the webhook and the
/// environment said after it.
pub(crate) fn allow(
    actor: &Actor,
    action: Action,
    doing: &str,
    webhook: Option<&WebhookName>,
    environment: Option<&EnvironmentName>,
) -> Result<()> {
    if actor.may(action, webhook, environment) {
        return Ok(());
    }
    let role = format!("{:?}", action.least_role()).to_lowercase();
    let (what, scope) = match (webhook, environment) {
        (Some(webhook), Some(environment)) => (format!(" `{webhook}` in `{environment}`"), "there"),
        (Some(webhook), None) => (format!(" `{webhook}`"), "for that webhook"),
        (None, _) => (String::new(), "for everything"),
    };
    Err(Error::Forbidden(format!("{} may not {doing}{what}: it takes the role `{role}` {scope}; an admin grants it", actor.user)))
}
