//! A promotion: what would change, which gates pass, wait or block and why, who decided what, and the form to decide.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::status::PromotionStatus;
use hookwright_core::{Action, Decision, Origin, Promotion, PromotionId, Timestamp, VerdictKind};
use hookwright_store::{AuditEntry, PromotionFilter};
use serde::{Deserialize, Serialize};

use super::hold::HoldCard;
use super::release::{Change, ReleaseShown, changes};
use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Result};
use crate::promotion::{approved_already, check_reason};
use crate::show::{Badge, Moment, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// How many earlier promotions are shown.
const HISTORY: u32 = 20;
/// Among so many of the newest the one is sought that overtook another one.
const LATER: u32 = 200;

/// A promotion.
#[derive(Serialize)]
pub(crate) struct PromotionPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    environment: String,
    environment_url: String,
    badge: Badge,
    reason: Option<String>,
    origin: String,
    origin_url: Option<String>,
    created: Moment,
    ended: Option<Moment>,
    release: Option<ReleaseShown>,
    digest: String,
    current: Option<ReleaseShown>,
    changes: Vec<Change>,
    gates: Vec<Gate>,
    decisions: Vec<Decided>,
    deployment: Option<String>,
    /// Where the form goes; `None` when there is nothing to decide for whoever looks.
    decide: Option<String>,
    may_override: bool,
    /// Whether a yes would let it go on.
    asks: bool,
    /// What whoever looks has decided already, and who else is to, as a sentence.
    own: Option<String>,
    /// A later promotion that took its place.
    overtaken_by: Option<String>,
    /// Why there is no form although it waits.
    not_yours: bool,
    hold: HoldCard,
    history: Vec<Past>,
}

#[derive(Serialize)]
struct Gate {
    name: String,
    /// What it asks, in words.
    about: &'static str,
    badge: Badge,
    reason: String,
    unblock: String,
}

#[derive(Serialize)]
struct Decided {
    badge: Badge,
    user: String,
    reason: Option<String>,
    at: Moment,
}

/// A promotion in a list.
#[derive(Serialize)]
pub(crate) struct Past {
    url: String,
    badge: Badge,
    release: String,
    title: String,
    origin: String,
    reason: Option<String>,
    at: Moment,
    ended: Option<Moment>,
    /// The image: what went there, whatever its tags are today.
    digest: String,
    /// Who decided what: `approved by rosa`.
    decided: Vec<String>,
    /// `holds from here` after a rollback, `ended the hold` after what lifted it.
    hold: Option<&'static str>,
}

impl View for PromotionPage {
    const TEMPLATE: &'static str = "pages/promotion.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let badge = || Badge::from(VerdictKind::Wait);
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            environment: "production".into(),
            environment_url: "/x".into(),
            badge: PromotionStatus::Waiting.into(),
            reason: Some(text()),
            origin: text(),
            origin_url: Some("/runs/1".into()),
            created: Moment::sample(),
            ended: Some(Moment::sample()),
            release: Some(ReleaseShown::sample()),
            digest: "sha256:0123".into(),
            current: Some(ReleaseShown::sample()),
            changes: vec![Change { what: text(), before: None, after: Some(text()) }],
            gates: vec![Gate { name: text(), about: "asks", badge: badge(), reason: text(), unblock: text() }],
            decisions: vec![Decided { badge: badge(), user: text(), reason: Some(text()), at: Moment::sample() }],
            deployment: Some("/deployments/1".into()),
            decide: Some("/x".into()),
            may_override: true,
            asks: true,
            own: Some(text()),
            overtaken_by: Some("/x".into()),
            not_yours: true,
            hold: HoldCard::sample(),
            history: vec![Past::sample()],
        }
    }
}

impl Past {
    /// A promotion in a line.
    async fn new(state: &WebState, promotion: &Promotion) -> Result<Self> {
        let now = state.clock.now();
        let release = ReleaseShown::fetch(state, &promotion.release).await?;
        let image = state.store.release_fetch(&promotion.release).await?.map(|release| release.image.to_string());
        let decisions = state.store.approval_list(&promotion.webhook, &promotion.environment, &promotion.release).await?;
        let decided = decisions.iter().filter(|one| one.promotion == promotion.id);
        Ok(Self {
            url: urls::promotion(promotion.id),
            badge: promotion.status.into(),
            title: release.as_ref().map(|release| release.title.clone()).unwrap_or_default(),
            release: release.map_or_else(|| promotion.release.to_string(), |release| release.short),
            origin: origin(&promotion.origin),
            reason: promotion.status_reason.as_deref().map(visible),
            at: Moment::new(promotion.created_at, now),
            ended: promotion.ended_at.map(|at| Moment::new(at, now)),
            digest: image.unwrap_or_default(),
            decided: decided.map(|one| format!("{} by {}", badge(one.decision).word, visible(&one.user))).collect(),
            hold: None,
        })
    }

    /// Everything that went into an environment, newest first.
    pub(crate) async fn list(state: &WebState, filter: PromotionFilter) -> Result<Vec<Self>> {
        let promotions = state.store.promotion_list(&PromotionFilter { limit: HISTORY, ..filter.clone() }).await?;
        let mut past = Vec::new();
        for promotion in &promotions {
            past.push(Self::new(state, promotion).await?);
        }
        let by_hand = match (&filter.webhook, &filter.environment) {
            (Some(webhook), Some(environment)) => by_hand(state.store.hold_history(webhook, environment, LATER).await?),
            _ => Vec::new(),
        };
        let holds = holds(&promotions, &by_hand);
        past.iter_mut().zip(holds).for_each(|(past, hold)| past.hold = hold);
        Ok(past)
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let badge = PromotionStatus::Succeeded.into();
        Self {
            url: "/x".into(),
            badge,
            release: "0123456".into(),
            title: text(),
            origin: text(),
            reason: Some(text()),
            at: Moment::sample(),
            ended: Some(Moment::sample()),
            digest: "sha256:0123".into(),
            decided: vec![text()],
            hold: Some("holds from here"),
        }
    }
}

/// When holds were set and ended by hand, out of the audit log; what a promotion ended says so.
fn by_hand(lines: Vec<AuditEntry>) -> Vec<(Timestamp, bool)> {
    let own = lines.into_iter().filter(|line| match line.action.as_str() {
        "hold.set" => true,
        "hold.ended" => !line.detail.starts_with("by promoting "),
        _ => false,
    });
    own.map(|line| (line.at, line.action == "hold.set")).collect()
}

/// Which of these, newest first, began a hold of their environment, and which ended one: a rollback begins it, and the next that a person
/// let in ends it, unless somebody ended it by hand before. `by_hand` says when that was (`false`), and when one was set by hand (`true`).
fn holds(promotions: &[Promotion], by_hand: &[(Timestamp, bool)]) -> Vec<Option<&'static str>> {
    let mut by_hand: Vec<(Timestamp, bool)> = by_hand.to_vec();
    by_hand.sort_by_key(|(at, _)| *at);
    let mut by_hand = by_hand.into_iter().peekable();
    let mut held = false;
    let mut words: Vec<Option<&'static str>> = Vec::new();
    for promotion in promotions.iter().rev() {
        let arrived = promotion.status == PromotionStatus::Succeeded;
        let is_rollback = matches!(promotion.origin, Origin::Rollback { .. });
        let moment = if is_rollback { Some(promotion.created_at) } else { promotion.ended_at };
        while let Some((_, begun)) = by_hand.next_if(|(at, _)| moment.is_some_and(|moment| *at <= moment)) {
            held = begun;
        }
        words.push(match &promotion.origin {
            Origin::Rollback { .. } => {
                held = true;
                Some("holds from here")
            }
            Origin::Reconfigure { .. } => None,
            _ if held && arrived => {
                held = false;
                Some("ended the hold")
            }
            _ => None,
        });
    }
    words.reverse();
    words
}

fn badge(decision: Decision) -> Badge {
    match decision {
        Decision::Approve => Badge::new("good", "check", "approved"),
        Decision::Reject => Badge::new("bad", "cross", "rejected"),
        Decision::Override => Badge::new("warn", "alert", "overrode"),
    }
}

/// What a gate asks, in words.
fn about(gate: &str) -> &'static str {
    match gate {
        "config" => "whether every required setting and secret has a value here",
        "hold" => "whether somebody holds the environment, so that nothing arrives by itself",
        "approvals" => "whether enough people said yes to this very release",
        "windows" => "whether releases may arrive at this time",
        _ => "whether a check that the spec declares goes well",
    }
}

/// A remedy with its commands marked as such: they stand alone, or between `; ` and `, or `.
fn commands(remedy: &str) -> String {
    let mark = |part: &str| if part.starts_with("hookwright ") && !part.contains('`') { format!("`{part}`") } else { part.to_owned() };
    let marked = |remedy: &str| remedy.split("; ").map(mark).collect::<Vec<_>>().join("; ");
    remedy.split(", or ").map(marked).collect::<Vec<_>>().join(", or ")
}

/// Who or what opened a promotion, in words.
fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Run { .. } => "by its run".to_owned(),
        Origin::Automation => "by automation".to_owned(),
        Origin::Person { actor } => format!("by {}", visible(actor)),
        Origin::Rollback { actor } => format!("rollback by {}", visible(actor)),
        Origin::Reconfigure { actor } => format!("settings changed by {}", visible(actor)),
    }
}

/// The promotion, if the visitor sees it.
async fn sought(state: &WebState, visitor: &Visitor, id: PromotionId) -> Result<Promotion> {
    let found = state.store.promotion_fetch(id).await?;
    let seen = found.filter(|promotion| visitor.caller.sees_in(&promotion.webhook, &promotion.environment));
    seen.ok_or_else(|| Problem::not_found(format!("there is no promotion {id}")))
}

/// Shows a promotion.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path(id): Path<PromotionId>) -> Answer {
    let promotion = sought(&state, &visitor, id).await?;
    let (webhook, environment, now) = (&promotion.webhook, &promotion.environment, state.clock.now());
    let release = state.store.release_fetch(&promotion.release).await?;
    let live = state.store.deployment_current(webhook, environment).await?;
    let live = live.filter(|live| !promotion.status.is_end() && live.release != promotion.release);
    let current = match &live {
        Some(live) => state.store.release_fetch(&live.release).await?,
        None => None,
    };
    let waits = promotion.status == PromotionStatus::Waiting;
    let actor = &visitor.caller.actor;
    let may = actor.may(Action::Approve, Some(webhook), Some(environment));
    let approvals = state.store.approval_list(webhook, environment, &promotion.release).await?;
    let own = match approvals.iter().rev().find(|approval| waits && approval.user == actor.user).map(|approval| approval.decision) {
        Some(Decision::Approve) => Some(approved_already(state.control.approvals_left(&promotion).await?)),
        Some(Decision::Reject) => Some("you have rejected it before".to_owned()),
        Some(Decision::Override) => Some("you have overridden what blocked".to_owned()),
        None => None,
    };
    let decisions = approvals.into_iter().map(|approval| Decided {
        badge: badge(approval.decision),
        user: visible(&approval.user),
        reason: approval.reason.filter(|reason| !reason.is_empty()).map(|reason| visible(&reason)),
        at: Moment::new(approval.at, now),
    });
    let gates = promotion.verdicts.iter().map(|gate| Gate {
        name: visible(&gate.gate),
        about: about(&gate.gate),
        badge: gate.verdict.kind.into(),
        reason: visible(&gate.verdict.reason),
        unblock: commands(&visible(&gate.verdict.unblock)),
    });
    let blocked = promotion.verdicts.iter().any(|gate| gate.verdict.kind == VerdictKind::Block);
    let asks =
        |gate: &hookwright_core::GateVerdict| matches!(gate.gate.as_str(), "approvals" | "hold") && gate.verdict.kind == VerdictKind::Wait;
    let asks = promotion.verdicts.is_empty() || promotion.verdicts.iter().any(asks);
    let history = PromotionFilter { webhook: Some(webhook.clone()), environment: Some(environment.clone()), ..PromotionFilter::default() };
    let page = PromotionPage {
        layout: Layout::new(&visitor, "board", format!("{webhook} into {environment}")),
        webhook: webhook.to_string(),
        webhook_url: urls::webhook(webhook),
        environment: environment.to_string(),
        environment_url: urls::environment(webhook, environment),
        badge: promotion.status.into(),
        reason: promotion.status_reason.as_deref().map(visible),
        origin: origin(&promotion.origin),
        origin_url: match &promotion.origin {
            Origin::Run { run } => Some(urls::run(*run)),
            _ => None,
        },
        created: Moment::new(promotion.created_at, now),
        ended: promotion.ended_at.map(|at| Moment::new(at, now)),
        release: ReleaseShown::fetch(&state, &promotion.release).await?,
        digest: release.as_ref().map(|release| release.image.to_string()).unwrap_or_default(),
        current: match &current {
            Some(current) => ReleaseShown::fetch(&state, &current.id).await?,
            None => None,
        },
        changes: release.as_ref().map(|release| changes(current.as_ref(), release)).unwrap_or_default(),
        gates: gates.collect(),
        decisions: decisions.collect(),
        deployment: promotion.deployment.map(urls::deployment),
        decide: (waits && may).then(|| urls::promotion_decide(id)),
        may_override: waits && blocked && actor.may(Action::Administer, Some(webhook), Some(environment)),
        asks,
        own,
        overtaken_by: overtaken_by(&state, &promotion).await?,
        not_yours: waits && !may,
        hold: HoldCard::fetch(&state, &visitor, webhook, environment).await?,
        history: Past::list(&state, history).await?,
    };
    Ok(template::page(&page))
}

/// The next promotion of the place after one that was overtaken, of another release.
async fn overtaken_by(state: &WebState, promotion: &Promotion) -> Result<Option<String>> {
    if promotion.status != PromotionStatus::Superseded {
        return Ok(None);
    }
    let (webhook, environment) = (Some(promotion.webhook.clone()), Some(promotion.environment.clone()));
    let later = state.store.promotion_list(&PromotionFilter { webhook, environment, limit: LATER, ..PromotionFilter::default() }).await?;
    let next = later.iter().rev().find(|later| later.id > promotion.id && later.release != promotion.release);
    Ok(next.map(|next| urls::promotion(next.id)))
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Verdict {
    decision: Word,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Approve,
    Reject,
    Override,
}

/// Records a decision about what waits.
pub(super) async fn decide(State(state): State<WebState>, Path(id): Path<PromotionId>, deed: Deed<Verdict>) -> Answer {
    let Deed { visitor, form } = deed;
    let promotion = sought(&state, &visitor, id).await?;
    let reason = Some(form.reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    check_reason(reason.as_deref())?;
    let Promotion { webhook, environment, release, .. } = promotion;
    let (actor, release) = (&visitor.caller.actor, Some(&release));
    let word = match form.decision {
        Word::Approve => state.control.approve(actor, &webhook, &environment, release, reason).await.map(|approved| match approved.left {
            None => "approved",
            Some(0) => "approved-already",
            Some(1) => "approved-already-one",
            Some(_) => "approved-already-more",
        }),
        Word::Reject => state.control.reject(actor, &webhook, &environment, release, reason).await.map(|_| "rejected"),
        Word::Override => {
            let reason = reason.unwrap_or_default();
            state.control.override_gates(actor, &webhook, &environment, release, reason).await.map(|_| "overridden")
        }
    }?;
    Ok(Redirect::to(&said(&urls::promotion(id), word)).into_response())
}

#[cfg(test)]
mod tests {
    use hookwright_core::{EnvironmentName, ReleaseId, WebhookName};

    use super::*;

    #[test]
    fn a_remedy_shows_which_of_its_words_are_commands() {
        assert_eq!(commands("hookwright approve shop production"), "`hookwright approve shop production`");
        assert_eq!(
            commands("hookwright secret set shop production A; give `B` a default"),
            "`hookwright secret set shop production A`; give `B` a default"
        );
        assert_eq!(
            commands("hookwright promote a b, or hookwright hold end a b"),
            "`hookwright promote a b`, or `hookwright hold end a b`"
        );
    }

    #[test]
    fn a_rollback_holds_until_something_else_has_arrived() {
        let promotion = |number: u8, status, origin| Promotion {
            id: format!("promo_0000000000000000000000000000{number:04}").parse().expect("an id"),
            webhook: WebhookName::new("shop").expect("a name"),
            environment: EnvironmentName::new("production").expect("a name"),
            release: "rel-0123456789abcdef".parse::<ReleaseId>().expect("an id"),
            origin,
            status,
            status_reason: None,
            verdicts: Vec::new(),
            deployment: None,
            created_at: Timestamp::from_millis(i64::from(number) * 10),
            ended_at: (status != PromotionStatus::Waiting).then(|| Timestamp::from_millis(i64::from(number) * 10 + 5)),
        };
        let rosa = || "rosa".to_owned();
        let newest_first = [
            promotion(5, PromotionStatus::Succeeded, Origin::Automation),
            promotion(4, PromotionStatus::Succeeded, Origin::Person { actor: rosa() }),
            promotion(3, PromotionStatus::Waiting, Origin::Automation),
            promotion(2, PromotionStatus::Succeeded, Origin::Rollback { actor: rosa() }),
            promotion(1, PromotionStatus::Succeeded, Origin::Automation),
        ];
        assert_eq!(holds(&newest_first, &[]), [None, Some("ended the hold"), None, Some("holds from here"), None]);
        let ended_by_hand = [(Timestamp::from_millis(33), false)];
        assert_eq!(holds(&newest_first, &ended_by_hand), [None, None, None, Some("holds from here"), None]);
        let set_again = [(Timestamp::from_millis(46), true), (Timestamp::from_millis(33), false)];
        assert_eq!(holds(&newest_first, &set_again), [Some("ended the hold"), None, None, Some("holds from here"), None]);
    }
}
