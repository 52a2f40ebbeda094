//! Event sources as data. A definition in `sources/` says how a source signs, where the type and the id of an event stand, how it makes sure of an
//! address, has an example of each event, and says how it is told where to send; this crate has the primitives that definitions are made of. Receiving is
//! pure: bytes in, decisions out. Registering talks to providers, with a client that it is given.
//!
//! A [`Binding`] is a definition with the secrets of one trigger; [`Binding::receive`] verifies a request on its raw bytes and says which events it
//! holds. The algorithm always comes from the definition and the configured secret, never from the request.

mod asked;
mod binding;
mod changes;
mod channel;
mod cloud_events;
mod credential;
mod definition;
mod doubt;
mod error;
mod example;
#[cfg(test)]
mod fixtures;
mod forge;
#[cfg(test)]
mod hostile;
mod key_file;
mod locator;
mod manifest;
mod payload;
mod registration;
mod schema;
mod scheme;
mod subscriber;
#[cfg(test)]
mod tests;
mod topics;
mod undelivered;

pub use binding::{Answer, Binding, Incoming, NewBinding, Received, ReceivedEvent, Refusal};
pub use credential::Credential;
pub use definition::{Definition, Definitions};
pub use doubt::Doubt;
pub use error::Error;
pub use example::Example;
pub use key_file::KeyFile;
pub use payload::payload;
pub use schema::definition_schema;
pub use subscriber::{HttpSubscriber, Provider};
