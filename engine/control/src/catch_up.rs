//! Has sources send again what they could not deliver while nobody answered.
//! Invariant: every event is asked for a few times at most, whatever the source's list says; what the inbox has stored is not asked for.

use std::time::Duration;

use hookwright_core::port::RegisteredHook;
use hookwright_core::{Blame, PortError, Subscription};
use hookwright_store::MissedDelivery;
use tracing::{info, warn};

use crate::{Deps, Result};

/// How often a source is asked for one event.
const ASKS: u32 = 3;

/// How long an event that was asked for may take to arrive before it is asked for again; twice as long after that.
const ARRIVAL: Duration = Duration::from_secs(600);

/// When to go on with what one look may not ask for: GitLab repeats five deliveries a minute.
const PAUSE: Duration = Duration::from_secs(61);

/// How long it is known what was asked for; sources list deliveries for a week at most.
const MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Open deliveries that are looked at together.
const PORTION: u32 = 500;

/// Looks once. Returns when to look again if that is sooner than usual.
pub(crate) async fn look(deps: &Deps, subscription: &Subscription, hook: RegisteredHook<'_>) -> Result<Option<Duration>> {
    let after = deps.store.catch_up_until(subscription.id, hook.id).await?;
    let listed = match deps.subscriber.undelivered(hook, after, deps.clock.now()).await {
        Ok(Some(listed)) => listed,
        Ok(None) => return Ok(None),
        Err(error) => {
            warn!(subscription = %subscription.place, "what a source could not deliver is not known: {}", error.message);
            return Ok(error.after.map(|wait| wait.max(PAUSE)));
        }
    };
    let mut found = Vec::new();
    for delivery in listed.failed {
        let is_stored = deps.store.event_is_stored(subscription.id, &delivery.replay_key).await?;
        found.push((delivery, is_stored));
    }
    let mut tx = deps.store.begin().await?;
    for (delivery, is_stored) in &found {
        tx.missed_note((subscription.id, hook.id), delivery, *is_stored).await?;
    }
    tx.catch_up_looked((subscription.id, hook.id), listed.newest).await?;
    let now = deps.clock.now();
    tx.missed_forget(hookwright_core::Timestamp::from_millis(now.as_millis() - i64::try_from(MEMORY.as_millis()).unwrap_or(i64::MAX)))
        .await?;
    tx.commit("missed.found").await?;
    ask_again(deps, subscription, (hook, listed.asks)).await
}

async fn ask_again(deps: &Deps, subscription: &Subscription, (hook, most): (RegisteredHook<'_>, u32)) -> Result<Option<Duration>> {
    let mut asked = 0;
    for missed in deps.store.missed_open(subscription.id, hook.id, PORTION).await? {
        let is_stored = deps.store.event_is_stored(subscription.id, &missed.listed.replay_key).await?;
        if is_stored || (missed.asks >= ASKS && !is_awaited(deps, &missed)) {
            if !is_stored {
                warn!(subscription = %subscription.place, "an event is lost: delivery {} of its source failed again", missed.listed.id);
            }
            update(deps, subscription, (&missed, true)).await?;
            continue;
        }
        if is_awaited(deps, &missed) {
            continue;
        }
        if asked == most {
            return Ok(Some(PAUSE));
        }
        asked += 1;
        // Written first: a crash between the two costs one of the asks, and never leads to more of them.
        let now = MissedDelivery { asks: missed.asks + 1, asked_at: Some(deps.clock.now()), ..missed.clone() };
        update(deps, subscription, (&now, false)).await?;
        let again = match deps.subscriber.deliver_again(hook, &missed.listed.id).await {
            Ok(Some(body)) => take_in(deps, subscription, body).await,
            again => again.map(drop),
        };
        if let Err(error) = again {
            warn!(subscription = %subscription.place, "delivery {} could not be asked for: {}", missed.listed.id, error.message);
            if error.blame == Blame::Errored {
                // The source was not asked; it is not asked for the others either now.
                update(deps, subscription, (&missed, false)).await?;
                return Ok(error.after.map(|wait| wait.max(PAUSE)));
            }
        }
    }
    if asked > 0 {
        info!(subscription = %subscription.place, "asked `{}` for {asked} events that it could not deliver", hook.source);
    }
    Ok(None)
}

/// Takes in an event that its source has read out instead of sending it: it is verified, stored and delivered as if it had come.
async fn take_in(deps: &Deps, subscription: &Subscription, body: String) -> std::result::Result<(), PortError> {
    let event = deps.deliverer.caught_up(subscription.id, body, deps.clock.now())?;
    let answer = deps.deliverer.take(event).await;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(PortError::errored(format!("the inbox answered {}", answer.status)))
}

/// Whether it was asked for a short time ago. A clock that went back makes nothing wait for longer than that.
fn is_awaited(deps: &Deps, missed: &MissedDelivery) -> bool {
    let Some(asked_at) = missed.asked_at else { return false };
    let wait = ARRIVAL * 2_u32.saturating_pow(missed.asks.saturating_sub(1)).min(4);
    let now = deps.clock.now();
    asked_at <= now && now.since(asked_at) < wait
}

async fn update(deps: &Deps, subscription: &Subscription, (missed, settled): (&MissedDelivery, bool)) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    tx.missed_update(subscription.id, missed, settled).await?;
    tx.commit("missed.updated").await?;
    Ok(())
}
