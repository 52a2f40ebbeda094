//! The crate's error.

/// Why a definition, a binding or an example cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A definition that cannot be read.
    #[error("the event source `{name}` cannot be used: {message}")]
    Definition {
        /// Its name, as far as it is known.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Signatures are to be verified and there is no secret to do it with.
    #[error(
        "events of `{name}` are signed, and the secret is not set; set it with `hookwright secret set`, or say `verify: none` in webhook.yaml"
    )]
    NoSecret {
        /// The event source.
        name: String,
    },
    /// A secret that cannot be a key.
    #[error("the secret of `{name}` cannot be used: {message}")]
    Secret {
        /// The event source.
        name: String,
        /// Why; never the secret itself.
        message: String,
    },
    /// A key file that cannot be used.
    #[error("the key file cannot be used: {0}")]
    KeyFile(String),
    /// What a trigger says to its source cannot be used.
    #[error("the trigger cannot be used: {0}")]
    Options(String),
    /// An example that cannot be made.
    #[error("{0}")]
    Example(String),
}
