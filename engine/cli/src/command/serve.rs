//! `hookwright serve`: the daemon, until SIGTERM or Ctrl-C.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::configuration::Configuration;
use crate::wiring::Daemon;

/// Serves until it is told to stop, then drains what is in flight. Jobs and handlers run on under their supervisors.
pub(crate) async fn serve(configuration: Configuration) -> Result<ExitCode> {
    let daemon = Daemon::start(&configuration).await?;
    println!("listening on http://{}", daemon.address);
    match &daemon.admin_token {
        // The token stands behind the `#`, which browsers keep to themselves. It is shown to a person, never written into a log file.
        Some(token) if std::io::stdout().is_terminal() => {
            println!("the admin token is in {}", configuration.data.join("admin-token").display());
            println!("sign in at http://{}/sign-in#{token}", daemon.address);
        }
        Some(_) => {
            println!("the admin token is in {}", configuration.data.join("admin-token").display());
            println!("sign in with it at http://{}/sign-in", daemon.address);
        }
        None => println!("this daemon follows another one; sign in at http://{}/sign-in with a token of that one", daemon.address),
    }
    stopped().await;
    info!("stopping: requests in flight may end, jobs and handlers run on");
    daemon.shutdown().await;
    Ok(ExitCode::SUCCESS)
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
