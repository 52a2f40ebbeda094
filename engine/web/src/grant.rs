//! Grants as the API says them and as people read them, and the names that grants are given to: one rule for tokens and users.

use hookwright_core::{EnvironmentName, Grant, Role, Scope, WebhookName};
use http::StatusCode;
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

/// Grants in words, one after the other.
pub(crate) fn grants_text(grants: &[Grant]) -> String {
    grants.iter().map(grant_text).collect::<Vec<_>>().join(", ")
}

/// Teams and grants of somebody, as they are or are to be.
#[derive(Clone)]
pub(crate) struct Rights {
    pub(crate) teams: Vec<String>,
    pub(crate) grants: Vec<Grant>,
}

impl Rights {
    /// What the audit log says of them.
    fn text(&self) -> String {
        let teams = if self.teams.is_empty() { String::new() } else { format!(" (teams {})", self.teams.join(", ")) };
        format!("{}{teams}", grants_text(&self.grants))
    }

    /// The line of the audit log about whoever has these after others.
    pub(crate) fn instead_of(&self, before: &Self, whose: &str) -> String {
        format!("{whose}: {}; before: {}", self.text(), before.text())
    }
}

/// What is changed of somebody's rights, told to whoever holds them as they are.
pub(crate) enum Change {
    /// All of them.
    To(Rights),
    /// One role becomes another one in the same place; what it was, in words.
    Role(String, Role),
    /// One role is taken away.
    Take(String),
    /// One more.
    Give(Grant),
    Teams(Vec<String>),
}

impl Change {
    /// What they are afterwards.
    ///
    /// # Errors
    /// When what is to be changed is not there any more.
    pub(crate) fn apply(self, now: &Rights) -> Result<Rights> {
        let Rights { mut teams, mut grants } = now.clone();
        let find = |grants: &[Grant], before: &str| {
            let gone = || {
                Problem::new(StatusCode::CONFLICT, "that role is not there any more: somebody changed it meanwhile; load the page again")
            };
            grants.iter().position(|grant| grant_text(grant) == before).ok_or_else(gone)
        };
        match self {
            Self::To(rights) => return Ok(rights),
            Self::Role(before, role) => {
                let at = find(&grants, &before)?;
                grants[at].role = role;
            }
            Self::Take(before) => {
                grants.remove(find(&grants, &before)?);
                if grants.is_empty() {
                    return Err(Problem::invalid("the last role stays: remove the person or revoke the token instead"));
                }
            }
            Self::Give(grant) => grants.push(grant),
            Self::Teams(new) => teams = new,
        }
        let mut seen = Vec::new();
        grants.retain(|grant| {
            !seen.contains(grant) && {
                seen.push(grant.clone());
                true
            }
        });
        Ok(Rights { teams, grants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(roles: &[Role]) -> Rights {
        let grant = |role: &Role| Grant { role: *role, scope: Scope { webhook: None, environment: None } };
        Rights { teams: Vec::new(), grants: roles.iter().map(grant).collect() }
    }

    #[test]
    fn one_role_is_changed_or_taken_away_and_the_last_one_stays() {
        let (viewer, now) = ("viewer of every webhook in every environment", rights(&[Role::Viewer, Role::Approver]));
        let after = |change: Change, now: &Rights| change.apply(now).ok().map(|rights| grants_text(&rights.grants));
        let everywhere = |roles: &[Role]| Some(grants_text(&rights(roles).grants));
        assert_eq!(after(Change::Role(viewer.into(), Role::Admin), &now), everywhere(&[Role::Admin, Role::Approver]));
        assert_eq!(after(Change::Role(viewer.into(), Role::Approver), &now), everywhere(&[Role::Approver]), "none is there twice");
        assert_eq!(after(Change::Take(viewer.into()), &now), everywhere(&[Role::Approver]));
        assert_eq!(after(Change::Take(viewer.into()), &rights(&[Role::Viewer])), None, "the last one");
        assert_eq!(after(Change::Take(viewer.into()), &rights(&[Role::Admin])), None, "what is not there");
    }
}
