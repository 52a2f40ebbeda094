//! Event sources as data. A definition in `sources/` says how a source signs, where the type and the id of an event stand, how it makes sure of an
//! address, and has an example of each event; this crate has the primitives that definitions are made of. It is pure: bytes in, decisions out.
//!
//! A [`Binding`] is a definition with the secrets of one trigger; [`Binding::receive`] verifies a request on its raw bytes and says which events it
//! holds. The algorithm always comes from the definition and the configured secret, never from the request.

mod binding;
mod cloud_events;
mod definition;
mod error;
mod example;
mod locator;
mod payload;
mod scheme;
#[cfg(test)]
mod tests;

pub use binding::{Answer, Binding, Incoming, NewBinding, Received, ReceivedEvent, Refusal};
pub use definition::{Definition, Definitions};
pub use error::Error;
pub use example::Example;
pub use payload::payload;
