//! Gates: pure functions from what is known about a promotion to verdicts. A gate that this version cannot evaluate blocks.
//! Invariant: a `Block` from any gate wins over every `Wait`, and a `Wait` over every `Pass`.

mod approvals;

use std::collections::{BTreeMap, BTreeSet};

use hookwright_core::{Approval, ConfigName, Decision, GateVerdict, Hold, Origin, Promotion, Timestamp, Verdict, VerdictKind};
use hookwright_spec::{Environment, Spec};

use crate::config;

/// Everything the gates look at.
pub(crate) struct Facts<'a> {
    pub(crate) promotion: &'a Promotion,
    /// The spec of the release itself: what is configured.
    pub(crate) spec: &'a Spec,
    /// The environment in every policy that holds: of the default branch and of the deployed release. All must pass.
    pub(crate) policies: &'a [Environment],
    pub(crate) secrets: &'a BTreeSet<ConfigName>,
    /// Event sources that the daemon cannot register triggers at.
    pub(crate) by_hand: &'a BTreeSet<String>,
    pub(crate) approvals: &'a [Approval],
    pub(crate) hold: Option<&'a Hold>,
    /// Who pushed the commit.
    pub(crate) author: Option<&'a str>,
    /// Whether this release succeeded in this environment before.
    pub(crate) proven: bool,
    pub(crate) now: Timestamp,
}

impl Facts<'_> {
    /// Whether approvals and checks are skipped: for going back to what succeeded, or for new values of what runs already.
    fn skips(&self) -> bool {
        matches!(self.promotion.origin, Origin::Rollback { .. } | Origin::Reconfigure { .. }) && self.proven
    }
}

/// What all gates say, in a fixed order.
pub(crate) fn evaluate(facts: &Facts<'_>) -> Vec<GateVerdict> {
    let mut verdicts = vec![verdict("config", config_gate(facts)), verdict("hold", hold_gate(facts))];
    verdicts.push(verdict("approvals", approvals::evaluate(facts)));
    verdicts.extend(unknown_gates(facts));
    verdicts
}

/// How many more people have to approve.
pub(crate) fn approvals_left(facts: &Facts<'_>) -> usize {
    approvals::left(facts)
}

/// The first verdict that decides: a block, else a wait; `None` when everything passed.
pub(crate) fn obstacle(verdicts: &[GateVerdict]) -> Option<&GateVerdict> {
    let of = |kind| verdicts.iter().find(|verdict| verdict.verdict.kind == kind);
    of(VerdictKind::Block).or_else(|| of(VerdictKind::Wait))
}

fn verdict(gate: &str, verdict: Verdict) -> GateVerdict {
    GateVerdict { gate: gate.to_owned(), verdict }
}

fn config_gate(facts: &Facts<'_>) -> Verdict {
    let Promotion { webhook, environment, .. } = facts.promotion;
    let missing = config::missing(facts.spec, environment, facts.secrets);
    let left = config::left_to_sources(facts.spec, environment);
    if let Some((trigger, source)) = left.into_iter().find(|(_, source)| facts.by_hand.contains(*source)) {
        return Verdict::block(
            format!(
                "the trigger `{trigger}` names no secret, and `{source}` cannot hand one out: the daemon has no credentials of it, or no `public_url`"
            ),
            "set `public_url` and the credentials under `providers:`, which `hookwright doctor` names; or name a secret in the trigger"
                .to_owned(),
        );
    }
    if missing.is_empty() {
        return Verdict::pass("every required setting has a value");
    }
    let names: Vec<String> = missing.iter().map(|missing| format!("`{}`", missing.name)).collect();
    let remedies: Vec<String> = missing
        .iter()
        .map(|missing| match missing.secret {
            true => format!("hookwright secret set {webhook} {environment} {}", missing.name),
            false => format!("give `{}` a default or a value under `environments.{environment}.config`", missing.name),
        })
        .collect();
    Verdict::block(format!("no value for {} in `{environment}`", names.join(", ")), remedies.join("; "))
}

fn hold_gate(facts: &Facts<'_>) -> Verdict {
    let Some(hold) = facts.hold else { return Verdict::pass("nobody holds the environment") };
    let promotion = facts.promotion;
    let by_person = match &promotion.origin {
        Origin::Rollback { .. } | Origin::Reconfigure { .. } => true,
        Origin::Person { .. } => promotion.created_at >= hold.since,
        Origin::Run { .. } | Origin::Automation => false,
    };
    let approved = facts.approvals.iter().any(|approval| approval.decision == Decision::Approve && approval.at >= hold.since);
    if by_person || approved {
        return Verdict::pass("a person asked for it after the hold began");
    }
    let Hold { webhook, environment, actor, reason, .. } = hold;
    let reason = match &hold.release {
        Some(release) => format!("{actor} rolled `{environment}` back to {release}: {reason}"),
        None => format!("{actor} holds `{environment}`: {reason}"),
    };
    Verdict::wait(reason, format!("hookwright promote {webhook} {environment}, or hookwright hold end {webhook} {environment}"))
}

/// Declared gates that this version does not know how to evaluate: they block, and an admin may take the responsibility.
fn unknown_gates(facts: &Facts<'_>) -> Vec<GateVerdict> {
    let mut names = BTreeMap::new();
    for policy in facts.policies {
        for name in policy.gates.checks.keys().filter(|_| !facts.skips()) {
            names.insert(format!("checks.{name}"), ());
        }
        // Going back skips checks but never a time in which deploying is denied.
        if policy.gates.windows.iter().any(|window| !window.allow || !facts.skips()) {
            names.insert("windows".to_owned(), ());
        }
    }
    let overridden = facts.approvals.iter().rev().find(|approval| approval.decision == Decision::Override);
    let Promotion { webhook, environment, .. } = facts.promotion;
    let judged = match overridden {
        Some(by) => Verdict::pass(format!("{} overrode it: {}", by.user, by.reason.as_deref().unwrap_or("no reason given"))),
        None => Verdict::block(
            "it is declared, and this version cannot evaluate it".to_owned(),
            format!(
                "an admin may override it with a reason for `{webhook}` in `{environment}`, or remove it from the default branch's spec"
            ),
        ),
    };
    names.keys().map(|gate| verdict(gate, judged.clone())).collect()
}
