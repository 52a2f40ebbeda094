//! Where jobs run: processes under a small supervisor of their own, so that they outlive a restart of the daemon.
//! No secret is written to disk: orders travel over the supervisor's standard input.

mod executor;
mod log_file;
mod mask;
mod process;
pub mod supervisor;

pub use executor::{ExecutorOptions, ProcessExecutor};
