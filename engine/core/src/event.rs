//! What event sources send, and its way to a handler.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::status::{DeliveryStatus, SubscriptionStatus};
use crate::{DeliveryId, EnvironmentName, EventId, FieldPath, SecretValue, SubscriptionId, Timestamp, TriggerName, WebhookName, redact};

/// The unguessable last part of `/hooks/<address>`: 32 hexadecimal digits, 128 random bits. Who knows it can send, but not sign.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookAddress(String);

/// A text that is no hook address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is no hook address; one is 32 hexadecimal digits")]
pub struct InvalidHookAddress;

impl HookAddress {
    /// The address that is these random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HookAddress {
    type Err = InvalidHookAddress;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        valid.then(|| Self(text.to_owned())).ok_or(InvalidHookAddress)
    }
}

impl TryFrom<String> for HookAddress {
    type Error = InvalidHookAddress;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HookAddress> for String {
    fn from(address: HookAddress) -> Self {
        address.0
    }
}

impl fmt::Display for HookAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a trigger in an environment belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TriggerPlace {
    /// The webhook.
    pub webhook: WebhookName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The trigger.
    pub trigger: TriggerName,
}

impl fmt::Display for TriggerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.webhook, self.environment, self.trigger)
    }
}

/// A trigger in an environment, as it stands with its event source. It outlives deployments: its address stays the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// What it belongs to.
    pub place: TriggerPlace,
    /// The event source.
    pub source: String,
    /// Where events are received.
    pub address: HookAddress,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// Why, and what to do.
    pub status_reason: Option<String>,
    /// What the provider calls it.
    pub provider_id: Option<String>,
    /// A digest of what the provider was last told.
    pub applied: Option<String>,
    /// When it ends at the provider unless it is renewed.
    pub expires_at: Option<Timestamp>,
    /// When it began.
    pub created_at: Timestamp,
    /// When its status or what was applied last changed.
    pub updated_at: Timestamp,
    /// When the last verified event came.
    pub last_event_at: Option<Timestamp>,
}

/// An event as it was received: verified, then stored, then acknowledged. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Which subscription it came through.
    pub subscription: SubscriptionId,
    /// Of which trigger.
    pub place: TriggerPlace,
    /// The event source.
    pub source: String,
    /// Its type in the words of the source (`issues.opened`).
    pub kind: String,
    /// What the source calls this delivery.
    pub source_id: Option<String>,
    /// Whether its signature or token was checked.
    pub verified: bool,
    /// When it was received.
    pub received_at: Timestamp,
    /// The headers as they came, in order; values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte; see `redacted`.
    pub body: Bytes,
    /// Fields of the payload that nobody is shown, and that are cut out of the body once it was delivered.
    pub redact: Vec<FieldPath>,
    /// Whether the body has lost them. It is not what the source signed any more.
    pub redacted: bool,
}

impl Event {
    /// The type that the body came with.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.as_str())
    }

    /// The event as anybody is shown it.
    #[must_use]
    pub fn shown(self) -> Self {
        let body = redact(&self.redact, self.content_type(), &self.body).body;
        Self { body, ..self }
    }
}

/// An event on its way to a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id; a replay is a new delivery of the same event.
    pub id: DeliveryId,
    /// What is delivered.
    pub event: EventId,
    /// The order in which deliveries were accepted, over all triggers.
    pub sequence: u64,
    /// Through which subscription it goes; its deliveries share one concurrency.
    pub subscription: SubscriptionId,
    /// Where it goes.
    pub place: TriggerPlace,
    /// The event's type.
    pub kind: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Why, for every end but `delivered` and for what waits.
    pub status_reason: Option<String>,
    /// Attempts that have ended.
    pub attempts: u32,
    /// Whether someone asked for it again.
    pub replay: bool,
    /// Deliveries of a subscription with the same key never overtake each other.
    pub order_key: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the next attempt may be made.
    pub due_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// One try to give an event to a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// From 1 on.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What the handler answered.
    pub answer: Option<AttemptAnswer>,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// What a handler answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, as text; what is no UTF-8 is replaced.
    pub body: String,
}

/// How a handler is given events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// The path of the handler.
    pub path: String,
    /// Whether the handler's answer is the answer to the source.
    pub sync: bool,
    /// How long the handler may take.
    pub timeout: Duration,
    /// All attempts, the first included.
    pub attempts: u32,
    /// Whether pauses grow exponentially; otherwise they stay the same.
    pub exponential: bool,
    /// Attempts at the same time.
    pub concurrency: u32,
    /// A CEL expression whose value is the order key.
    pub order_by: Option<String>,
}

/// A trigger of what is deployed, with everything that receiving and delivering needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundTrigger {
    /// Which subscription it is.
    pub subscription: SubscriptionId,
    /// Its name.
    pub name: TriggerName,
    /// The event source.
    pub source: String,
    /// Where events are received; `None` when it does not fire in this environment, and then it takes replays alone.
    pub address: Option<HookAddress>,
    /// `false` for `verify: none`.
    pub verified: bool,
    /// Signing secrets, the newest first.
    pub secrets: Vec<SecretValue>,
    /// The definition of its source as JSON text, when the repository brings it itself.
    pub definition: Option<String>,
    /// What the trigger says to its source, as JSON text.
    pub options: String,
    /// Types that are wanted; empty is all.
    pub events: Vec<String>,
    /// A CEL condition.
    pub filter: Option<String>,
    /// Fields of the payload that nobody is shown.
    pub redact: Vec<FieldPath>,
    /// When a schedule fires.
    pub schedule: Option<Schedule>,
    /// How the handler gets events.
    pub deliver: DeliveryPolicy,
}

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// A cron pattern.
    pub cron: String,
    /// The IANA name of its time zone; `None` is UTC.
    pub timezone: Option<String>,
    /// What happens to times that passed while nothing ran.
    pub catch_up: CatchUp,
    /// Each time is put off by up to this much, always the same for the same time.
    pub jitter: Duration,
}

/// What happens to the times of a schedule that passed while nothing ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// Nothing.
    #[default]
    None,
    /// The last of them is made up for.
    One,
    /// All of them are, oldest first, at most a thousand.
    All,
}
