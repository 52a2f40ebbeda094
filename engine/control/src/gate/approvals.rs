//! The gate of people: enough distinct users said yes to this very release, under every policy that holds.

use std::collections::BTreeSet;

use hookwright_core::{Actor, Decision, Verdict, VerdictKind};
use hookwright_spec::{Approvals, Approver};

use super::Facts;

pub(super) fn evaluate(facts: &Facts<'_>) -> Verdict {
    if facts.skips() {
        return Verdict::pass("the release was here before");
    }
    let verdicts: Vec<Verdict> =
        facts.policies.iter().filter_map(|policy| policy.approvals.as_ref()).map(|policy| judge(facts, policy)).collect();
    let waiting = verdicts.iter().find(|verdict| verdict.kind != VerdictKind::Pass);
    waiting.or(verdicts.first()).cloned().unwrap_or_else(|| Verdict::pass("no approval is asked for"))
}

/// How many more people have to say yes under the policy that lacks most.
pub(super) fn left(facts: &Facts<'_>) -> usize {
    if facts.skips() {
        return 0;
    }
    let policies = facts.policies.iter().filter_map(|policy| policy.approvals.as_ref());
    policies.map(|policy| (policy.count as usize).saturating_sub(counted(facts, policy).len())).max().unwrap_or(0)
}

/// Whose approvals count.
fn counted<'a>(facts: &Facts<'a>, policy: &Approvals) -> BTreeSet<&'a str> {
    facts
        .approvals
        .iter()
        .filter(|approval| approval.decision == Decision::Approve && approval.release == facts.promotion.release)
        .filter(|approval| policy.expires.is_none_or(|expires| approval.at.plus(expires) > facts.now))
        .filter(|approval| policy.by_author != Some(false) || facts.author != Some(approval.user.as_str()))
        .filter(|approval| {
            let actor = Actor { user: approval.user.clone(), teams: approval.teams.clone(), grants: Vec::new() };
            policy.from.is_empty() || policy.from.iter().any(|approver| approver.includes(&actor))
        })
        .map(|approval| approval.user.as_str())
        .collect()
}

fn judge(facts: &Facts<'_>, policy: &Approvals) -> Verdict {
    let users = counted(facts, policy);
    let have = users.len();
    if have >= policy.count as usize {
        return Verdict::pass(format!("approved by {}", users.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let mut who = match policy.from.is_empty() {
        true => "anyone with the role approver".to_owned(),
        false => policy.from.iter().map(name).collect::<Vec<_>>().join(", "),
    };
    if policy.by_author == Some(false) {
        who.push_str(", but not the author");
    }
    let promotion = facts.promotion;
    Verdict::wait(
        format!("{have} of {} approvals; it may be given by {who}", policy.count),
        format!("hookwright approve {} {}", promotion.webhook, promotion.environment),
    )
}

fn name(approver: &Approver) -> String {
    match approver {
        Approver::Team(team) => format!("@{team}"),
        Approver::User(user) => format!("user:{user}"),
    }
}
