//! The engine's one error. Its variants are what callers need to tell apart; texts of `Internal` are for the log only.

use hookwright_core::status::IllegalMove;
use hookwright_core::{Blame, PortError};

/// What the engine answers.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The actor may not.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Not in the present state.
    #[error("{0}")]
    Conflict(String),
    /// The request itself, or what a user wrote, is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Ours; the sentence names what was tried.
    #[error("cannot {doing}")]
    Internal {
        /// What was tried.
        doing: String,
        /// What went wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Whether the database could not be reached, or is another daemon's to write: nobody's fault, and over by itself.
    pub(crate) fn is_passing(&self) -> bool {
        hookwright_store::Error::within(self)
            .is_some_and(|cause| cause.is_out_of_reach() || matches!(cause, hookwright_store::Error::NotLeading))
    }

    /// Ours, while `doing`.
    pub fn internal(doing: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { doing: doing.into(), cause: cause.into() }
    }
}

impl From<hookwright_store::Error> for Error {
    fn from(cause: hookwright_store::Error) -> Self {
        Self::internal("read or write the store", cause)
    }
}

impl From<PortError> for Error {
    fn from(cause: PortError) -> Self {
        match cause.blame {
            Blame::Failed => Self::Invalid(cause.message),
            Blame::Errored => Self::internal(cause.message.clone(), cause),
        }
    }
}

impl From<IllegalMove> for Error {
    fn from(cause: IllegalMove) -> Self {
        Self::internal("change a status", cause)
    }
}
