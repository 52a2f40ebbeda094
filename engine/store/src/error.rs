//! The store's error. Its text may be logged; people see it only for what they can mend.

/// What the store answers.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or is gone.
    #[error("the database refused `{statement}`")]
    Database {
        /// The statement, without its values.
        statement: &'static str,
        /// What it said.
        #[source]
        cause: sqlx::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open the database: {message}")]
    Open {
        /// What, why and what to do.
        message: String,
    },
    /// Something stored cannot be read as what it should be: written by a newer version, or damaged.
    #[error("the column `{column}` holds what cannot be read: {message}")]
    Corrupt {
        /// Which column.
        column: &'static str,
        /// Why.
        message: String,
    },
    /// Another daemon works on this database.
    #[error("another daemon already works on `{place}`; stop it first, or give this one another --data folder or --database")]
    InUse {
        /// The database file, or the database and its host.
        place: String,
    },
    /// The database cannot be reached at the moment.
    #[error("the database is out of reach")]
    OutOfReach,
    /// Only the leader writes, and this daemon is not it, or not any more.
    #[error("this daemon does not lead: nothing was written")]
    NotLeading,
    /// The database was set up with another key than this daemon has.
    #[error(
        "the database was set up with another key: what is encrypted in it cannot be read with this one; \
         copy the file `key` from the data folder of the daemon that works with it, or restore it from a backup"
    )]
    OtherKey,
    /// The name is taken.
    #[error("{message}")]
    Taken {
        /// What, and by whom.
        message: String,
    },
    /// A value cannot be encrypted or decrypted.
    #[error("cannot decrypt `{what}`: it was encrypted with another key; restore the key file or set the secret again")]
    Secret {
        /// The secret's name.
        what: String,
    },
    /// The writer of events has ended: the daemon stops.
    #[error("events are not taken any more; the daemon stops")]
    Ended,
    /// A status would move where its table does not lead.
    #[error(transparent)]
    Move(#[from] hookwright_core::status::IllegalMove),
    /// The key file cannot be used.
    #[error("cannot use the key file: {message}")]
    Key {
        /// Why.
        message: String,
    },
}

impl Error {
    /// Whether the database is out of reach, so that asking it something else is of no use either.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Database { cause: sqlx::Error::Database(said), .. } => {
                // 57P is what a server says that shuts down or starts, 08 is trouble with the connection, 53300 too many of them.
                said.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08") || code == "53300")
            }
            Self::Database { cause, .. } => {
                use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
                matches!(cause, Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed)
            }
            Self::OutOfReach => true,
            _ => false,
        }
    }

    /// The error of the store that `error` is or was caused by, if there is one.
    pub fn within<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        loop {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            error = error.source()?;
        }
    }

    /// Whether a unique constraint was hit.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Database { cause: sqlx::Error::Database(inner), .. } if inner.is_unique_violation())
    }
}
