//! The fields of forms that say who is given which role where, and how one is changed: the same for tokens and people.

use hookwright_core::{EnvironmentName, Grant, Role, Scope, WebhookName};
use serde::{Deserialize, Serialize};

use crate::error::{Problem, Result};
use crate::grant::{Change, grant_text};

/// What the fields hold.
#[derive(Deserialize)]
pub(super) struct Holder {
    user: String,
    #[serde(default)]
    teams: String,
    role: Role,
    #[serde(default)]
    webhook: String,
    #[serde(default)]
    environment: String,
}

impl Holder {
    /// Name, teams and the one grant.
    pub(super) fn read(self) -> Result<(String, Vec<String>, Vec<Grant>)> {
        let grant = grant(self.role, &self.webhook, &self.environment)?;
        Ok((self.user.trim().to_owned(), teams(&self.teams), vec![grant]))
    }
}

fn grant(role: Role, webhook: &str, environment: &str) -> Result<Grant> {
    let webhook = Some(webhook.trim()).filter(|name| !name.is_empty()).map(WebhookName::new).transpose();
    let environment = Some(environment.trim()).filter(|name| !name.is_empty()).map(EnvironmentName::new).transpose();
    Ok(Grant { role, scope: Scope { webhook: webhook.map_err(Problem::invalid)?, environment: environment.map_err(Problem::invalid)? } })
}

fn teams(text: &str) -> Vec<String> {
    text.split(',').map(|team| team.trim().to_owned()).filter(|team| !team.is_empty()).collect()
}

/// A grant that somebody has, for the form that changes it.
#[derive(Serialize)]
pub(super) struct Held {
    pub(super) text: String,
    role: String,
}

impl Held {
    pub(super) fn new(grant: &Grant) -> Self {
        Self { text: grant_text(grant), role: format!("{:?}", grant.role).to_lowercase() }
    }

    #[cfg(test)]
    pub(super) fn sample() -> Self {
        Self { text: "<b>hostile".into(), role: "viewer".into() }
    }
}

/// What is to be done with somebody's roles.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Act {
    Change,
    Take,
    Give,
    Teams,
}

/// The fields of the forms that change what somebody may do.
#[derive(Deserialize)]
pub(super) struct ChangeForm {
    /// The name of the user or the id of the token.
    pub(super) id: String,
    act: Act,
    /// The grant as it was shown, in words.
    #[serde(default)]
    before: String,
    role: Option<Role>,
    #[serde(default)]
    webhook: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    teams: String,
}

impl ChangeForm {
    pub(super) fn change(&self) -> Result<Change> {
        let role = self.role.ok_or_else(|| Problem::invalid("say which role"));
        Ok(match self.act {
            Act::Change => Change::Role(self.before.clone(), role?),
            Act::Take => Change::Take(self.before.clone()),
            Act::Give => Change::Give(grant(role?, &self.webhook, &self.environment)?),
            Act::Teams => Change::Teams(teams(&self.teams)),
        })
    }
}
