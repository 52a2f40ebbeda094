//! Telling event sources where to send.

use async_trait::async_trait;

use crate::{PortError, SecretValue, Timestamp};

/// What an event source is to know of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSubscription {
    /// The event source.
    pub source: String,
    /// Whose events are meant, in the words of the source: `acme/shop`.
    pub repository: String,
    /// Where it is to send. Nobody else has this address, so that it marks what is ours.
    pub url: String,
    /// Types of events that are wanted; empty is all.
    pub events: Vec<String>,
    /// What it is to sign with.
    pub secret: SecretValue,
}

/// A hook that the source knows.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredHook<'a> {
    /// The event source.
    pub source: &'a str,
    /// Whose events are meant.
    pub repository: &'a str,
    /// What the source calls the hook.
    pub id: &'a str,
}

/// A delivery in a source's own list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDelivery {
    /// What the source calls it when it is asked to repeat it.
    pub id: String,
    /// What the inbox knows its event by: its replay key.
    pub replay_key: String,
}

/// What a source says of its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDeliveries {
    /// Those that failed, the oldest first.
    pub failed: Vec<ListedDelivery>,
    /// The newest one, whatever became of it; deliveries are numbered upwards.
    pub newest: u64,
    /// How many it may be asked to repeat within a look.
    pub asks: u32,
}

/// Registers triggers with their event sources.
///
/// *Idempotency*: what is there already, by its address, is brought up to date and never made twice; a crash between the source's answer and our
/// record is mended by the next call. *Errors*: *Failed* when the source says no, which a person mends (credentials, rights, names); *Errored* when it
/// does not answer, answers nonsense, or has had enough. Nothing of a secret is in a message.
#[async_trait]
pub trait Subscriber: Send + Sync + 'static {
    /// Whether subscriptions of this source can be registered: it has a way, and there are credentials.
    fn registers(&self, source: &str) -> bool;

    /// Makes the source know it; returns what the source calls it.
    async fn ensure(&self, wanted: &WantedSubscription) -> Result<String, PortError>;

    /// Whether the source still has exactly what is wanted, as far as it tells.
    async fn is_intact(&self, wanted: &WantedSubscription) -> Result<bool, PortError>;

    /// Makes the source forget what sends to this address; it is no error when it knows nothing of it.
    async fn remove(&self, source: &str, repository: &str, url: &str) -> Result<(), PortError>;

    /// What the source could not deliver, among what is newer than `after` and some before it. `None` when it keeps no list, or repeats nothing.
    async fn undelivered(&self, hook: RegisteredHook<'_>, after: u64, now: Timestamp) -> Result<Option<ListedDeliveries>, PortError>;

    /// Has the source make a delivery again, under the id that it had.
    async fn deliver_again(&self, hook: RegisteredHook<'_>, delivery: &str) -> Result<(), PortError>;
}
