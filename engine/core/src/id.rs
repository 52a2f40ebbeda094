//! Typed ids: a prefix that says what is named, then a UUIDv7, so that ids sort by creation and cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where new ids come from; tests number them, the binary draws UUIDv7.
pub trait IdSource: Send + Sync + 'static {
    /// A UUID never handed out before; time-ordered.
    fn uuid(&self) -> Uuid;
}

/// A text that is not an id of the expected kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {expected}: it starts with `{prefix}_` followed by 32 hexadecimal digits")]
pub struct InvalidId {
    text: String,
    expected: &'static str,
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of every id of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// A new id out of `source`.
            pub fn new(source: &dyn IdSource) -> Self {
                Self(source.uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| rest.len() == 32)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId { text: text.to_owned(), expected: $noun, prefix: $prefix })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// A repository we host or watch.
    RepositoryId = "repo", "a repository id";
    /// A commit on a ref, as it was seen once.
    RevisionId = "rev", "a revision id";
    /// The execution of a plan.
    RunId = "run", "a run id";
    /// One attempt at a stage of a run.
    StageRunId = "stage", "a stage run id";
    /// A stored output of a stage.
    ArtifactId = "art", "an artifact id";
    /// A release on its way into an environment.
    PromotionId = "promo", "a promotion id";
    /// A person's recorded decision on a promotion.
    ApprovalId = "appr", "an approval id";
    /// A release in an environment.
    DeploymentId = "dep", "a deployment id";
    /// A daemon token (not its secret).
    TokenId = "tok", "a token id";
    /// Somebody signed in at the status page (not the secret in the cookie).
    SessionId = "sess", "a session id";
    /// A line of the audit log.
    AuditId = "audit", "an audit id";
    /// A row of the outbox.
    OutboxId = "out", "an outbox id";
    /// A trigger in an environment, with its address.
    SubscriptionId = "sub", "a subscription id";
    /// An event that was received.
    EventId = "evt", "an event id";
    /// An event on its way to a handler.
    DeliveryId = "dlv", "a delivery id";
    /// An upload into the registry that has not ended.
    UploadId = "up", "an upload id";
}
