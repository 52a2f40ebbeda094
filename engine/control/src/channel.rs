//! Keeps a channel open for each subscription whose source sends through channels: a new one before the old one ends, then the old one is closed.
//! Invariant: a channel is written down before its source is asked for it, so that its first message finds it; after a crash between the two the same
//! channel is asked for again, and one about which nothing can be known is closed.

use std::time::Duration;

use hookwright_core::port::{ChannelToClose, WantedChannel, WantedSubscription};
use hookwright_core::{Channel, PortError, Subscription, Timestamp};
use tracing::{info, warn};

use crate::{Deps, Result};

/// How long before its end a channel is replaced at the latest; sooner is a quarter of its life.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The channel that is for what is wanted and needs nothing for now.
pub(crate) fn current<'a>(channels: &'a [Channel], wanted: &str, now: Timestamp) -> Option<&'a Channel> {
    channels.iter().rev().find(|channel| channel.wanted == wanted && channel.resource.is_some() && !ends_soon(channel, now))
}

fn ends_soon(channel: &Channel, now: Timestamp) -> bool {
    channel.expires_at.is_none_or(|end| end.since(now) <= AHEAD.min(end.since(channel.created_at) / 4))
}

/// Opens a channel if there is none that lasts, and closes the others. `digest` says what it is for.
pub(crate) async fn keep(
    deps: &Deps,
    subscription: &Subscription,
    (wanted, digest): (&WantedSubscription, &str),
) -> Result<std::result::Result<Channel, PortError>> {
    let channels = deps.store.channel_list(subscription.id).await?;
    let open = match current(&channels, digest, deps.clock.now()) {
        Some(channel) => channel.clone(),
        None => match open(deps, subscription, (wanted, digest), &channels).await? {
            Ok(channel) => channel,
            Err(error) => return Ok(Err(error)),
        },
    };
    for other in deps.store.channel_list(subscription.id).await?.iter().filter(|other| other.id != open.id) {
        // What is watched is called the same by every channel that watches it: so one whose answer was lost can be closed too.
        let resource = other.resource.as_ref().or(open.resource.as_ref().filter(|_| other.wanted == open.wanted));
        if let Err(error) = close(deps, &subscription.source, (other, resource)).await? {
            warn!(subscription = %subscription.place, "a channel that was replaced could not be closed; its events come twice until it is: {}", error.message);
        }
    }
    Ok(Ok(open))
}

async fn open(
    deps: &Deps,
    subscription: &Subscription,
    (wanted, digest): (&WantedSubscription, &str),
    channels: &[Channel],
) -> Result<std::result::Result<Channel, PortError>> {
    // One that was asked for, and whose answer did not come.
    let mut asked_for = channels.iter().find(|channel| channel.wanted == digest && channel.resource.is_none()).cloned();
    loop {
        let is_new = asked_for.is_none();
        let channel = match asked_for.take() {
            Some(channel) => channel,
            None => {
                let mut tx = deps.store.begin().await?;
                let channel = deps.store.channel_create_in(&mut tx, subscription.id, digest).await?;
                tx.commit("channel.created").await?;
                channel
            }
        };
        match deps.subscriber.open(WantedChannel { wanted, channel: &channel }, deps.clock.now()).await {
            Ok(Some(opened)) => {
                let mut tx = deps.store.begin().await?;
                tx.channel_opened(&channel.id, (&opened.resource, opened.expires_at)).await?;
                tx.commit("channel.opened").await?;
                info!(subscription = %subscription.place, "`{}` sends through a new channel until {}", subscription.source, opened.expires_at);
                return Ok(Ok(Channel { resource: Some(opened.resource), expires_at: Some(opened.expires_at), ..channel }));
            }
            // It was opened before a crash. Another one takes its place, and says what this one watches.
            Ok(None) if !is_new => {}
            Ok(None) => {
                return Ok(Err(PortError::errored(
                    "the source says that it has a channel which was never asked for; another one is tried",
                )));
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Closes every channel of a subscription.
pub(crate) async fn close_all(deps: &Deps, subscription: &Subscription) -> Result<std::result::Result<(), PortError>> {
    let channels = deps.store.channel_list(subscription.id).await?;
    for channel in &channels {
        let same = |other: &&Channel| other.wanted == channel.wanted && other.resource.is_some();
        let resource = channel.resource.as_ref().or_else(|| channels.iter().find(same)?.resource.as_ref());
        if let Err(error) = close(deps, &subscription.source, (channel, resource)).await? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Has a channel closed and forgets it. One that cannot be named to its source, or has ended, is forgotten in any case.
async fn close(deps: &Deps, source: &str, (channel, resource): (&Channel, Option<&String>)) -> Result<std::result::Result<(), PortError>> {
    if let Some(resource) = resource
        && let Err(error) = deps.subscriber.close(ChannelToClose { source, id: &channel.id, resource }).await
        && channel.expires_at.is_none_or(|end| end > deps.clock.now())
    {
        return Ok(Err(error));
    }
    let mut tx = deps.store.begin().await?;
    tx.channel_forget(&channel.id).await?;
    tx.commit("channel.closed").await?;
    Ok(Ok(()))
}
