//! The fields of a form that say who is given which role where: the same for tokens and people.

use hookwright_core::{EnvironmentName, Grant, Role, Scope, WebhookName};
use serde::Deserialize;

use crate::error::{Problem, Result};

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
        let webhook = Some(self.webhook.trim()).filter(|name| !name.is_empty()).map(WebhookName::new).transpose();
        let environment = Some(self.environment.trim()).filter(|name| !name.is_empty()).map(EnvironmentName::new).transpose();
        let scope = Scope { webhook: webhook.map_err(Problem::invalid)?, environment: environment.map_err(Problem::invalid)? };
        let teams = self.teams.split(',').map(|team| team.trim().to_owned()).filter(|team| !team.is_empty()).collect();
        Ok((self.user.trim().to_owned(), teams, vec![Grant { role: self.role, scope }]))
    }
}
