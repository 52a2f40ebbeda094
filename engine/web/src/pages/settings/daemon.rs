//! What the daemon runs with: version, settings, how long things are kept, and what it does right now.

use axum::extract::State;
use hookwright_core::Action;
use serde::Serialize;

use crate::WebState;
use crate::pages::{Answer, Layout};
use crate::show::visible;
use crate::template::{self, View};
use crate::visitor::Visitor;

/// What the daemon runs with.
#[derive(Serialize)]
pub(crate) struct DaemonPage {
    layout: Layout,
    version: &'static str,
    counts: Vec<(String, u64)>,
    settings: Vec<[String; 3]>,
}

impl View for DaemonPage {
    const TEMPLATE: &'static str = "pages/settings/daemon.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        Self { layout: Layout::sample(), version: "1", counts: vec![(text(), 3)], settings: vec![[text(), text(), text()]] }
    }
}

/// Shows it to admins.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Administer)?;
    let tally = state.store.tally().await?;
    let mut counts: Vec<(String, u64)> = Vec::new();
    counts.extend(tally.runs.iter().map(|(status, count)| (format!("runs {}", status.as_str()), *count)));
    counts.extend(tally.stages.iter().map(|(status, count)| (format!("stages {}", status.as_str()), *count)));
    counts.extend(tally.promotions.iter().map(|(status, count)| (format!("promotions {}", status.as_str()), *count)));
    counts.extend(tally.deployments.iter().map(|(status, count)| (format!("deployments {}", status.as_str()), *count)));
    counts.retain(|(_, count)| *count > 0);
    let settings = state.settings.iter().map(|[name, value, meaning]| [name.clone(), visible(value), meaning.clone()]).collect();
    let layout = Layout::new(&visitor, "settings", "Daemon");
    Ok(template::page(&DaemonPage { layout, version: env!("CARGO_PKG_VERSION"), counts, settings }))
}
