//! One hook: told to its forge, found to be as it should be, or taken away there.

use std::time::Duration;

use hookwright_core::port::{ForgeRepository, Notifier, Topic, WantedSubscription};
use hookwright_core::status::{DeliveryStatus, SubscriptionStatus};
use hookwright_core::{PortError, RepositoryHook, Timestamp};
use tracing::{info, warn};

use super::HookLook;
use super::announced::{PORTION, end};
use crate::intake::Looks;
use crate::subscription::{Applied, is_due, postpone};
use crate::{Deps, Result};

/// How often a forge is asked whether it still has a hook. It is asked at once when something moved without a word.
const DRIFT: Duration = Duration::from_secs(3600);

/// Tells the forge what is wanted, when it may not have it.
pub(super) async fn step(
    deps: &Deps,
    looks: &Looks,
    (hook, asked): (RepositoryHook, &mut HookLook),
    forge: &ForgeRepository,
) -> Result<()> {
    let applied: Option<Applied> = hook.applied.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let secret = deps.store.repository_hook_secret(hook.id).await?;
    let Some(secret) = secret else { return Ok(()) };
    let url = format!("{}/hooks/{}", deps.settings.public_url, hook.address);
    let (source, repository) = (forge.provider.clone(), forge.repository.clone());
    let wanted = WantedSubscription { source, repository, url, events: forge.events.clone(), secret: Some(secret) };
    let now = Applied::of(&wanted);
    let changed = applied.as_ref() != Some(&now);
    let has_missed = hook.missed_at != asked.missed_at && hook.missed_at > hook.heard_at;
    asked.missed_at = hook.missed_at;
    let look = &mut asked.look;
    if !(is_due(deps, look) || look.failures == 0 && (changed || has_missed)) {
        return Ok(());
    }
    match tell(deps, &hook, (&wanted, changed, applied.as_ref())).await {
        Ok(provider_id) => {
            (look.failures, look.next) = (0, deps.clock.monotonic() + DRIFT);
            if provider_id.is_some() {
                info!(repository = %hook.name, "{} tells of what happens in `{}`", forge.title, hook.name);
            }
            let provider_id = provider_id.or_else(|| hook.provider_id.clone());
            let applied = serde_json::to_string(&now).ok();
            let (status, status_reason) = (SubscriptionStatus::Active, None);
            write(deps, &hook, RepositoryHook { status, status_reason, provider_id, applied, ..hook.clone() }).await?;
        }
        Err(error) => {
            postpone(deps, look, &error);
            let status_reason = Some(format!("{}; until then the refs are read", error.message));
            write(deps, &hook, RepositoryHook { status: SubscriptionStatus::Failing, status_reason, ..hook.clone() }).await?;
            if hook.status == SubscriptionStatus::Active {
                // It may have been read rarely.
                looks.hurry(hook.repository);
                deps.wakes.wake(Topic::Intake);
            }
        }
    }
    Ok(())
}

/// Tells the forge what is wanted, if it does not have it; returns what it calls it when it was told.
async fn tell(
    deps: &Deps,
    hook: &RepositoryHook,
    (wanted, changed, applied): (&WantedSubscription, bool, Option<&Applied>),
) -> std::result::Result<Option<String>, PortError> {
    if !changed && deps.subscriber.is_intact(wanted).await? {
        return Ok(None);
    }
    // Before the forge is told: its first ping may be faster than its answer.
    let unwritten = |error| PortError::errored("the database refuses; it is tried again").because(error);
    deps.store.repository_hook_unheard(hook.id).await.map_err(unwritten)?;
    if let Some(before) = applied.filter(|before| before.repository != wanted.repository || before.url != wanted.url) {
        deps.subscriber.remove(&wanted.source, &before.repository, &before.url).await?;
    }
    deps.subscriber.ensure(wanted).await.map(|registered| Some(registered.id))
}

/// Makes the forge forget a hook; then we forget it too, unless its repository is still watched.
pub(super) async fn take_away(deps: &Deps, (hook, asked): (RepositoryHook, &mut HookLook), is_forgotten: bool) -> Result<()> {
    let look = &mut asked.look;
    if !is_due(deps, look) {
        return Ok(());
    }
    for delivery in deps.store.delivery_due(hook.id, Timestamp::from_millis(i64::MAX), PORTION).await? {
        end(deps, delivery, (DeliveryStatus::Canceled, "the repository's hook is gone".to_owned())).await?;
    }
    let applied: Option<Applied> = hook.applied.as_deref().and_then(|text| serde_json::from_str(text).ok());
    if let Some(applied) = applied {
        let removed = if deps.subscriber.registers(&hook.provider) {
            deps.subscriber.remove(&hook.provider, &applied.repository, &applied.url).await
        } else {
            let text = format!("the hook of `{}` at `{}` stays there, because its credentials are gone", hook.name, hook.provider);
            Err(PortError::failed(text))
        };
        if let Err(error) = removed {
            postpone(deps, look, &error);
            if hook.status_reason.as_ref() != Some(&error.message) {
                warn!(repository = %hook.name, "a forge could not be told to forget a hook: {}", error.message);
            }
            write(deps, &hook, RepositoryHook { status_reason: Some(error.message), ..hook.clone() }).await?;
            return Ok(());
        }
        write(deps, &hook, RepositoryHook { applied: None, provider_id: None, status_reason: None, ..hook.clone() }).await?;
        info!(repository = %hook.name, "`{}` does not tell of `{}` any more", hook.provider, hook.name);
    }
    if is_forgotten {
        let mut tx = deps.store.begin().await?;
        tx.repository_hook_delete(hook.id).await?;
        tx.commit("repository_hook.removed").await?;
    }
    look.next = deps.clock.monotonic() + DRIFT;
    Ok(())
}

/// Writes how it stands, if that has changed.
pub(super) async fn write(deps: &Deps, before: &RepositoryHook, after: RepositoryHook) -> Result<RepositoryHook> {
    if *before == after {
        return Ok(after);
    }
    if before.status != after.status {
        before.status.to(after.status)?;
    }
    let mut tx = deps.store.begin().await?;
    tx.repository_hook_update(&after).await?;
    tx.commit("repository_hook.written").await?;
    Ok(after)
}
