//! The binary: arguments, configuration, wiring and commands. The only crate that reads the environment, arguments and clock.

// What is printed goes through `output`, which survives a reader that has seen enough.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arenas;
mod arguments;
mod client;
mod cluster;
mod command;
mod configuration;
mod event_writer;
mod events;
mod examples;
mod exit;
mod failpoint;
mod named;
mod open_files;
mod output;
mod server;
mod system;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    let mut words = std::env::args();
    // A supervisor starts for every job: nothing is set up before it.
    if words.nth(1).as_deref() == Some("supervise") {
        return hookwright_runtime::supervisor::main(words);
    }
    // A provider that is installed already is as good as ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = arguments::Arguments::parse();
    if matches!(arguments.command, arguments::Command::Serve { .. }) {
        arenas::keep_to_one();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::warn_of!("cannot start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(command::run(arguments)) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
