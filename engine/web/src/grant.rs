//! Grants as the API says them and as people read them, and the names that grants are given to: one rule for tokens and users.

use hookwright_core::{EnvironmentName, Grant, Role, Scope, WebhookName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Problem, Result};
use crate::words;

/// The longest name of a user or team, in characters.
const NAME: usize = 128;
/// The most teams or grants of somebody.
const MANY: usize = 64;

/// A role within a scope.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Grant)]
pub(crate) struct GrantView {
    #[schema(value_type = words::RoleName)]
    role: Role,
    scope: ScopeView,
}

/// Where a grant holds; what is left out means everywhere.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Scope)]
struct ScopeView {
    #[schema(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
}

impl From<Grant> for GrantView {
    fn from(Grant { role, scope: Scope { webhook, environment } }: Grant) -> Self {
        Self { role, scope: ScopeView { webhook, environment } }
    }
}

impl From<GrantView> for Grant {
    fn from(GrantView { role, scope: ScopeView { webhook, environment } }: GrantView) -> Self {
        Self { role, scope: Scope { webhook, environment } }
    }
}

/// Refuses names that nobody could tell apart, and grants that are none or too many.
pub(crate) fn check_holder(user: &str, teams: &[String], grants: &[Grant]) -> Result<()> {
    for name in std::iter::once(user).chain(teams.iter().map(String::as_str)) {
        check_name(name)?;
    }
    if grants.is_empty() || grants.len() > MANY || teams.len() > MANY {
        return Err(Problem::invalid(format!("there are 1 to {MANY} grants and at most {MANY} teams")));
    }
    Ok(())
}

/// Names are compared when approvals are counted and read by people: what a screen does not show has no place in them.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let unseen =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if name.trim().is_empty() || name.trim() != name || name.chars().count() > NAME || name.contains(unseen) {
        return Err(Problem::invalid(format!("a user or team has 1 to {NAME} visible characters, without spaces around them")));
    }
    Ok(())
}

/// A grant in words.
pub(crate) fn grant_text(grant: &Grant) -> String {
    let Scope { webhook, environment } = &grant.scope;
    let webhook = webhook.as_ref().map_or("every webhook", WebhookName::as_str);
    let environment = environment.as_ref().map_or("every environment", EnvironmentName::as_str);
    format!("{} of {webhook} in {environment}", format!("{:?}", grant.role).to_lowercase())
}
