//! Ends the process at a chosen commit, for crash tests: `HOOKWRIGHT_FAILPOINT=before:run.created`, or `after:run.created`.

use std::sync::Arc;

use anyhow::{Result, bail};
use hookwright_store::{Failpoint, Moment};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::warn;

/// The variable that names the commit.
const VARIABLE: &str = "HOOKWRIGHT_FAILPOINT";

/// The failpoint that the environment asks for, if it does.
///
/// # Errors
/// When the variable's text is neither `before:TRANSITION` nor `after:TRANSITION`.
pub(crate) fn of_the_environment() -> Result<Option<Failpoint>> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    let (moment, transition) = match text.split_once(':') {
        Some(("before", transition)) => (Moment::Before, transition.to_owned()),
        Some(("after", transition)) => (Moment::After, transition.to_owned()),
        _ => {
            bail!("`{VARIABLE}` must be `before:TRANSITION` or `after:TRANSITION`, and is `{text}`; leave it unset outside of crash tests")
        }
    };
    warn!(%text, "this process will end itself at that commit");
    Ok(Some(Arc::new(move |reached, now| {
        if now == moment && reached == transition {
            // As a crash does: no destructor, no flush. It cannot fail for one's own process, and does not return.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    })))
}
