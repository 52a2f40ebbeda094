//! Hooks at event sources that a trigger does not have any more: when its `source` is changed, its subscription begins anew, and the source before
//! is to forget the address. What is left there is kept with the new subscription, in what was applied, until it is removed.

use hookwright_core::{Subscription, SubscriptionId};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::subscription::{Applied, Look, PAUSE};
use crate::{Deps, Result, channel};

/// What a source still has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftHook {
    subscription: String,
    source: String,
    repository: String,
    url: String,
}

/// What a source was told for a subscription, and what is left elsewhere.
pub(crate) fn read(subscription: &Subscription) -> (Option<Applied>, Vec<LeftHook>) {
    let Some(mut applied) = subscription.applied.as_deref().and_then(|text| serde_json::from_str::<Applied>(text).ok()) else {
        return (None, Vec::new());
    };
    let left = std::mem::take(&mut applied.left);
    (Some(applied).filter(|applied| !applied.digest.is_empty()), left)
}

/// The same as it is stored.
pub(crate) fn written(applied: Option<Applied>, left: Vec<LeftHook>) -> Option<String> {
    if applied.is_none() && left.is_empty() {
        return None;
    }
    serde_json::to_string(&Applied { left, ..applied.unwrap_or_default() }).ok()
}

/// What a subscription leaves behind that is about to begin anew.
pub(crate) fn left_by(subscription: &Subscription) -> Vec<LeftHook> {
    let (applied, mut left) = read(subscription);
    left.extend(applied.map(|applied| LeftHook {
        subscription: subscription.id.to_string(),
        source: subscription.source.clone(),
        repository: applied.repository,
        url: applied.url,
    }));
    left
}

/// Has removed what is left elsewhere, as far as it is time and its sources do it; returns the subscription as it is then.
pub(crate) async fn remove(deps: &Deps, subscription: Subscription, look: &mut Look) -> Result<Subscription> {
    let (applied, left) = read(&subscription);
    let now = deps.clock.monotonic();
    if left.is_empty() || now < look.left {
        return Ok(subscription);
    }
    let mut kept = Vec::new();
    for hook in &left {
        let Ok(id) = hook.subscription.parse::<SubscriptionId>() else { continue };
        let removed = if deps.subscriber.opens_channels(&hook.source) {
            let before = Subscription { id, source: hook.source.clone(), ..subscription.clone() };
            channel::close_all(deps, &before).await?
        } else {
            deps.subscriber.remove(&hook.source, &hook.repository, &hook.url).await
        };
        match removed {
            Ok(()) => info!(subscription = %subscription.place, "`{}` sends no more, which the trigger had before", hook.source),
            Err(error) => {
                look.left = now + error.after.unwrap_or_default().max(PAUSE);
                warn!(subscription = %subscription.place, "`{}` could not be told to stop sending: {}", hook.source, error.message);
                kept.push(hook.clone());
            }
        }
    }
    if kept.len() == left.len() {
        return Ok(subscription);
    }
    let after = Subscription { applied: written(applied, kept), ..subscription };
    let mut tx = deps.store.begin().await?;
    tx.subscription_update(&after).await?;
    tx.commit("subscription.removed").await?;
    Ok(after)
}
