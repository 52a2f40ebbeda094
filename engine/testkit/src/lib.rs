//! Development only: a daemon as a child process, and repositories pushed with the real git client.

mod clock;
mod daemon;
mod database;
mod forwarder;
mod repository;
mod supervised;

pub use clock::MovedClock;
pub use daemon::{Daemon, DaemonOptions, ready_for_http};
pub use database::Database;
pub use forwarder::Forwarder;
pub use repository::WorkingCopy;
pub use supervised::record;
