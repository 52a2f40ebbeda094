//! Finds the binary that is measured: it must be of the same profile as this program, or the figures mean nothing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The binary beside this program, brought up to date when cargo runs us; or the one that was named.
///
/// # Errors
/// When there is none, with the command that builds it.
pub(crate) fn find(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(named) = named {
        ensure!(named.is_file(), "`{}` is no file", named.display());
        return std::path::absolute(named).context("cannot resolve the binary's path");
    }
    let own = std::env::current_exe().context("cannot find the own binary")?;
    let folder = own.parent().context("the own binary has no folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    // Set by `cargo run`, together with the place of our manifest.
    if let (Some(cargo), Some(manifest)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR")) {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--profile", profile, "-p", "hookwright"]).current_dir(manifest);
        ensure!(build.status().context("cargo cannot be started")?.success(), "the binary to measure cannot be built");
    }
    let binary = folder.join("hookwright");
    if !binary.is_file() {
        bail!(
            "there is no `{}`; build it with `cargo build --profile {profile} -p hookwright`, or name one with --binary",
            binary.display()
        );
    }
    Ok(binary)
}
