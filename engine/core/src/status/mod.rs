//! The states of everything that runs, each with its one transition table. A status column is written only through `to`.
//! The tables in `engine/README.md` say who makes each move and what a restart finds.

mod delivery;
mod deployment;
mod promotion;
mod run;
mod stage;
mod subscription;

pub use delivery::DeliveryStatus;
pub use deployment::DeploymentStatus;
pub use promotion::PromotionStatus;
pub use run::RunStatus;
pub use stage::StageStatus;
pub use subscription::SubscriptionStatus;

/// A move that the transition table does not have: a bug of ours, never the user's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {what} cannot go from `{from}` to `{to}`")]
pub struct IllegalMove {
    what: &'static str,
    from: &'static str,
    to: &'static str,
}

/// A stored text that is no status of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a status of a {what}")]
pub struct UnknownStatus {
    what: &'static str,
    text: String,
}

/// Declares a status enum: its texts, its moves (`From => [To, …]`) and which states are ends.
macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$state_doc:meta])* $state:ident = $text:literal => [$($next:ident),*];)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$state_doc])* $state,)*
        }

        impl $name {
            /// Every state, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$state),*];

            /// The text that is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$state => $text,)* }
            }

            /// The states that may follow this one.
            pub const fn next(self) -> &'static [Self] {
                match self { $(Self::$state => &[$(Self::$next),*],)* }
            }

            /// Whether nothing follows.
            pub const fn is_end(self) -> bool {
                self.next().is_empty()
            }

            /// The move to `next`.
            ///
            /// # Errors
            /// [`IllegalMove`](super::IllegalMove) when the table does not have it.
            pub fn to(self, next: Self) -> Result<Self, super::IllegalMove> {
                if self.next().contains(&next) {
                    Ok(next)
                } else {
                    Err(super::IllegalMove { what: $what, from: self.as_str(), to: next.as_str() })
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = super::UnknownStatus;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|status| status.as_str() == text)
                    .ok_or_else(|| super::UnknownStatus { what: $what, text: text.to_owned() })
            }
        }
    };
}
pub(crate) use statuses;
