//! Where jobs run: processes under a small supervisor of their own, so that they outlive a restart of the daemon.
//! No secret is written to disk: orders travel over the supervisor's standard input.

mod commands;
mod copies;
mod executor;
mod instance;
mod last_words;
mod listeners;
mod log_file;
mod mask;
mod nursery;
mod probe;
mod process;
mod process_runtime;
mod sandbox;
mod state;
mod supervised;
pub mod supervisor;

pub use executor::{ExecutorOptions, ProcessExecutor};
pub use mask::SHORTEST_MASK;
pub use nursery::Nursery;
pub use process_runtime::{ProcessRuntime, RuntimeOptions};
pub use sandbox::Bubblewrap;

/// Tries whether a handler's `resources.cpu` can be enforced on this machine, from where this process stands.
///
/// # Errors
/// Why not, for people.
pub fn try_processor_share() -> Result<(), String> {
    supervisor::Share::new(1000).map(drop)
}
