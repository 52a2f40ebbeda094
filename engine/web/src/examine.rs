//! What `doctor` says about the machine, for the page of settings. Looking starts programs, so what was found is kept for a while.

use std::sync::Arc;
use std::time::Duration;

use hookwright_core::Timestamp;
use tokio::sync::Mutex;

use crate::WebState;
use crate::error::{Problem, Result};

/// So long what was found is believed.
const KEPT: Duration = Duration::from_secs(600);

/// Looks at the machine; it blocks while it does.
pub type Examine = Arc<dyn Fn() -> Vec<Finding> + Send + Sync>;

/// How something stands on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It is there and works.
    Well,
    /// It is not offered; the rest works.
    Missing,
    /// The daemon cannot work.
    Broken,
}

/// One thing that was looked at on this machine.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub fitness: Fitness,
    /// What was found, and what to do.
    pub text: String,
}

/// What was found last, and when. While somebody looks the others wait for it.
#[derive(Default)]
pub(crate) struct Examined(Mutex<Option<(Timestamp, Vec<Finding>)>>);

impl Examined {
    /// What is found on the machine, and when it was looked at; `again` does not take what was found before.
    pub(crate) async fn findings(&self, state: &WebState, again: bool) -> Result<(Timestamp, Vec<Finding>)> {
        let mut kept = self.0.lock().await;
        let now = state.clock.now();
        if let Some((at, findings)) = kept.as_ref().filter(|(at, _)| !again && now.since(*at) < KEPT) {
            return Ok((*at, findings.clone()));
        }
        let examine = state.examine.clone();
        let findings = tokio::task::spawn_blocking(move || examine()).await.map_err(|failure| Problem::ours(&failure))?;
        *kept = Some((now, findings.clone()));
        Ok((now, findings))
    }
}
