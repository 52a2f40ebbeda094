//! The events of a repository's own hook, on their way to the look that answers them.

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Delivery, Repository, RepositoryHook, RepositoryKind, Timestamp};
use hookwright_store::AttemptEnd;

use super::forge_of;
use crate::{Deps, Result};

/// Deliveries that one look answers.
pub(super) const PORTION: u32 = 500;

/// What events of a repository's own hook asked a look for.
pub(in crate::intake) struct Announced {
    hook: RepositoryHook,
    deliveries: Vec<Delivery>,
    comments: Vec<String>,
}

/// How a hook stands after a look.
pub(in crate::intake) struct Answered {
    /// Whether more came meanwhile, which the look may not have seen.
    pub(in crate::intake) is_more: bool,
    /// Whether the hook is relied on.
    pub(in crate::intake) is_alive: bool,
}

impl Announced {
    /// What is to be answered by a look that begins now.
    pub(in crate::intake) async fn read(deps: &Deps, repository: &Repository) -> Result<Option<Self>> {
        if repository.kind == RepositoryKind::Hosted {
            return Ok(None);
        }
        let Some(hook) = deps.store.repository_hook_of(repository.id).await? else { return Ok(None) };
        let deliveries = deps.store.delivery_due(hook.id, Timestamp::from_millis(i64::MAX), PORTION).await?;
        let comments = forge_of(deps, repository).map(|forge| forge.comments).unwrap_or_default();
        Ok(Some(Self { hook, deliveries, comments }))
    }

    /// Whether an event said that refs moved; comments do not.
    pub(in crate::intake) fn is_of_refs(&self) -> bool {
        self.deliveries.iter().any(|delivery| !self.is_comment(delivery))
    }

    /// Writes what the look came to.
    pub(in crate::intake) async fn settle(self, deps: &Deps, looked: &Result<bool>, is_echo: bool) -> Result<Answered> {
        let is_announced = self.is_of_refs();
        let full = self.deliveries.len() >= PORTION as usize;
        for delivery in &self.deliveries {
            let (status, text) = match looked {
                _ if self.is_comment(delivery) => (DeliveryStatus::Delivered, "seen".to_owned()),
                Ok(true) => (DeliveryStatus::Delivered, "the refs were read, and some had moved".to_owned()),
                Ok(false) => (DeliveryStatus::Delivered, "the refs were read, and none had moved since".to_owned()),
                Err(error) => (DeliveryStatus::Waiting, format!("the refs cannot be read: {error}")),
            };
            end(deps, delivery.clone(), (status, text)).await?;
        }
        let is_more = full || !deps.store.delivery_due(self.hook.id, deps.clock.now(), 1).await?.is_empty();
        if matches!(looked, Ok(true)) && !is_announced && !is_echo && !is_more && self.hook.is_alive() {
            deps.store.repository_hook_missed(self.hook.id, deps.clock.now()).await?;
            deps.wakes.wake(Topic::RepositoryHooks);
        }
        let now = deps.store.repository_hook_of(self.hook.repository).await?;
        Ok(Answered { is_more, is_alive: now.is_some_and(|hook| hook.is_alive()) })
    }

    fn is_comment(&self, delivery: &Delivery) -> bool {
        let is_of = |family: &String| {
            delivery.kind == *family || delivery.kind.strip_prefix(family.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        self.comments.iter().any(is_of)
    }
}

/// Writes where a delivery stands now. One that waits is looked at again with the next look at its repository, or after the usual interval.
pub(super) async fn end(deps: &Deps, delivery: Delivery, (status, reason): (DeliveryStatus, String)) -> Result<()> {
    let (from, now) = (delivery.status, deps.clock.now());
    let ended_at = status.is_end().then_some(now);
    let due_at = if status.is_end() { delivery.due_at } else { now.plus(deps.settings.poll_interval) };
    let delivery = Delivery { status, status_reason: Some(reason), attempts: delivery.attempts + 1, due_at, ended_at, ..delivery };
    deps.inbox.attempt_ended(AttemptEnd { attempt: None, delivery, from }).await?;
    Ok(())
}
