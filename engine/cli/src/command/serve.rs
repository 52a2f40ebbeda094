//! `hookwright serve`: the daemon, until SIGTERM or Ctrl-C.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::configuration::Configuration;
use crate::output::mention;
use crate::wiring::Daemon;

/// Serves until it is told to stop, then drains what is in flight. Jobs and handlers run on under their supervisors.
pub(crate) async fn serve(configuration: Configuration) -> Result<ExitCode> {
    let daemon = Daemon::start(&configuration).await?;
    mention!("listening on http://{}", daemon.address);
    match &daemon.admin_token {
        Some(token) => {
            mention!("the admin token is in {}", configuration.data.join("admin-token").display());
            mention!("{}", sign_in(&format!("http://{}", daemon.address), token));
        }
        None => mention!("this daemon follows another one; sign in at http://{}/sign-in with a token of that one", daemon.address),
    }
    stopped().await;
    info!("stopping: requests in flight may end, jobs and handlers run on");
    daemon.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Where the pages are. The token stands behind the `#`, which browsers keep to themselves. It is shown to a person, never written into a log file.
pub(super) fn sign_in(address: &str, token: &str) -> String {
    match std::io::stdout().is_terminal() {
        true => format!("sign in at {address}/sign-in#{token}"),
        false => format!("sign in with it at {address}/sign-in"),
    }
}

/// Returns at SIGTERM or SIGINT.
pub(crate) async fn stopped() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            warn!(%error, "signals cannot be received; only a kill ends the daemon");
            std::future::pending::<()>().await;
        }
    }
}
