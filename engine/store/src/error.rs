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
    /// Whether a unique constraint was hit.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Database { cause: sqlx::Error::Database(inner), .. } if inner.is_unique_violation())
    }
}
