//! Finds changes of which no message came: a source that sends through channels loses messages, and lists what has changed besides.
//! Invariant: the mark from where a source lists goes on only when the handler was told of everything before it, by a message or by us.

use std::time::Duration;

use hookwright_core::port::RegisteredHook;
use hookwright_core::{Channel, PortError, Subscription, Timestamp};
use tracing::{info, warn};

use crate::{Deps, Result};

/// How long a message may take after its change before it counts as lost.
const ARRIVAL: Duration = Duration::from_secs(120);

/// When to look again at changes whose messages may still come.
const PAUSE: Duration = Duration::from_secs(61);

/// Looks once. Returns when to look again if that is sooner than usual.
pub(crate) async fn look(deps: &Deps, subscription: &Subscription, hook: RegisteredHook<'_>) -> Result<Option<Duration>> {
    let before = deps.store.change_mark(subscription.id, hook.repository).await?;
    let listed = match deps.subscriber.changes(hook, before.as_ref().map(|mark| mark.text.as_str())).await {
        Ok(Some(listed)) => listed,
        Ok(None) => return Ok(None),
        Err(error) => {
            warn!(subscription = %subscription.place, "whether messages were lost is not known: {}", error.message);
            return Ok(error.after.map(|wait| wait.max(PAUSE)));
        }
    };
    if let Some(before) = &before {
        let told = deps.store.delivery_newest((subscription.id, &subscription.place.webhook), &listed.kind).await?;
        let now = deps.clock.now();
        // What has no time was made after the mark; a clock that is ahead of ours tells no time to come.
        let untold = listed
            .made_at
            .iter()
            .map(|made_at| made_at.unwrap_or(before.read_at).min(now))
            .filter(|made_at| told.is_none_or(|told| *made_at > told));
        let untold: Vec<Timestamp> = untold.collect();
        if let Some(lost) = untold.iter().filter(|made_at| now.since(**made_at) >= ARRIVAL).max() {
            if let Err(error) = tell(deps, subscription, (hook, *lost)).await? {
                warn!(subscription = %subscription.place, "a lost message could not be made up for; trying again: {}", error.message);
                return Ok(Some(PAUSE));
            }
            info!(subscription = %subscription.place, "a message of `{}` was lost and is made up for", hook.source);
        } else if !untold.is_empty() {
            return Ok(Some(PAUSE));
        }
    }
    let is_first = before.is_none();
    if before.is_none_or(|before| before.text != listed.mark) {
        let mut tx = deps.store.begin().await?;
        tx.change_mark_set((subscription.id, hook.repository), &listed.mark).await?;
        tx.commit("changes.listed").await?;
    }
    if is_first {
        info!(subscription = %subscription.place, "lost messages of `{}` are found from now on", hook.source);
    }
    Ok(None)
}

/// Takes in the message that did not come.
async fn tell(
    deps: &Deps,
    subscription: &Subscription,
    (hook, made_at): (RegisteredHook<'_>, Timestamp),
) -> Result<std::result::Result<(), PortError>> {
    let Some(channel) = deps.store.channel_fetch(hook.id).await? else {
        return Ok(Err(PortError::errored("its channel was closed meanwhile")));
    };
    Ok(take(deps, subscription, (&channel, hook.repository), made_at).await)
}

async fn take(deps: &Deps, subscription: &Subscription, at: (&Channel, &str), made_at: Timestamp) -> std::result::Result<(), PortError> {
    let message = deps.deliverer.changed(subscription.id, at, made_at)?;
    let answer = deps.deliverer.take(message).await;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(PortError::errored(format!("the inbox answered {}", answer.status)))
}
