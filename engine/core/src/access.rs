//! Who may do what: roles granted for a webhook and an environment or for all of them. The one place where rights are decided.

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, WebhookName};

/// What a token may do. Each role includes those before it, except that `approver` and `developer` differ only in approving:
/// a developer pushes, runs and promotes where no approval is asked; an approver also decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but secrets, which nobody reads.
    Viewer,
    /// Also pushes, creates repositories, starts, retries and cancels runs, sets secrets, promotes and rolls back.
    Developer,
    /// Also approves and rejects.
    Approver,
    /// Also manages tokens, repositories and overrides.
    Admin,
}

/// Where a grant holds; `None` means everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The webhook (for git: the repository of that name too).
    pub webhook: Option<WebhookName>,
    /// The environment.
    pub environment: Option<EnvironmentName>,
}

/// A role within a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

/// What somebody asks to do, as far as rights are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read anything; any grant of any scope allows reading what it names.
    Read,
    /// Push, create a repository, start, retry, cancel, set a secret, promote, roll back.
    Develop,
    /// Approve or reject.
    Approve,
    /// Tokens, repositories of others, overrides.
    Administer,
}

impl Action {
    /// The least role that may.
    pub fn least_role(self) -> Role {
        match self {
            Self::Read => Role::Viewer,
            Self::Develop => Role::Developer,
            Self::Approve => Role::Approver,
            Self::Administer => Role::Admin,
        }
    }
}

/// Somebody who was authenticated: the identity that approvals count and the audit log names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The person or machine, for example `rosa`; distinct approvers have distinct users. The engine itself is `hookwright`.
    pub user: String,
    /// Teams, as approvals name them (`acme/leads` without the `@`).
    pub teams: Vec<String>,
    /// What the token grants.
    pub grants: Vec<Grant>,
}

impl Actor {
    /// The engine itself, for what happens without a person. It holds no grants: nothing asks rights of it.
    pub fn engine() -> Self {
        Self { user: "hookwright".to_owned(), teams: Vec::new(), grants: Vec::new() }
    }

    /// Whether this actor may do `action` there. `None` for a place means "all of them": only an unscoped grant covers it,
    /// except for reading, which any grant opens.
    pub fn may(&self, action: Action, webhook: Option<&WebhookName>, environment: Option<&EnvironmentName>) -> bool {
        self.grants.iter().any(|grant| {
            grant.role >= action.least_role()
                && covers(grant.scope.webhook.as_ref(), webhook, action)
                && covers(grant.scope.environment.as_ref(), environment, action)
        })
    }
}

fn covers<T: PartialEq>(granted: Option<&T>, asked: Option<&T>, action: Action) -> bool {
    match (granted, asked) {
        (None, _) => true,
        (Some(granted), Some(asked)) => granted == asked,
        (Some(_), None) => action == Action::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(role: Role, environment: Option<&str>) -> Actor {
        let environment = environment.map(|name| EnvironmentName::new(name).expect("a valid name"));
        Actor { user: "rosa".into(), teams: vec![], grants: vec![Grant { role, scope: Scope { webhook: None, environment } }] }
    }

    #[test]
    fn a_role_granted_for_one_environment_is_worth_nothing_in_another() {
        let production = EnvironmentName::new("production").expect("a valid name");
        let development = EnvironmentName::new("development").expect("a valid name");
        let rosa = actor(Role::Approver, Some("production"));
        assert!(rosa.may(Action::Approve, None, Some(&production)));
        assert!(!rosa.may(Action::Approve, None, Some(&development)));
        assert!(!rosa.may(Action::Administer, None, Some(&production)));
    }

    #[test]
    fn a_scoped_grant_does_not_cover_everything_but_lets_one_read() {
        let rosa = actor(Role::Admin, Some("production"));
        assert!(!rosa.may(Action::Administer, None, None));
        assert!(rosa.may(Action::Read, None, None));
    }
}
