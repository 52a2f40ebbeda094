//! Waking the delivery of events, and making events to try a webhook with.

use async_trait::async_trait;

use crate::{Channel, PortError, SubscriptionId, Timestamp};

/// An event as its source would send it, signed with the trigger's own secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEvent {
    /// The path it is to be sent to, by POST.
    pub path: String,
    /// Its headers, the signature among them.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

/// What the inbox said to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Gives stored events to handlers.
#[async_trait]
pub trait Deliverer: Send + Sync + 'static {
    /// Has the deliveries of a subscription looked at. The call is cheap, never fails and carries nothing: what is to be delivered is in the store,
    /// and a call that is lost with the process is made up for at the next start.
    fn wake(&self, subscription: SubscriptionId);

    /// What a person does at the source so that it sends events to `address`; `None` when nothing is to be done, or nothing is deployed.
    fn steps(&self, subscription: SubscriptionId, address: &str) -> Option<String>;

    /// The types of events that its source has examples of; none when nothing is deployed.
    fn kinds(&self, subscription: SubscriptionId) -> Vec<String>;

    /// Takes an event in as if its source had sent it: it is verified, stored and delivered like any other.
    async fn take(&self, event: SampleEvent) -> InboxAnswer;

    /// An event that was read from its source, signed as the source would have sent it; it is marked as caught up.
    ///
    /// # Errors
    /// *Failed* when nothing of the subscription is deployed, or the source alone can sign.
    fn caught_up(&self, subscription: SubscriptionId, body: String, now: Timestamp) -> Result<SampleEvent, PortError>;

    /// The message that the source would have sent through a channel when something changed at `made_at`, which is what it is known by; it is marked as
    /// caught up. `repository` is what the channel watches, in the words of the trigger.
    ///
    /// # Errors
    /// *Failed* when nothing of the subscription is deployed, or its source tells no changes.
    fn changed(&self, subscription: SubscriptionId, channel: (&Channel, &str), made_at: Timestamp) -> Result<SampleEvent, PortError>;

    /// The example event of a type, each `(path, value)` of `sets` put in: `issue.title` is the field `title` of `issue`. Nothing is sent.
    ///
    /// # Errors
    /// *Failed* when nothing of the subscription is deployed, its source has no such example, or a path leads nowhere.
    async fn sample(
        &self,
        subscription: SubscriptionId,
        kind: Option<&str>,
        sets: &[(String, String)],
        now: Timestamp,
    ) -> Result<SampleEvent, PortError>;
}
