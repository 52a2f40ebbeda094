//! Channels: how some event sources send, each for a time. A new one is opened before the old one ends.

use crate::{SecretValue, SubscriptionId, Timestamp};

/// A channel of a subscription, written down before its source is asked for it: the source may send before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id, which we choose.
    pub id: String,
    /// Whose it is.
    pub subscription: SubscriptionId,
    /// What its messages have to carry: 256 random bits that no other channel has.
    pub token: SecretValue,
    /// A digest of what it is for; a channel for something else is closed.
    pub wanted: String,
    /// What the source calls what is watched; unknown until it has answered.
    pub resource: Option<String>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When the source ends it; unknown until it has answered.
    pub expires_at: Option<Timestamp>,
}
