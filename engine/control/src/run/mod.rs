//! Runs: how they are created, what their execution needs, and what people may ask of them.

mod action;
mod context;
mod create;

pub(crate) use context::{RunContext, location};
pub(crate) use create::{NewRun, create_in};
