//! What a daemon does whose database another one leads: it knows what receives events, so that it can take them in. It changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use hookwright_core::port::Topic;
use tracing::warn;

use crate::{Deps, Tasks, intake, reconcile};

/// How far apart two looks are at least, however often somebody asks for one.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until the daemon leads or ends.
pub(crate) async fn run(deps: Deps, tasks: Tasks) {
    let mut known = HashSet::new();
    while !tasks.stopping().is_cancelled() {
        if let Err(error) = reconcile::learn_routes(&deps, &mut known).await {
            warn!(error = &error as &dyn std::error::Error, "what receives events could not be read; trying again");
        }
        if let Err(error) = intake::fill_hooks(&deps).await {
            warn!(error = &error as &dyn std::error::Error, "where forges send could not be read; trying again");
        }
        let wait = async {
            tokio::time::sleep(PAUSE).await;
            deps.wakes.wait(Topic::Reconcile, deps.settings.tick).await;
        };
        tokio::select! {
            () = wait => {}
            () = tasks.stopping().cancelled() => {}
        }
    }
}
