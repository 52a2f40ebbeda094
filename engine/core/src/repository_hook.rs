//! The hooks by which forges tell the engine itself that something happened in a watched repository.

use crate::status::SubscriptionStatus;
use crate::{
    EnvironmentName, HookAddress, InvalidName, RepositoryId, RepositoryName, SecretValue, SubscriptionId, Timestamp, TriggerPlace,
};

/// A watched repository's hook, as it stands with the forge. It outlives its repository until the forge has forgotten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryHook {
    /// Its id: events and deliveries name it as their subscription.
    pub id: SubscriptionId,
    /// The repository,
    pub repository: RepositoryId,
    /// and its name.
    pub name: RepositoryName,
    /// The event source that the forge is.
    pub source: String,
    /// The name that the forge's credentials go by.
    pub provider: String,
    /// Where events are received.
    pub address: HookAddress,
    /// Where it stands: `Off` once the forge is to forget it.
    pub status: SubscriptionStatus,
    /// Why, and what to do.
    pub status_reason: Option<String>,
    /// What the forge calls it.
    pub provider_id: Option<String>,
    /// What the forge was last told.
    pub applied: Option<String>,
    /// When the last verified event came since the forge was told; pings are such.
    pub heard_at: Option<Timestamp>,
    /// When refs last moved that no event had announced.
    pub missed_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl RepositoryHook {
    /// Where events of repositories belong among those of triggers, in the place of an environment.
    pub const ENVIRONMENT: &str = "repository";

    /// Whether it can be relied on: the forge has it as it should be, has been heard since, and has announced everything that moved.
    pub fn is_alive(&self) -> bool {
        let is_heard = self.heard_at.is_some_and(|heard| self.missed_at.is_none_or(|missed| heard >= missed));
        self.status == SubscriptionStatus::Active && is_heard
    }

    /// Where its events belong among those of triggers: grants for the webhook that is called as the repository cover them, as they cover the repository.
    ///
    /// # Errors
    /// When a name cannot be one there.
    pub fn place(&self) -> Result<TriggerPlace, InvalidName> {
        Ok(TriggerPlace {
            webhook: crate::WebhookName::new(self.name.as_str())?,
            environment: EnvironmentName::new(Self::ENVIRONMENT)?,
            trigger: crate::TriggerName::new(self.source.as_str())?,
        })
    }
}

/// A hook with everything that receiving needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundHook {
    /// Its id.
    pub id: SubscriptionId,
    /// Where its events belong.
    pub place: TriggerPlace,
    /// The event source.
    pub source: String,
    /// Where events are received; `None` once the forge is to forget it.
    pub address: Option<HookAddress>,
    /// What the forge signs with.
    pub secret: SecretValue,
    /// Types that the engine asks for.
    pub events: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(status: SubscriptionStatus, heard: Option<i64>, missed: Option<i64>) -> RepositoryHook {
        RepositoryHook {
            id: format!("sub_{}", "0".repeat(32)).parse().expect("an id"),
            repository: format!("{}_{}", RepositoryId::PREFIX, "0".repeat(32)).parse().expect("an id"),
            name: RepositoryName::new("shop").expect("a name"),
            source: "github".to_owned(),
            provider: "github".to_owned(),
            address: HookAddress::from_bytes([0; 16]),
            status,
            status_reason: None,
            provider_id: None,
            applied: None,
            heard_at: heard.map(Timestamp::from_millis),
            missed_at: missed.map(Timestamp::from_millis),
            created_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn a_hook_is_relied_on_once_it_was_heard_until_it_missed_something() {
        use SubscriptionStatus::{Active, Failing};
        assert!(!hook(Active, None, None).is_alive(), "nobody has heard it");
        assert!(hook(Active, Some(5), None).is_alive());
        assert!(!hook(Failing, Some(5), None).is_alive());
        assert!(!hook(Active, Some(5), Some(6)).is_alive(), "something moved without a word");
        assert!(hook(Active, Some(7), Some(6)).is_alive(), "it was heard again");
    }
}
