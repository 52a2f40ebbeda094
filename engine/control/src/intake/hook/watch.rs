//! How a watched repository is told of, for people.

use std::collections::HashMap;

use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{Repository, RepositoryHook, RepositoryId, Timestamp};

use super::{forge_of, missing};
use crate::{Control, Deps, Result};

/// How a watched repository is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryWatch {
    /// The event source that its forge is.
    pub source: String,
    /// How the hook there stands.
    pub state: HookState,
    /// Why, and what to do.
    pub reason: Option<String>,
    /// When the last verified event came.
    pub heard_at: Option<Timestamp>,
    /// Whether it is relied on, so that the refs are read more rarely.
    pub is_alive: bool,
}

/// How a repository's hook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// The forge is to be told.
    Pending,
    /// The forge has it.
    Active,
    /// The forge refuses or does not answer; it is asked again.
    Failing,
    /// Something is missing here for it.
    None,
}

impl HookState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Failing, Self::None];

    /// The text that is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Failing => "failing",
            Self::None => "none",
        }
    }
}

/// The hooks of all repositories as they stand now.
pub struct RepositoryWatches {
    deps: Deps,
    hooks: HashMap<RepositoryId, RepositoryHook>,
}

impl Control {
    /// How repositories are told of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn repository_watches(&self) -> Result<RepositoryWatches> {
        let deps = self.deps().clone();
        let hooks = deps.store.repository_hook_list().await?.into_iter().filter(|hook| hook.status != SubscriptionStatus::Off);
        Ok(RepositoryWatches { hooks: hooks.map(|hook| (hook.repository, hook)).collect(), deps })
    }
}

impl RepositoryWatches {
    /// How a repository is told of; `None` when it is on no forge that is known.
    pub fn of(&self, repository: &Repository) -> Option<RepositoryWatch> {
        let forge = forge_of(&self.deps, repository)?;
        let watch = |state, reason| RepositoryWatch { source: forge.source.clone(), state, reason, heard_at: None, is_alive: false };
        if let Some(missing) = missing(&self.deps, &forge) {
            return Some(watch(HookState::None, Some(missing)));
        }
        let about = || Some(format!("{} is about to be told where to send", forge.title));
        let Some(hook) = self.hooks.get(&repository.id) else { return Some(watch(HookState::Pending, about())) };
        let state = match hook.status {
            SubscriptionStatus::Active => HookState::Active,
            SubscriptionStatus::Failing => HookState::Failing,
            SubscriptionStatus::Pending | SubscriptionStatus::Manual | SubscriptionStatus::Off => HookState::Pending,
        };
        let is_alive = hook.is_alive();
        let reason = hook.status_reason.clone().or_else(|| match (state, hook.heard_at) {
            (HookState::Pending, _) => about(),
            _ if is_alive => None,
            (_, None) => Some("it waits for the first event; until then the refs are read as often as without it".to_owned()),
            _ => Some("refs moved without a word; until the next event they are read as often as without it".to_owned()),
        });
        Some(RepositoryWatch { heard_at: hook.heard_at, is_alive, ..watch(state, reason) })
    }
}
