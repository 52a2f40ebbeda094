//! People who prove elsewhere who they are: at an OpenID provider.

use async_trait::async_trait;

use crate::{PortError, SecretValue};

/// One try of one browser to sign in. All of it belongs to that browser and to nobody else.
#[derive(Clone, Debug)]
pub struct SignInAttempt {
    /// Where the provider sends the browser back to.
    pub redirect: String,
    /// What comes back with the browser.
    pub state: String,
    /// What the ID token has to hold.
    pub nonce: String,
    /// What is shown with the code; its digest went ahead (PKCE).
    pub verifier: SecretValue,
}

/// Somebody whom the provider knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who says so.
    pub issuer: String,
    /// What the provider calls the person; never another one's, whatever names change.
    pub subject: String,
    /// What people call the person; `None` with nothing fit to be a name.
    pub name: Option<String>,
    /// The groups, as the provider names them.
    pub groups: Vec<String>,
    /// Whether the provider said anything about groups at all.
    pub tells_groups: bool,
}

/// An OpenID provider.
///
/// *Idempotency*: a code is worth something once; asking again with it is refused by the provider. *Concurrency*: any number at once; what is the same for
/// all (the discovery document, the keys) is fetched by one of them. *Errors*: *Failed* when what came back cannot be trusted or the provider said no,
/// *Errored* when it does not answer, answers nonsense, or is too slow. Nothing secret is in a message. *Must not*: follow redirects, believe an
/// unsigned or unbound token, wait without end.
#[async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// Where the browser is sent to sign in.
    async fn begin(&self, attempt: &SignInAttempt) -> Result<String, PortError>;

    /// Who the browser's user is, by the code that it came back with.
    async fn identify(&self, attempt: &SignInAttempt, code: &SecretValue) -> Result<Identity, PortError>;

    /// Where the browser is sent to sign out there too; `None` when the provider has no such place.
    async fn sign_out(&self) -> Result<Option<String>, PortError>;
}
