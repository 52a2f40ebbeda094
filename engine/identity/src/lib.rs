//! People who sign in at an OpenID provider: its discovery document, its keys, the exchange of a code, and what its ID token has to prove.
//! Invariants: nothing of a token is believed before its signature, issuer, audience, time and nonce were checked; the algorithm comes from a list of
//! ours that has no `none` and no shared secrets; every answer has a bound in size and time, and no redirect is followed.

mod address;
mod claims;
mod client;
mod discovery;
mod keys;
mod provider;
mod signature;
mod token;

pub use address::check_issuer;
pub use provider::{OpenIdOptions, OpenIdProvider};
