//! What the daemon runs with: version, settings, how long things are kept, what it holds right now, and what `doctor` says of the machine.

use axum::extract::State;
use hookwright_core::Action;
use hookwright_core::port::Standing;
use serde::{Deserialize, Serialize};

use crate::error::Query;
use crate::pages::{Answer, Layout};
use crate::show::{Badge, Moment, visible};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{Finding, Fitness, WebState, urls};

/// What the daemon runs with.
#[derive(Serialize)]
pub(crate) struct DaemonPage {
    layout: Layout,
    version: &'static str,
    counts: Vec<(String, u64)>,
    settings: Vec<[String; 3]>,
    /// What `doctor` says of what is there, what is broken first, and when it looked.
    findings: Vec<FindingShown>,
    /// What is not offered, and how it would be.
    optional: Vec<FindingShown>,
    examined: Moment,
    again: String,
}

#[derive(Serialize)]
struct FindingShown {
    name: String,
    badge: Badge,
    text: String,
}

impl From<Finding> for FindingShown {
    fn from(Finding { name, fitness, text }: Finding) -> Self {
        let badge = match fitness {
            Fitness::Well => Badge::new("good", "check", "well"),
            Fitness::Missing => Badge::new("off", "none", "not set up"),
            Fitness::Broken => Badge::new("bad", "alert", "broken"),
        };
        // Several findings have one name: what tells them apart stands before the colon.
        let apart = |own: &str| !own.is_empty() && own.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        match text.split_once(": ").filter(|(own, _)| name == "event source" && apart(own)) {
            Some((own, rest)) => Self { name: format!("{name} {own}"), badge, text: visible(rest) },
            None => Self { name: visible(name), badge, text: visible(&text) },
        }
    }
}

impl View for DaemonPage {
    const TEMPLATE: &'static str = "pages/settings/daemon.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let finding = FindingShown { name: text(), badge: Badge::new("good", "check", "well"), text: text() };
        let (counts, settings) = (vec![(text(), 3)], vec![[text(), text(), text()]]);
        let optional = vec![FindingShown { name: text(), badge: Badge::none("not set up"), text: text() }];
        let (findings, examined, again) = (vec![finding], Moment::sample(), "/x".into());
        Self { layout: Layout::sample(), version: "1", counts, settings, findings, optional, examined, again }
    }
}

/// Whether the machine is to be looked at again, although that was done a moment ago.
#[derive(Deserialize)]
pub(super) struct Look {
    #[serde(default)]
    again: bool,
}

/// Shows it to admins.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Query(look): Query<Look>) -> Answer {
    visitor.caller.must(Action::Administer)?;
    let tally = state.store.tally().await?;
    let mut counts: Vec<(String, u64)> = Vec::new();
    counts.extend(tally.runs.iter().map(|(status, count)| (format!("runs {}", status.as_str()), *count)));
    counts.extend(tally.stages.iter().map(|(status, count)| (format!("stages {}", status.as_str()), *count)));
    counts.extend(tally.promotions.iter().map(|(status, count)| (format!("promotions {}", status.as_str()), *count)));
    counts.extend(tally.deployments.iter().map(|(status, count)| (format!("deployments {}", status.as_str()), *count)));
    counts.retain(|(_, count)| *count > 0);
    let mut settings: Vec<_> =
        state.settings.iter().map(|[name, value, meaning]| [name.clone(), visible(value), meaning.clone()]).collect();
    let leader = match state.leadership.standing() {
        Standing::Alone => None,
        Standing::Leads => Some("this daemon".to_owned()),
        Standing::Follows { leader, .. } => Some(leader.unwrap_or_else(|| "nobody at the moment".to_owned())),
    };
    settings.extend(leader.map(|leader| ["leader".to_owned(), visible(&leader), "Which of the daemons on the database leads.".to_owned()]));
    let layout = Layout::new(&visitor, "settings", "Daemon");
    let (at, findings) = state.examined.findings(&state, look.again).await?;
    let (optional, mut findings): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.fitness == Fitness::Missing);
    findings.sort_by_key(|finding| finding.fitness != Fitness::Broken);
    let shown = |list: Vec<Finding>| list.into_iter().map(FindingShown::from).collect();
    let (findings, optional, examined) = (shown(findings), shown(optional), Moment::new(at, state.clock.now()));
    let again = format!("{}?again=true#fitness", urls::DAEMON);
    Ok(template::page(&DaemonPage { layout, version: env!("CARGO_PKG_VERSION"), counts, settings, findings, optional, examined, again }))
}
