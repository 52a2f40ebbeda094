//! Development only: a daemon as a child process, and repositories pushed with the real git client.

mod daemon;
mod repository;

pub use daemon::{Daemon, DaemonOptions};
pub use repository::WorkingCopy;
